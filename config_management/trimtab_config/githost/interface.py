"""The port to a Git host, and what its answers mean. Every adapter passes tests/contracts/githost.

"Not ready" is a value: a merge that may not happen is ordinary. Exceptions are for what is wrong (InputError), for what
is outside (OutsideError, try again) and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from trimtab_config.git.identity import GitIdentity
    from trimtab_kernel.canonical import Json

PROPOSAL_TRAILER = "Trimtab-Proposal"
DIGEST_TRAILER = "Trimtab-Digest"
APPROVED_TRAILER = "Approved-by"
MERGED_TRAILER = "Merged-by"


class ProposalState(Enum):
    """Merged and closed are final."""

    OPEN = "open"
    MERGED = "merged"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Merged:
    """The proposal is in its base branch. ``sha`` is the commit of the branch's first-parent line that brought it."""

    sha: str


class Obstacle(Enum):
    """Why a proposal cannot be merged now."""

    MISSING = "no such proposal"
    CLOSED = "closed"
    HEAD_MOVED = "its head is another commit than the one that was judged"
    BASE_MOVED = "its base branch is at another commit than the one that was judged"
    CONFLICT = "it conflicts with its base branch"
    EMPTY = "its head is already in the base branch, so there is nothing to merge"
    BLOCKED = "the host does not allow it yet"


@dataclass(frozen=True, slots=True)
class NotReady:
    """The proposal was not merged, and nothing has changed. ``reason`` is for a program, ``detail`` for a person.

    HEAD_MOVED, BASE_MOVED and CONFLICT need a new judgement (and so a new approval); CLOSED, MISSING and EMPTY are final;
    BLOCKED (required checks, a review) may pass by itself.
    """

    reason: Obstacle
    detail: str

    def __str__(self) -> str:
        """One lowercase sentence."""
        return f"{self.reason.value}: {self.detail}" if self.detail else self.reason.value


@dataclass(frozen=True, slots=True)
class Proposal:
    """A proposal as the host knows it at this moment.

    ``head`` is the newest commit of its branch while it is open, the merged or last one afterwards. ``base`` is the newest
    commit of ``base_branch``, "" where that is gone; for a merged proposal what it was merged into. ``merged`` is set in state MERGED only,
    ``closed_reason`` in state CLOSED only. ``meta`` comes back as it was given.
    """

    number: int
    key: str
    state: ProposalState
    base_branch: str
    base: str
    branch: str
    head: str
    title: str
    body: str
    opened_by: GitIdentity
    opened_at: datetime
    meta: Mapping[str, Json] = field(default_factory=lambda: MappingProxyType({}))
    merged: Merged | None = None
    closed_reason: str = ""


class GitHost(Protocol):
    """Where proposals are opened, read, merged and closed. Safe to call again after a crash at any point."""

    def find_proposal(self, key: str) -> Proposal | None:
        """The proposal that was opened with ``key``, in whatever state; None where there is none."""
        ...

    def open_proposal(
        self,
        key: str,
        base: str,
        branch: str,
        commit: str,
        title: str,
        body: str,
        meta: Mapping[str, Json],
    ) -> Proposal:
        """Propose to merge ``commit``, as the new ``branch``, into the branch named ``base``.

        ``key`` is the idempotency key: however often, and by however many callers at once, this is called with one key,
        there is one proposal, and every call gives it (as it is now: a merged or closed one is not opened again, and the
        other arguments do not count). ``commit`` is already in the host's repository. A branch that exists is taken where
        it is at ``commit``. Raises InputError (G2xx) for a title of several lines, a base branch that is missing, a branch
        that is elsewhere, a commit that is missing or already in the base.
        """
        ...

    def proposal(self, number: int) -> Proposal | None:
        """The proposal of this number as it is now, None where there is none."""
        ...

    def proposals(self, state: ProposalState | None = None) -> tuple[Proposal, ...]:
        """All proposals (of one state), whoever opened them, newest first."""
        ...

    def merge(
        self,
        number: int,
        expected_head: str,
        expected_base: str,
        merger: GitIdentity,
        trailers: Sequence[tuple[str, str]] = (),
    ) -> Merged | NotReady:
        """Merge exactly ``expected_head`` into exactly ``expected_base``, by a true merge commit, or change nothing.

        The merge commit's first parent is ``expected_base``; ``merger`` is its author and committer; its trailers are
        ``Trimtab-Proposal: NUMBER`` and ``trailers`` (such as ``Trimtab-Digest`` and ``Approved-by``). Where the proposal
        is merged already with this head, by this or another caller or by a person, the answer is that Merged: a repeat
        after a crash is safe. Another head or base than expected is NotReady, never merged.
        """
        ...

    def close(self, number: int, reason: str) -> Proposal | None:
        """Close without merging. A merged or closed proposal stays as it is; gives the state afterwards, None where there is none."""
        ...
