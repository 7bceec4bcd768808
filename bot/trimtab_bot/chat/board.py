"""Keeps the room as the incidents are: one living message for each with its story in a thread, true after every restart.

The store queues each incident that changed, one row however much has happened, and forgets it when the room says what is
true: nothing is dropped, and much at once becomes one message. What is wanted is computed anew from the store each time and
compared with what was last said. A post is written down before it is made; where its answer was lost, the room is asked for
it instead of posting again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trimtab_bot.approvals.machine import Phase
from trimtab_bot.chat.interface import Ask, Message, Place, Reply
from trimtab_bot.chat.pace import Kind, Pace
from trimtab_bot.chat.picture import gauge_png
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
    from trimtab_bot.store.interface import Store, Unsaid

SECONDS_BETWEEN = 60.0
"""A new message about an incident at most once a minute, and an edit too, except where what may be decided has changed."""
OLD_SECONDS = 3600.0
"""An incident that was over for longer than this when chat first comes to it is not told of."""
LINES = 6
MOST_LINES = 40
"""Lines of the story in one message of the thread; more make another, a minute later."""
_OPEN = (Phase.PENDING, Phase.APPROVED)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one step did.

    ``failure`` is why it stopped and ``retry_after`` how long the room asks to be left alone; ``wait`` is how long nothing
    more may be said that is waiting to be, 0 where nothing waits. Seconds.
    """

    posted: int = 0
    updated: int = 0
    failure: str = ""
    retry_after: float = 0.0
    wait: float = 0.0
    replied: int = 0


@dataclass(frozen=True, slots=True)
class _Due:
    """When to look again (Unix seconds), and what must be free by then."""

    at: float
    kind: Kind | None = None


class Board:
    """Used by one thread."""

    def __init__(
        self,
        store: Store,
        room: ChatRoom,
        clock: Clock,
        quorum: int,
        pace: Pace | None = None,
        workspace: str = "",
    ) -> None:
        """``clock`` gives Unix seconds; ``quorum`` is how many persons must approve.

        Where there are several workspaces, each has a board of its own, and ``workspace`` tells them apart.
        """
        self._workspace = workspace
        self._store = store
        self._room = room
        self._clock = clock
        self._quorum = quorum
        self._pace = pace or Pace(clock)
        # What was looked at and is not due yet. Only spares work: a crowd that waits is not read again and again.
        self._later: dict[str, tuple[int, _Due]] = {}

    def step(self) -> Outcome:
        """Say what has to be said, the longest waiting first; the room's failure ends the step and is no error."""
        count = {"posted": 0, "updated": 0, "replied": 0}
        soonest = float("inf")
        try:
            with self._store.reading() as view:
                queue = view.unsaid(self._workspace)
            for item in queue:
                at = self._clock()
                changed, due = self._later.get(item.incident, (-1, None))
                if due is not None and changed == item.changed:
                    wait = max(due.at - at, 0.0 if due.kind is None else self._pace.wait(due.kind))
                    if wait > 0:
                        soonest = min(soonest, wait)
                        continue
                due = self._say(item, count)
                if due is not None:
                    self._later[item.incident] = (item.changed, due)
                    soonest = min(soonest, max(0.0, due.at - at))
                else:
                    self._later.pop(item.incident, None)
        except OutsideError as error:
            return Outcome(
                count["posted"], count["updated"], str(error), error.retry_after or 0.0, 0.0, count["replied"]
            )
        wait = 0.0 if soonest == float("inf") else soonest
        return Outcome(count["posted"], count["updated"], wait=wait, replied=count["replied"])

    def _say(self, item: Unsaid, count: dict[str, int]) -> _Due | None:
        """What one incident needs; gives when to look again, None where all is said."""
        with self._store.reading() as view:
            incident = view.incident(item.incident)
            if incident is None:
                proposals: tuple[Proposal, ...] = ()
                timeline: tuple[TimelineRecord, ...] = ()
                known = None
            else:
                known = view.chat_message(incident.id, self._workspace)
                proposals, timeline = view.proposals(incident.id), view.timeline(incident.id)
        if incident is None:
            self._done(item)
            return None
        message = compose(incident, proposals, timeline, self._quorum)
        if known is None or not known.id:
            if known is None and message.closed and self._clock() - (incident.closed_at or 0.0) > OLD_SECONDS:
                self._done(item)  # long over when chat came to it: the ledger has it, the room is spared
                return None
            wait = self._pace.wait(Kind.MESSAGE)
            if wait:
                return _Due(self._clock() + wait, Kind.MESSAGE)
            known, made = self._post(message, known)
            count["posted"] += made
        due = [self._edit(message, known, count)]
        with self._store.reading() as view:
            known = view.chat_message(incident.id, self._workspace) or known
        due.append(self._reply(incident, timeline, known, count))
        later = [each for each in due if each is not None]
        if not later:
            self._done(item)
            return None
        return min(later, key=lambda each: each.at)

    def _done(self, item: Unsaid) -> None:
        with self._store.transaction() as work:
            work.mark_said(item, self._workspace)

    def _post(self, message: Message, known: ChatMessage | None) -> tuple[ChatMessage, int]:
        at = self._clock()
        if known is None:
            self._note(ChatMessage(message.incident, "", "", "", at, ask="", final=False))
            place = None
        else:
            place = self._room.find(message.incident)
        made = 0
        if place is None:
            with self._pace.saying(Kind.MESSAGE):
                place, made = self._room.post(message), 1
        said = replace(_said(message, place, at), replied_at=at)
        self._note(said)
        return said, made

    def _edit(self, message: Message, known: ChatMessage, count: dict[str, int]) -> _Due | None:
        at = self._clock()
        said = _said(message, Place(known.channel, known.id), at)
        if said.digest == known.digest:
            return None
        urgent = said.ask != known.ask or said.final
        if not urgent and at - known.at < SECONDS_BETWEEN:
            return _Due(known.at + SECONDS_BETWEEN)
        wait = self._pace.wait(Kind.EDIT)
        if wait:
            return _Due(at + wait, Kind.EDIT)
        with self._pace.saying(Kind.EDIT):
            self._room.update(Place(known.channel, known.id), message)
        self._note(replace(said, told=known.told, telling=known.telling, replied_at=known.replied_at))
        count["updated"] += 1
        return None

    def _reply(
        self, incident: Incident, timeline: tuple[TimelineRecord, ...], known: ChatMessage, count: dict[str, int]
    ) -> _Due | None:
        """Bring the thread up to date: what happened since, with the picture the first time."""
        at = self._clock()
        if known.told >= len(timeline):
            return None
        due = known.replied_at + SECONDS_BETWEEN
        if at < due and not known.telling:
            return _Due(due)
        wait = self._pace.wait(Kind.MESSAGE)
        if wait:
            return _Due(at + wait, Kind.MESSAGE)
        place = Place(known.channel, known.id)
        through = known.telling or min(len(timeline), known.told + MOST_LINES)
        if not known.telling or not self._room.has_reply(place, through):
            known = replace(known, telling=through)
            self._note(known)
            gauge = incident.evidence.gauge
            picture = gauge_png(gauge) if known.told == 0 and gauge is not None else None
            with self._pace.saying(Kind.MESSAGE):
                self._room.reply(place, Reply(incident.id, through, timeline[known.told : through], picture))
            count["replied"] += 1
        self._note(replace(known, told=through, telling=0, replied_at=at))
        return None if through == len(timeline) else _Due(at + SECONDS_BETWEEN)

    def _note(self, said: ChatMessage) -> None:
        with self._store.transaction() as work:
            work.put_chat_message(replace(said, workspace=self._workspace))


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
        quorum=quorum if newest is None else newest.quorum or quorum,
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


def run(
    board: Board,
    stop: threading.Event,
    seconds: float,
    tell: Callable[[str], None],
    leads: Callable[[], bool] = lambda: True,
) -> None:
    """Step every ``seconds`` (as late as the room asks, as early as the pace allows) until ``stop``, while this replica leads.

    A failure is told once, and so is its end.
    """
    told = ""
    while not stop.is_set():
        outcome = board.step() if leads() else Outcome()
        if outcome.failure != told:
            told = outcome.failure
            tell(f"chat: {told}" if told else "chat: answers again")
        pause = min(seconds, outcome.wait) if outcome.wait else seconds
        stop.wait(max(pause, outcome.retry_after))
