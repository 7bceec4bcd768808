"""What the contract needs of an adapter beside the port: a repository to push to, as people do, and a second caller.

GitHub is the rig of tests/rigs/github, spoken to by the unmodified PyGithub.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from github import Auth

from tests.repositories import ScratchRepository
from tests.rigs.github import GitHubRig, User, github
from trimtab_config.git.identity import GitIdentity
from trimtab_config.git.repository import GitRepository
from trimtab_config.githost.github import GitHubHost, connect
from trimtab_config.githost.interface import GitHost
from trimtab_config.githost.local import LocalGitHost

BOT = GitIdentity("Trimtab Bot", "bot@example.org")
ROBOT = User("trimtab[bot]", 77, "token-of-the-bot", "Bot")


class Rig(Protocol):
    """An adapter with the repository behind it. ``main`` holds one commit at first."""

    def host(self) -> GitHost:
        """A caller of the host; every call makes another one, as another process would be."""
        ...

    def commit(self, files: dict[str, bytes], *parents: str) -> str:
        """A commit of exactly these files, known to the host, on no branch."""
        ...

    def push(self, branch: str, sha: str) -> None:
        """Move or create a branch, as a person with git does."""
        ...

    def tip(self, branch: str) -> str | None:
        """Where a branch is."""
        ...

    def read(self) -> GitRepository:
        """A repository in which everything that the host merged can be read."""
        ...


@dataclass(slots=True)
class LocalRig:
    """The local bare repository host."""

    scratch: ScratchRepository

    @classmethod
    @contextlib.contextmanager
    def running(cls, folder: Path) -> Iterator[LocalRig]:
        yield cls(scratch_repository(folder))

    def host(self) -> GitHost:
        return LocalGitHost(GitRepository(self.scratch.path), BOT, lambda: datetime.now(UTC))

    def commit(self, files: dict[str, bytes], *parents: str) -> str:
        return self.scratch.commit(files, *parents)

    def push(self, branch: str, sha: str) -> None:
        self.scratch.git("update-ref", f"refs/heads/{branch}", sha)

    def tip(self, branch: str) -> str | None:
        return self.read().resolve(branch)

    def read(self) -> GitRepository:
        return GitRepository(self.scratch.path)


@dataclass(slots=True)
class GitHubHostRig(LocalRig):
    """GitHub over the same kind of repository."""

    github: GitHubRig

    @classmethod
    @contextlib.contextmanager
    def running(cls, folder: Path) -> Iterator[GitHubHostRig]:
        scratch = scratch_repository(folder)
        with github(scratch.path, ROBOT) as rig:
            yield cls(scratch, rig)

    def host(self) -> GitHost:
        return GitHubHost(connect(self.github.base_url, Auth.Token(ROBOT.token), 0), "acme/fleet", ROBOT.id)


def scratch_repository(folder: Path) -> ScratchRepository:
    """A repository with one commit on ``main``."""
    scratch = ScratchRepository.create(folder / "fleet.git")
    scratch.commit({"a.yaml": b"a: 1\n"}, branch="main")
    return scratch


RIGS: dict[str, Callable[[Path], AbstractContextManager[Rig]]] = {
    "local": LocalRig.running,
    "github": GitHubHostRig.running,
}
