"""A Git host whose repository is mirrored here: what is written here goes there first, what happens there comes here after."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimtab_kernel.problems import OutsideError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trimtab_config.git.identity import GitIdentity
    from trimtab_config.git.mirror import GitMirror
    from trimtab_config.git.repository import GitRepository
    from trimtab_config.githost.github import GitHubHost
    from trimtab_config.githost.interface import Merged, NotReady, Proposal, ProposalState
    from trimtab_kernel.canonical import Json


class MirroredHost:
    """A :class:`trimtab_config.githost.interface.GitHost` over GitHub whose commits are made in a local mirror."""

    def __init__(self, host: GitHubHost, repository: GitRepository, mirror: GitMirror) -> None:
        """``repository`` is the mirror's folder."""
        self._host = host
        self._repository = repository
        self._mirror = mirror

    def find_proposal(self, key: str) -> Proposal | None:
        """See GitHost."""
        return self._host.find_proposal(key)

    def open_proposal(
        self, key: str, base: str, branch: str, commit: str, title: str, body: str, meta: Mapping[str, Json]
    ) -> Proposal:
        """See GitHost. ``commit`` is one of the mirror; it is sent first, and has to be the very same there."""
        known = self._host.find_proposal(key)
        if known is not None:
            return known
        there = self._host.publish(self._repository, commit)
        if there != commit:
            raise OutsideError(
                f"the host made {there[:12]} of commit {commit[:12]}; what was judged must stay what it is"
            )
        return self._host.open_proposal(key, base, branch, commit, title, body, meta)

    def proposal(self, number: int) -> Proposal | None:
        """See GitHost."""
        return self._host.proposal(number)

    def proposals(self, state: ProposalState | None = None) -> tuple[Proposal, ...]:
        """See GitHost."""
        return self._host.proposals(state)

    def merge(
        self,
        number: int,
        expected_head: str,
        expected_base: str,
        merger: GitIdentity,
        trailers: Sequence[tuple[str, str]] = (),
    ) -> Merged | NotReady:
        """See GitHost. The merge is in the mirror when this returns."""
        done = self._host.merge(number, expected_head, expected_base, merger, trailers)
        self._mirror.update()
        return done

    def close(self, number: int, reason: str) -> Proposal | None:
        """See GitHost."""
        return self._host.close(number, reason)
