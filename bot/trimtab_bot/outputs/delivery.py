"""Carries what receivers must know, until they have it.

Pages go through the store's queue: written down once, delivered in order, repeated until they are taken; the receiver knows
each by its key. Alerts for Alertmanager are computed from the incidents and sent again every minute, as it expects; an end is
sent until it was taken.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

import requests

from trimtab_bot.outputs.events import alert, page
from trimtab_bot.records import IncidentPhase
from trimtab_kernel.canonical import canonical_json
from trimtab_kernel.problems import OutsideError, printable

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from trimtab_bot.moments import Clock
    from trimtab_bot.store.interface import PendingNotice, Store
    from trimtab_kernel.canonical import Json

SECONDS_BETWEEN = 60.0
RECENT_SECONDS = 3600.0
"""An incident that was over for longer than this when it is first looked at is told to nobody."""
_TIMEOUT = (5, 10)


@dataclass(frozen=True, slots=True)
class Receivers:
    """Where to. ``pagerduty`` and ``alertmanager`` are addresses, "" for none; the key is never written down elsewhere."""

    pagerduty: str = ""
    routing_key: str = ""
    alertmanager: str = ""


class Outputs:
    """Used by one thread."""

    def __init__(self, store: Store, receivers: Receivers, clock: Clock) -> None:
        """``clock`` gives Unix seconds."""
        self._store = store
        self._receivers = receivers
        self._clock = clock
        self._session = requests.Session()
        self._session.trust_env = False
        self._sent_at = float("-inf")
        self._firing: set[str] = set()
        self._ended: set[str] = set()

    def close(self) -> None:
        """Lets go of the connections."""
        self._session.close()

    def step(self) -> str:
        """Queue and deliver what is due; gives why something could not be, "" where all is well. Raises OutsideError for the store."""
        notes = []
        if self._receivers.pagerduty:
            notes.append(self._page())
        if self._receivers.alertmanager:
            notes.append(self._alert())
        return "; ".join(note for note in notes if note)

    def _page(self) -> str:
        at = self._clock()
        with self._store.reading() as view:
            events = [
                found
                for incident in view.incidents()
                if at - (incident.closed_at or at) < RECENT_SECONDS and (found := page(incident, at)) is not None
            ]
        with self._store.transaction() as work:
            for key, event in events:
                work.add_notice(key, canonical_json(event).decode())
        with self._store.reading() as view:
            waiting = view.pending_notices()
        for notice in waiting:
            failure = self._deliver(notice)
            if failure:
                return failure
            with self._store.transaction() as work:
                work.mark_notice(notice.number, self._clock())
        return ""

    def _deliver(self, notice: PendingNotice) -> str:
        body = {"routing_key": self._receivers.routing_key, **json.loads(notice.body)}
        return self._send("pagerduty", self._receivers.pagerduty, body)

    def _alert(self) -> str:
        at = self._clock()
        with self._store.reading() as view:
            incidents = view.incidents()
        firing = [each for each in incidents if each.phase is not IncidentPhase.CLOSED]
        ended = [
            each
            for each in incidents
            if each.phase is IncidentPhase.CLOSED
            and each.id not in self._ended
            and at - (each.closed_at or 0.0) < RECENT_SECONDS
        ]
        changed = {each.id for each in firing} != self._firing or bool(ended)
        if not changed and at - self._sent_at < SECONDS_BETWEEN:
            return ""
        if firing or ended:
            alerts: list[Json] = [alert(each, at) for each in (*firing, *ended)]
            failure = self._send("alertmanager", f"{self._receivers.alertmanager}/api/v2/alerts", alerts)
            if failure:
                return failure
        self._sent_at = at
        self._firing = {each.id for each in firing}
        self._ended |= {each.id for each in ended}
        return ""

    def _send(self, name: str, url: str, body: Json) -> str:
        """Post; gives why it must be tried again, "" where it was taken. Redirects are not followed: they would take the key along."""
        try:
            with self._session.post(url, json=body, timeout=_TIMEOUT, allow_redirects=False) as answer:
                status = answer.status_code
        except requests.RequestException as error:
            return f"{name} does not answer ({type(error).__name__})"
        if status < HTTPStatus.MULTIPLE_CHOICES:
            return ""
        return f"{name} answers {status}"


def run(
    outputs: Outputs,
    stop: threading.Event,
    seconds: float,
    tell: Callable[[str], None],
    leads: Callable[[], bool],
) -> None:
    """Step every ``seconds`` while this replica leads. A failure is told once, and so is its end."""
    told = ""
    while not stop.is_set():
        try:
            failure = outputs.step() if leads() else told
        except OutsideError as error:
            failure = printable(str(error), 300)
        if failure != told:
            tell(f"outputs: {failure}" if failure else "outputs: all is delivered")
        told = failure
        stop.wait(seconds)
