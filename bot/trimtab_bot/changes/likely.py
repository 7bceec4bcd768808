"""The likely commit: which change on the branch moved a model to a version, and who had a part in it.

Deployments may have moved one after another (a first group, then the rest), so there may be several such changes. The
newest is named as the likely cause; a rollback undoes each deployment's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab_bot.changes.history import asked_by

if TYPE_CHECKING:
    from trimtab_bot.changes.history import Asked, History
    from trimtab_config.git.objects import CommitInfo


@dataclass(frozen=True, slots=True)
class Move:
    """A first-parent commit after which ``deployments`` ask for a version that they did not ask for before it.

    ``parent`` is its first parent, None for the first commit of all. Deployments are named ``kind namespace/name``.
    """

    commit: CommitInfo
    parent: str | None
    deployments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Moves:
    """The newest move of each deployment that asks for the version, newest first; ``unexplained`` are those without one.

    Without a move is what moved before the commits that were searched.
    """

    moves: tuple[Move, ...]
    unexplained: tuple[str, ...]


def find_moves(history: History, head: str, model: str, version: str, limit: int) -> Moves:
    """The newest first-parent commits up to ``head`` that moved deployments of ``model`` to ``version``.

    Only deployments count that still ask for the version at ``head``: a move that was taken back since is not the cause.
    A deployment that only changed its file or its text has not moved. Looks at most at ``limit`` commits.
    """
    left = {asked.deployment for asked in history.fleet(head).asked(model) if asked.version == version}
    moves = []
    for commit in history.repository.first_parents(head, limit) if left else ():
        parent = commit.parents[0] if commit.parents else None
        if parent is None:
            moved = left & _asking(history.fleet(commit.sha).asked(model), version)
        else:
            paths = history.changed_files(parent, commit.sha)
            if not paths:
                continue
            after = _asking(asked_by(history.documents(commit.sha, paths), model), version)
            before = _asking(asked_by(history.documents(parent, paths), model), version)
            moved = left & (after - before)
        if moved:
            moves.append(Move(commit, parent, tuple(sorted(moved))))
            left -= moved
        if not left:
            break
    return Moves(tuple(moves), tuple(sorted(left)))


def _asking(found: frozenset[Asked], version: str) -> set[str]:
    return {asked.deployment for asked in found if asked.version == version}
