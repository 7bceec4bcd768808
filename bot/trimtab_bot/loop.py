"""The driver: tick = look, judge, step, act. Time, metrics source, Git host and store are injected.

A tick never half-fails: what one part cannot do because something outside does not answer is noted, shown as the bot's
health, and tried again at the next tick; the other parts go on with what is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimtab_bot.circumstances import Health
from trimtab_bot.moments import moment_text
from trimtab_kernel.problems import InputError, OutsideError, printable

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping

    from trimtab_bot.asking import Asking
    from trimtab_bot.changes.history import FleetAt, History
    from trimtab_bot.circumstances import Sight, World
    from trimtab_bot.detection import Detection
    from trimtab_bot.incidents.evidence import Look
    from trimtab_bot.moments import Clock
    from trimtab_bot.recognition import Recognition
    from trimtab_bot.recording import Followers, Scribe
    from trimtab_bot.response import Response


class Loop:
    """Runs ticks. There is one loop for one state."""

    def __init__(
        self,
        *,
        scribe: Scribe,
        history: History,
        world: World,
        sight: Sight,
        detection: Detection,
        response: Response,
        recognition: Recognition,
        asking: Asking,
        followers: Followers,
        clock: Clock,
        refresh: Callable[[], None],
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        """``clock`` is the loop's only idea of time; ``refresh`` brings a far repository here, and may raise OutsideError.

        ``leads``: whether this replica acts. One that stands by looks all the same: it answers people who ask or decide.
        """
        self._scribe = scribe
        self._history = history
        self._world = world
        self._sight = sight
        self._detection = detection
        self._response = response
        self._recognition = recognition
        self._asking = asking
        self._followers = followers
        self._clock = clock
        self._refresh = refresh
        self._leads = leads
        self._commit: str | None = None
        self._sound: FleetAt | None = None
        self._told: tuple[str, ...] = ()
        self._counts = {"done": 0, "failed": 0}
        self._last: float | None = None

    def looks(self) -> tuple[float | None, Mapping[str, int]]:
        """When the last tick ended (Unix seconds), and how many ended with everything done or with something wrong."""
        return self._last, dict(self._counts)

    def run(self, stop: threading.Event, wake: threading.Event, seconds: float, ticks: int | None = None) -> None:
        """Tick every ``seconds``, at once when woken, until ``stop`` or for ``ticks`` ticks.

        What was left undone before a crash is taken up by the first tick.
        """
        done = 0
        self._followers.tell(
            moment_text(self._clock()), {"event": "started", "text": f"watching {self._world.repository}"}
        )
        while not stop.is_set():
            wake.clear()
            self.tick()
            done += 1
            if ticks is not None and done >= ticks:
                return
            wake.wait(seconds)

    def tick(self) -> None:
        """One round. Raises nothing that a later round could mend."""
        notes: list[str] = []
        fleet = look = None
        try:
            self._scribe.flush()
            self._fetch(notes)
            fleet = self._head(notes)
            leads = self._leads()
            if fleet is not None:
                look = self._look(fleet, notes, leads=leads)
            if not leads:
                self._report(notes)
                return
            # Proposals first: what was approved is carried out, and what is no longer true is void, before anything new.
            self._response.advance_proposals()
            if fleet is not None and look is not None:
                self._detection.open_incidents(fleet, look, self._clock())
                self._asking.promote_what_may()
                self._scribe.flush()
                unread = self._response.advance_incidents(fleet, look, at_head=fleet.commit == self._commit)
                notes.extend([unread] if unread else [])
            # After what the bot found by itself, which takes a person's rollback instead of a proposal of its own.
            if fleet is not None and fleet.commit == self._commit:
                self._recognition.step(fleet)
        except (OutsideError, InputError) as error:
            notes.append(str(error))
        self._report(notes)

    def _fetch(self, notes: list[str]) -> None:
        """What cannot be fetched is told; the watch goes on with what is here, and no merge binds to an old head."""
        try:
            self._refresh()
        except OutsideError as error:
            notes.append(f"the repository cannot be fetched, what is here may be old: {error}")

    def _head(self, notes: list[str]) -> FleetAt | None:
        """The fleet at the head of the branch; where that does not compile, the last one that did, for watching."""
        commit = self._commit = self._world.branch_head()
        if commit is None:
            notes.append("the branch does not exist")
            return self._sound
        fleet = self._history.fleet(commit)
        if not fleet.problems:
            self._sound = fleet
            return fleet
        more = f" and {len(fleet.problems) - 1} more" if len(fleet.problems) > 1 else ""
        notes.append(f"B310 the fleet at {commit[:12]} does not compile: {fleet.problems[0]}{more}")
        return self._sound

    def _look(self, fleet: FleetAt, notes: list[str], *, leads: bool) -> Look | None:
        at = self._clock()
        try:
            look = self._detection.look(fleet, at)
        except OutsideError as error:
            notes.append(f"the metrics source does not answer: {error}")
            return None
        self._sight.put(look)
        if leads:
            self._detection.remember_verified(fleet, look, at)
        self._sight.put_gates(self._detection.judge_gates(fleet, look, at))
        return look

    def _report(self, notes: list[str]) -> None:
        at = self._clock()
        self._last = at
        self._counts["failed" if notes else "done"] += 1
        self._sight.put_health(Health(at, "; ".join(printable(note, 300) for note in notes[:3])))
        found = tuple(notes)
        if found != self._told:
            self._told = found
            text = "; ".join(found) if found else "all is well again"
            self._followers.tell(moment_text(at), {"event": "health", "text": text})
