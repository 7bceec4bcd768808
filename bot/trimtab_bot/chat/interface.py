"""The port to a chat room. What is said there is decided here; an adapter only carries it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from trimtab_bot.records import CommitRecord, FactLine, TimelineRecord


@dataclass(frozen=True, slots=True)
class Ask:
    """A decision that a message asks for: the proposal, and the digest of exactly what is shown."""

    proposal: str
    digest: str


@dataclass(frozen=True, slots=True)
class Message:
    """What one incident looks like in chat at this moment.

    ``ask`` is None where nothing is to be decided; then the message has no buttons.
    """

    incident: str
    title: str
    state: str
    summary: str
    facts: tuple[FactLine, ...]
    offending: CommitRecord | None
    number: int | None
    approvals: tuple[str, ...]
    quorum: int
    expires_at: float | None
    timeline: tuple[TimelineRecord, ...]
    ask: Ask | None
    closed: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message is: the channel and the message's own id there."""

    channel: str
    id: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What a message's thread says next: these lines of the story, up to the ``through``-th, and perhaps a picture (PNG)."""

    incident: str
    through: int
    lines: tuple[TimelineRecord, ...]
    picture: bytes | None


class ChatRoom(Protocol):
    """Where messages are posted. Methods raise OutsideError, with ``retry_after`` where the room asks for patience."""

    def find(self, incident: str) -> Place | None:
        """The message of an incident that we posted before, where we lost what the room answered; None where there is none."""
        ...

    def post(self, message: Message) -> Place:
        """Post it, marked with its incident, so that :meth:`find` finds it."""
        ...

    def has_reply(self, place: Place, through: int) -> bool:
        """Whether the message's thread has our reply up to the ``through``-th line, where we lost what the room answered."""
        ...

    def reply(self, place: Place, reply: Reply) -> None:
        """Say it in the message's thread, marked so that :meth:`has_reply` finds it. One that somebody removed stays removed."""
        ...

    def update(self, place: Place, message: Message) -> None:
        """Make the message say this. One that somebody removed stays removed."""
        ...
