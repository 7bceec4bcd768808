"""What the inbox shows and asks for. The bot's core implements :class:`Decisions` and :class:`Directory`.

The inbox decides nothing: it establishes who is asking (by token) and passes that person's wish on, together with the
digest of exactly what that person was shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping


class FactKind(Enum):
    """Whether a line was counted or measured, or is estimated."""

    FACT = "fact"
    ESTIMATE = "estimate"


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of evidence: what it is, its value as text for people, and its kind."""

    label: str
    value: str
    kind: FactKind


@dataclass(frozen=True, slots=True)
class Gauge:
    """The figure behind a proposal, for drawing: the interval, the limit, and on which side good values lie.

    All in the unit ``unit``; ``n`` is the sample size, ``confidence`` that of the interval (0 to 1).
    """

    label: str
    unit: str
    value: float
    low: float
    high: float
    limit: float
    good_is_high: bool
    n: int
    confidence: float


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit as people name it."""

    sha: str
    subject: str
    author: str
    at: float  # Unix seconds


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """Something that happened, at a time (Unix seconds)."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class ProposalView:
    """Everything that a person needs in order to decide, and nothing else.

    ``state`` is one word of the approval state machine; ``open_for_decision`` says whether a decision is asked for.
    ``digest`` binds a decision to exactly this content. Times are Unix seconds. ``refused_for`` maps a person's id to
    the reason why that person may not approve, so that the page can say so before anybody clicks. ``after_review``: one
    person let it through alone, and a second one has to sign that, by approving or denying it once more.
    """

    id: str
    number: int
    title: str
    state: str
    open_for_decision: bool
    summary: str
    model: str
    bad_version: str
    good_version: str
    verified: bool
    device_groups: tuple[str, ...]
    devices: int
    facts: tuple[Fact, ...]
    gauge: Gauge | None
    diff: str
    digest: str
    base: str
    head: str
    opened_at: float
    expires_at: float
    proposer: str
    offending: Commit | None
    approvals: tuple[str, ...]
    quorum: int
    timeline: tuple[TimelineEntry, ...]
    refused_for: Mapping[str, str]
    remedy: str = "rollback"
    after_review: bool = False


@dataclass(frozen=True, slots=True)
class WatchLine:
    """One watched figure of one model version: ``verdict`` is breach, fine or unknown."""

    model: str
    version: str
    figure: str
    verdict: str
    reason: str
    value: str
    interval: str
    n: int
    freshness: str


@dataclass(frozen=True, slots=True)
class StatusView:
    """What the bot sees. ``revision`` changes whenever anything shown changes. Times are Unix seconds."""

    revision: str
    source: str
    last_tick: float | None
    healthy: bool
    note: str
    watched: tuple[WatchLine, ...]


@dataclass(frozen=True, slots=True)
class Accepted:
    """The decision was taken and recorded."""

    message: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The decision was not taken; ``code`` is explained by ``trimtab explain``."""

    code: str
    reason: str


DecisionResult: TypeAlias = Accepted | Refused


class Decisions(Protocol):
    """The bot's core, seen from the inbox. Every method may be called from any thread."""

    def proposals(self) -> tuple[ProposalView, ...]:
        """All proposals: those open for decision first, then by time, newest first."""
        ...

    def proposal(self, proposal_id: str) -> ProposalView | None:
        """One proposal, or None."""
        ...

    def approve(self, proposal_id: str, person_id: str, digest: str) -> DecisionResult:
        """Approve what has this digest, as this person. Persisted before it returns; safe to repeat."""
        ...

    def deny(self, proposal_id: str, person_id: str, digest: str, reason: str) -> DecisionResult:
        """Deny what has this digest, as this person, with a reason. Persisted before it returns; safe to repeat."""
        ...

    def status(self) -> StatusView:
        """What the bot sees at this moment."""
        ...


@dataclass(frozen=True, slots=True)
class PersonView:
    """A person who may use the inbox."""

    id: str
    name: str
    may_decide: bool


class Directory(Protocol):
    """Who has which token."""

    def by_token(self, token: str) -> PersonView | None:
        """The person whose token this is, compared in constant time; None for nobody's."""
        ...

    def by_id(self, person_id: str) -> PersonView | None:
        """The person, if still configured."""
        ...
