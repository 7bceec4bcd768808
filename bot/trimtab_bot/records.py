"""What the bot remembers, as frozen values. Times are Unix seconds to the millisecond; None where it has not happened.

These are records, not behaviour: what may follow what is in :mod:`trimtab_bot.approvals.machine` for proposals and in
:mod:`trimtab_bot.incidents.course` for incidents.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from trimtab_bot.approvals.machine import Ballot
from trimtab_bot.inbox.interface import FactKind
from trimtab_bot.incidents.harm import Harm


@dataclass(frozen=True, slots=True)
class CommitRecord:
    """A commit as people name it; ``authors`` are all Git identities with a part in it, ``Name <mail>``."""

    sha: str
    subject: str
    author: str
    at: float
    authors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FactLine:
    """One line of evidence for people: measured or counted (a fact), or estimated."""

    label: str
    value: str
    kind: FactKind


@dataclass(frozen=True, slots=True)
class GaugeRecord:
    """The figure behind an incident, for drawing. In the unit ``unit``; ``confidence`` from 0 to 1."""

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
class Evidence:
    """What an alarm rested on when its incident was opened.

    ``snapshot`` is the whole finding as canonical JSON text, figures included. ``claim`` is the part that must still be
    true for a decision to stand: who broke which limit, without the figures of the moment.
    """

    claim: str
    snapshot: str
    device_groups: tuple[str, ...]
    observed_at: float
    gauge: GaugeRecord | None
    facts: tuple[FactLine, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """A remedy that was asked for: of what, how, why, by whom (a person's id, or the bot's) and from where."""

    remedy: str
    target: str
    options: tuple[tuple[str, str], ...]
    reason: str
    by: str
    via: str


class IncidentPhase(Enum):
    """Where an incident stands."""

    OPEN = "open"
    """The version breaks its policy; a remedy is being proposed, decided about, or not possible."""
    WATCHING = "watching"
    """The branch no longer asks for the version; the fleet is on its way."""
    CONVERGED = "converged"
    """No reachable device runs the version any more; the figure of the good version is awaited."""
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Incident:
    """One version of one model that broke its policy, from the alarm until the fleet is well again.

    At most one that is not closed exists for a (concern, model, version). ``obstacle`` says (code, then reason) why the
    bot proposes nothing: no remedy is possible, or a person decided against it; ``obstacle_base`` is the commit of the
    branch for which that was found, so that it is tried again where the branch moves, and ``""`` where a person has
    spoken. ``device_groups`` are told by the branch to run the version, with ``devices`` declared in them.
    ``good_version`` is what the fleet is to return to. ``remedied_by`` is how the branch left the version: a proposal's
    id, or the sha of somebody's commit. ``taken_by`` is the person who looks after it; until ``silenced_until`` nobody is
    called for help. ``seen_at``, ``synced_at`` and ``healthy_at`` are when what delivers to clusters had brought the change to
    every group so far, and ``delivery`` which groups were held up when it was last told. With ``request`` it is no breach but the case of a remedy that was asked for.
    """

    id: str
    concern: str
    model: str
    version: str
    policy: str
    phase: IncidentPhase
    evidence: Evidence
    title: str
    summary: str
    detected_at: float
    devices: int = 0
    harm: Harm | None = None
    offending: CommitRecord | None = None
    proposal_id: str | None = None
    proposed_at: float | None = None
    approved_at: float | None = None
    merged_at: float | None = None
    converged_at: float | None = None
    recovered_at: float | None = None
    closed_at: float | None = None
    closed_because: str = ""
    escalated_at: float | None = None
    escalated_because: str = ""
    obstacle_code: str = ""
    obstacle: str = ""
    obstacle_base: str = ""
    good_version: str | None = None
    device_groups: tuple[str, ...] = ()
    remedied_by: str = ""
    taken_by: str = ""
    taken_at: float | None = None
    silenced_until: float = 0.0
    silenced_because: str = ""
    request: Request | None = None
    seen_at: float | None = None
    synced_at: float | None = None
    healthy_at: float | None = None
    delivery: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What there is one open incident for."""
        return (self.concern, self.model, self.version)


@dataclass(frozen=True, slots=True)
class Proposal:
    """One change that the bot asks people to let through; its decisions are in ``ballot``.

    ``key`` is the idempotency key on the Git host, ``number`` the host's number once it is there. ``verified`` says
    whether the state that is restored was once seen to be fine; ``verified_commit`` is the commit that is restored.
    ``devices`` is the number of devices in the groups concerned, as declared. ``merge_intended_at`` is when the host was
    first asked for the merge that is under way; ``closed_on_host`` says that nothing is left to be closed there. ``quorum`` is
    what the rules asked for when it was made, for showing; what counts is established at each decision.
    """

    id: str
    key: str
    incident_id: str
    remedy: str
    title: str
    summary: str
    message: str
    model: str
    bad_version: str
    good_version: str
    verified: bool
    restored_commit: str
    hold_until: str
    device_groups: tuple[str, ...]
    devices: int
    facts: tuple[FactLine, ...]
    diff: str
    offending: CommitRecord | None
    head_branch: str
    opened_at: float
    ballot: Ballot
    number: int | None = None
    merge_intended_at: float | None = None
    merged_at: float | None = None
    closed_on_host: bool = False
    quorum: int = 0


@dataclass(frozen=True, slots=True)
class TimelineRecord:
    """Something that happened to an incident or a proposal, in a sentence."""

    subject: str
    at: float
    text: str


@dataclass(frozen=True, slots=True)
class VerifiedState:
    """The bot saw that ``commit`` serves ``model`` well in ``group``: every version it asks for there was found fine.

    ``objects`` is the digest of the model's objects in that tree, so that a later commit that leaves them alone is known
    to ask for the same.
    """

    model: str
    group: str
    commit: str
    objects: str
    versions: tuple[str, ...]
    at: float


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """What was last said in chat about one incident.

    ``id`` is the room's, "" where a post was begun and its answer is not known. ``digest`` is over the content, ``ask`` over
    what may be decided; ``at`` is when it was said, Unix seconds. ``final``: the message will not change any more.

    ``told`` is how many lines of the timeline its thread has, ``telling`` how many it has once a reply that was begun and whose
    answer is not known is there (0 for none); ``replied_at`` is when something new was last said. ``workspace`` is the chat's own
    id of it, "" where there is one alone.
    """

    incident: str
    channel: str
    id: str
    digest: str
    at: float
    ask: str
    final: bool
    told: int = 0
    telling: int = 0
    replied_at: float = 0.0
    workspace: str = ""
