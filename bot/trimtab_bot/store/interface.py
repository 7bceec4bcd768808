"""The port to the bot's memory. Everything that a transaction writes becomes visible and durable at once, or not at all."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from trimtab_bot.ledger.interface import Head, Record
    from trimtab_bot.records import ChatMessage, Incident, Proposal, TimelineRecord, VerifiedState


@dataclass(frozen=True, slots=True)
class Pending:
    """A ledger record that is not known to be in the ledger yet; ``number`` orders them."""

    number: int
    record: Record


@dataclass(frozen=True, slots=True)
class Delivery:
    """Something that came in from outside and was written down before it was acknowledged.

    ``source`` and ``key`` (an envelope's, event's or delivery's id) name it for ever; ``body`` is its text; ``answer`` is what
    was answered, None where it was not acted upon yet. ``at`` is Unix seconds.
    """

    number: int
    source: str
    key: str
    at: float
    body: str
    answer: str | None


@dataclass(frozen=True, slots=True)
class Unsaid:
    """An incident of which chat may not say yet what is true. ``changed`` grows with every change of any incident."""

    incident: str
    changed: int


@dataclass(frozen=True, slots=True)
class Sealed:
    """Something of others that must stay secret, such as a token. ``body`` is sealed (:mod:`trimtab_bot.sealing`).

    ``kind`` and ``key`` name it; of one kind each ``owner`` has at most one. ``at`` is when it was put there, Unix seconds.
    """

    kind: str
    key: str
    owner: str
    at: float
    body: str


@dataclass(frozen=True, slots=True)
class Ticket:
    """Something that was handed out to come back once: the state of an OAuth flow, or a link for one person.

    ``digest`` is over what was handed out, ``browser`` over what the browser alone was given ("" where any may bring it back);
    ``person`` is for whom, "" for nobody in particular; ``body`` is sealed or empty. Unix seconds; ``used_at`` None until then.
    """

    digest: str
    purpose: str
    browser: str
    person: str
    body: str
    expires_at: float
    used_at: float | None = None


@dataclass(frozen=True, slots=True)
class PendingNotice:
    """Something that is to be said to alert receivers, as JSON text; ``number`` orders them."""

    number: int
    key: str
    body: str


class Reading(Protocol):
    """One consistent view of the memory."""

    def incident(self, incident_id: str) -> Incident | None:
        """One incident."""
        ...

    def incidents(self, *, open_only: bool = False) -> tuple[Incident, ...]:
        """Incidents, oldest first."""
        ...

    def proposal(self, proposal_id: str) -> Proposal | None:
        """One proposal."""
        ...

    def proposals(self, incident_id: str | None = None, *, unsettled_only: bool = False) -> tuple[Proposal, ...]:
        """Proposals (of one incident), oldest first; unsettled are those that are not over on the Git host yet."""
        ...

    def timeline(self, subject: str) -> tuple[TimelineRecord, ...]:
        """What happened to one incident or proposal, in the order in which it was written."""
        ...

    def newest_timeline(self) -> int:
        """The number of the newest line of all timelines; it grows with everything that happens."""
        ...

    def verified_states(self, model: str) -> tuple[VerifiedState, ...]:
        """All verified states of a model."""
        ...

    def chat_message(self, incident_id: str, workspace: str = "") -> ChatMessage | None:
        """What was last said in a workspace's chat about an incident."""
        ...

    def pending_records(self) -> tuple[Pending, ...]:
        """Ledger records that are not known to be written, in order."""
        ...

    def ledger_head(self) -> Head | None:
        """The newest ledger entry that the bot knows to be durable: what a verifier must find."""
        ...

    def epoch(self) -> int:
        """The newest fencing token that was taken; 0 where none was."""
        ...

    def unsaid(self, workspace: str = "") -> tuple[Unsaid, ...]:
        """Incidents that changed since a workspace's chat was last known to say what is true, the longest waiting first."""
        ...

    def sealed(self, kind: str, key: str) -> Sealed | None:
        """What is kept of this kind under this key."""
        ...

    def all_sealed(self, kind: str) -> tuple[Sealed, ...]:
        """Everything of this kind, by key."""
        ...

    def delivery(self, source: str, key: str) -> Delivery | None:
        """What came in under this key."""
        ...

    def unanswered(self, source: str) -> tuple[Delivery, ...]:
        """Deliveries that were not acted upon yet, in order."""
        ...

    def pending_notices(self, limit: int = 100) -> tuple[PendingNotice, ...]:
        """What is to be said to alert receivers, in order."""
        ...


class Writing(Reading, Protocol):
    """A transaction that may change things."""

    def put_incident(self, incident: Incident) -> None:
        """Add or replace. A second incident of one key that is not closed is refused (ValueError)."""
        ...

    def put_proposal(self, proposal: Proposal) -> None:
        """Add or replace. Two proposals of one key are refused (ValueError)."""
        ...

    def add_timeline(self, entry: TimelineRecord) -> None:
        """Add one line."""
        ...

    def add_verified(self, state: VerifiedState) -> bool:
        """Add, where this (model, group, commit) is not there yet; whether it was added."""
        ...

    def put_chat_message(self, message: ChatMessage) -> None:
        """Add or replace."""
        ...

    def add_record(self, record: Record) -> None:
        """Queue a record for the ledger, together with the change that it tells of. A repeat of its key is ignored."""
        ...

    def mark_written(self, number: int, head: Head) -> None:
        """The ledger has this record now, as entry ``head``."""
        ...

    def take_leadership(self, holder: str) -> int:
        """A fencing token that is larger than every one before; from now on transactions under an older one are refused."""
        ...

    def mark_said(self, said: Unsaid, workspace: str = "") -> None:
        """The workspace's chat says what was true at ``said.changed``; where the incident has changed since, it stays unsaid."""
        ...

    def name_workspace(self, workspace: str, channel: str) -> None:
        """What was said in ``channel`` when there was one workspace without a name was said in this one."""
        ...

    def put_sealed(self, sealed: Sealed) -> None:
        """Add or replace. Raises ValueError where its owner has another one of this kind."""
        ...

    def drop_sealed(self, kind: str, key: str) -> bool:
        """Remove it; whether it was there."""
        ...

    def add_ticket(self, ticket: Ticket, forget_before: float) -> None:
        """Write down what is handed out; those that expired before ``forget_before`` are forgotten."""
        ...

    def use_ticket(self, digest: str, at: float) -> Ticket | None:
        """What was handed out under this digest, as it was before; from now on it is used. None where nothing was."""
        ...

    def add_delivery(self, source: str, key: str, at: float, body: str) -> bool:
        """Write down what came in; False where it is there already."""
        ...

    def answer_delivery(self, source: str, key: str, answer: str) -> None:
        """It was acted upon."""
        ...

    def forget_deliveries(self, before: float) -> int:
        """Remove what was answered and came in before this time; gives how many."""
        ...

    def add_notice(self, key: str, body: str) -> None:
        """Queue something for the alert receivers. A repeat of its key is ignored."""
        ...

    def mark_notice(self, number: int, at: float) -> None:
        """The receivers have it."""
        ...


class Store(Protocol):
    """The bot's memory. Methods raise OutsideError where the disk or the database does not answer."""

    def reading(self) -> AbstractContextManager[Reading]:
        """A view that does not wait for writers."""
        ...

    def transaction(self) -> AbstractContextManager[Writing]:
        """A transaction: committed durably at the end of the block, undone where it raises. Writers go one by one."""
        ...
