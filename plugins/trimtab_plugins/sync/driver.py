"""The loop: look at the branch, render its commit, exchange what changed, wait."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from trimtab_config.compilation import FleetCompiler
from trimtab_kernel.problems import InputError, OutsideError, Problem, quoted
from trimtab_plugins.sync.rendering import render_fleet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trimtab_plugins.sync.output import GroupFiles


class Commits(Protocol):
    """What sync needs of a repository; ``trimtab_config.git.repository.GitRepository`` has it."""

    def resolve(self, ref: str) -> str | None:
        """The commit of a branch, None where there is none."""
        ...

    def files(self, commit: str, prefix: str = "") -> Mapping[str, bytes]:
        """The fleet files of a commit, by path relative to ``prefix``."""
        ...


class Target(Protocol):
    """Where the rendered files go; ``trimtab_plugins.sync.output.Output`` is one."""

    def apply(self, groups: Mapping[str, GroupFiles]) -> int:
        """Make the target hold exactly these groups; gives how many changed."""
        ...


@dataclass(frozen=True, slots=True)
class Applied:
    """The target holds what this commit renders to."""

    commit: str
    groups: int
    changed: int

    def __str__(self) -> str:
        """``synced <12 digits of the commit> groups=N changed=M``."""
        return f"synced {self.commit[:12]} groups={self.groups} changed={self.changed}"


@dataclass(frozen=True, slots=True)
class Rejected:
    """This commit cannot be rendered; the target is as it was."""

    commit: str
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Nothing:
    """The branch has not moved since the last look."""


Outcome: TypeAlias = Applied | Rejected | Nothing


class Sync:
    """One branch into one target. Remembers what it applied and what it rejected, so that each is told once."""

    def __init__(self, commits: Commits, branch: str, prefix: str, target: Target) -> None:
        """``prefix`` is the fleet's folder in the repository, "" for its root."""
        self._commits = commits
        self._branch = branch
        self._prefix = prefix.strip("/")
        self._target = target
        self._compiler = FleetCompiler()
        self._seen: str | None = None
        self.applied: str | None = None

    def step(self) -> Outcome:
        """Look once. Raises OutsideError where the repository or the target cannot be used; the next step tries again."""
        commit = self._commits.resolve(self._branch)
        if commit is None:
            raise OutsideError(f"no branch {quoted(self._branch)} in the repository; push it, or name another one")
        if commit == self._seen:
            return Nothing()
        try:
            groups = render_fleet(self._commits.files(commit, self._prefix), self._prefix, self._compiler)
        except InputError as error:
            self._seen = commit
            return Rejected(commit, error.problems)
        changed = self._target.apply(groups)
        self._seen = self.applied = commit
        return Applied(commit, len(groups), changed)


def follow(
    sync: Sync,
    tell: Callable[[Applied | Rejected | OutsideError], None],
    wait: Callable[[], bool],
) -> None:
    """Step until ``wait`` says to stop (True). Failures outside are told once each, until something else happens."""
    last = ""
    while True:
        try:
            outcome = sync.step()
        except OutsideError as error:
            if str(error) != last:
                tell(error)
            last = str(error)
        else:
            if not isinstance(outcome, Nothing):
                tell(outcome)
            last = ""
        if wait():
            return
