"""Keeps the room as the incidents are: one living message for each, posted once, true after every restart.

What is wanted is computed anew from the store each time and compared with what was last said, so nothing depends on having
seen an event. A post is written down before it is made; where its answer was lost, the room is asked for it instead of
posting again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab_bot.approvals.machine import Phase
from trimtab_bot.chat.interface import Ask, Message, Place
from trimtab_bot.codec import encode
from trimtab_bot.records import ChatMessage, IncidentPhase
from trimtab_kernel.canonical import digest_of
from trimtab_kernel.problems import OutsideError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from trimtab_bot.chat.interface import ChatRoom
    from trimtab_bot.moments import Clock
    from trimtab_bot.records import Incident, Proposal, TimelineRecord
    from trimtab_bot.store.interface import Store

SECONDS_BETWEEN = 60.0
"""A message is said again at most once a minute, except where what may be decided has changed."""
LINES = 6
_OPEN = (Phase.PENDING, Phase.APPROVED)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one step did; ``failure`` is why it stopped, ``retry_after`` how long the room asks to be left alone."""

    posted: int = 0
    updated: int = 0
    failure: str = ""
    retry_after: float = 0.0


class Board:
    """Used by one thread."""

    def __init__(self, store: Store, room: ChatRoom, clock: Clock, quorum: int) -> None:
        """``clock`` gives Unix seconds; ``quorum`` is how many persons must approve."""
        self._store = store
        self._room = room
        self._clock = clock
        self._quorum = quorum

    def step(self) -> Outcome:
        """Say what has to be said, the oldest incident first; the room's failure ends the step and is no error."""
        posted = updated = 0
        try:
            for incident in self._incidents():
                with self._store.reading() as view:
                    known = view.chat_message(incident.id)
                    message = compose(incident, view.proposals(incident.id), view.timeline(incident.id), self._quorum)
                if known is not None and known.final:
                    continue
                if known is None or not known.id:
                    posted += self._post(message, known)
                else:
                    updated += self._update(message, known)
        except OutsideError as error:
            return Outcome(posted, updated, str(error), error.retry_after or 0.0)
        return Outcome(posted, updated)

    def _incidents(self) -> tuple[Incident, ...]:
        with self._store.reading() as view:
            return view.incidents()

    def _post(self, message: Message, known: ChatMessage | None) -> int:
        at = self._clock()
        if known is None:
            if message.closed:
                return 0  # over before anybody was told: the ledger has it, the room is spared
            self._note(ChatMessage(message.incident, "", "", "", at, ask="", final=False))
            place = None
        else:
            place = self._room.find(message.incident)
        made = 0
        if place is None:
            place, made = self._room.post(message), 1
        self._note(_said(message, place, at))
        return made

    def _update(self, message: Message, known: ChatMessage) -> int:
        at = self._clock()
        said = _said(message, Place(known.channel, known.id), at)
        if said.digest == known.digest:
            return 0
        urgent = said.ask != known.ask or said.final
        if not urgent and at - known.at < SECONDS_BETWEEN:
            return 0
        self._room.update(Place(known.channel, known.id), message)
        self._note(said)
        return 1

    def _note(self, said: ChatMessage) -> None:
        with self._store.transaction() as work:
            work.put_chat_message(said)


def compose(
    incident: Incident, proposals: tuple[Proposal, ...], timeline: tuple[TimelineRecord, ...], quorum: int
) -> Message:
    """What an incident looks like now. Pure: equal records give an equal message."""
    shown = [each for each in proposals if each.ballot.phase is not Phase.DRAFT]
    newest = shown[-1] if shown else None
    asked = newest is not None and newest.ballot.phase in _OPEN
    return Message(
        incident=incident.id,
        title=newest.title if newest is not None and asked else incident.title,
        state=_state(incident, newest),
        summary=incident.summary,
        facts=newest.facts if newest is not None else incident.evidence.facts,
        offending=newest.offending if newest is not None else incident.offending,
        number=None if newest is None else newest.number,
        approvals=() if newest is None else tuple(vote.person for vote in newest.ballot.votes),
        quorum=quorum,
        expires_at=newest.ballot.expires_at if newest is not None and asked else None,
        timeline=timeline[-LINES:],
        ask=Ask(newest.id, newest.ballot.digest) if newest is not None and asked else None,
        closed=_is_over(incident),
    )


def _is_over(incident: Incident) -> bool:
    return incident.phase is IncidentPhase.CLOSED


def _state(incident: Incident, proposal: Proposal | None) -> str:
    if incident.phase is IncidentPhase.CLOSED:
        return f"closed: {incident.closed_because}"
    if incident.escalated_because:
        return f"needs a person: {incident.escalated_because}"
    if incident.phase is IncidentPhase.CONVERGED:
        return "the fleet is back; waiting for the figure"
    if incident.phase is IncidentPhase.WATCHING:
        return "on the way back"
    if incident.obstacle:
        return f"nothing is proposed: {incident.obstacle_code} {incident.obstacle}".rstrip()
    return "a remedy is looked for" if proposal is None else f"proposal {proposal.ballot.phase.value}"


def _said(message: Message, place: Place, at: float) -> ChatMessage:
    ask = "" if message.ask is None else f"{message.ask.proposal} {message.ask.digest}"
    digest = digest_of(encode(message)).hex
    return ChatMessage(message.incident, place.channel, place.id, digest, at, ask, final=message.closed)


def run(board: Board, stop: threading.Event, seconds: float, tell: Callable[[str], None]) -> None:
    """Step every ``seconds`` (and as late as the room asks) until ``stop``. A failure is told once, and so is its end."""
    told = ""
    while not stop.is_set():
        outcome = board.step()
        if outcome.failure != told:
            told = outcome.failure
            tell(f"chat: {told}" if told else "chat: answers again")
        stop.wait(max(seconds, outcome.retry_after))
