"""Who had a hand in a change, so that none of them approves its rollback.

Everybody whom a commit names counts: author, committer, co-authors, and who merged it. A commit's identities are claims
that whoever pushed could write; they can make more people ineligible than needed, never fewer than the commits name.
Which person an identity belongs to, and what an unknown one means, is for the caller: identities are compared exactly
(see :class:`GitIdentity`), and one that is dropped here could approve itself there, so none is.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from trimtab_config.git.identity import GitIdentity
from trimtab_config.githost.interface import MERGED_TRAILER

if TYPE_CHECKING:
    from trimtab_config.git.repository import GitRepository

MAX_COMMITS = 1000


class Part(Enum):
    """What somebody did for a change."""

    AUTHOR = "author"
    COMMITTER = "committer"
    CO_AUTHOR = "co-author"
    MERGER = "merger"


@dataclass(frozen=True, slots=True, order=True)
class Contribution:
    """One identity's part in one commit."""

    who: GitIdentity
    commit: str
    part: Part


@dataclass(frozen=True, slots=True)
class ChangeAuthors:
    """All that took part in the change that ``merge`` brought, in order of commits (newest first) and parts."""

    merge: str
    contributions: tuple[Contribution, ...]

    @property
    def identities(self) -> frozenset[GitIdentity]:
        """Each identity once. Never empty: a commit has an author."""
        return frozenset(contribution.who for contribution in self.contributions)


def change_authors(repository: GitRepository, merge: str) -> ChangeAuthors:
    """The authors of what ``merge``, a commit on the first-parent line of a branch, added to its first parent.

    For a merge commit these are all commits that it reaches and its first parent does not, and the merge itself, whose author
    and committer are its mergers, as is whom a ``Merged-by`` trailer names. For an ordinary commit it is that commit alone.
    Raises InputError: G103 where ``merge`` is no commit, G105 where it brought more than ``MAX_COMMITS`` commits.
    """
    top = repository.commit(merge)
    commits = repository.commits_between(top.parents[0] if top.parents else None, merge, MAX_COMMITS)
    found: dict[Contribution, None] = {}
    for info in commits:
        merges = info.sha == merge and len(info.parents) > 1
        parts = [
            (info.author, Part.MERGER if merges else Part.AUTHOR),
            (info.committer, Part.MERGER if merges else Part.COMMITTER),
            *((who, Part.CO_AUTHOR) for who in info.co_authors),
            *((GitIdentity.lenient(value), Part.MERGER) for value in info.trailer(MERGED_TRAILER)),
        ]
        found.update((Contribution(who, info.sha, part), None) for who, part in parts)
    return ChangeAuthors(merge, tuple(found))
