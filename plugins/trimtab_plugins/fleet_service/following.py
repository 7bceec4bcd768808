"""Following a source: the newest tree that can be read answers, and the one that cannot is said.

``Following`` holds what the threads of the server ask for; one thread alone moves it on.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from trimtab_config.compilation import FleetCompiler
from trimtab_kernel.problems import InputError, OutsideError, Problem, quoted
from trimtab_plugins.fleet_service.inventory import inventory_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from trimtab_plugins.fleet_service.inventory import Inventory


@dataclass(frozen=True, slots=True)
class Tree:
    """One state of the fleet: ``revision`` is a commit, or for a folder the digest over its files."""

    revision: str
    files: Mapping[str, bytes]
    prefix: str = ""


class Source(Protocol):
    """Where the fleet comes from."""

    def look(self, known: str) -> Tree | None:
        """The tree as it is now, None where its revision is ``known``. Raises OutsideError and InputError."""
        ...


class Commits(Protocol):
    """What is needed of a repository; ``trimtab_config.git.repository.GitRepository`` has it."""

    def resolve(self, ref: str) -> str | None:
        """The commit of a branch, None where there is none."""
        ...

    def files(self, commit: str, prefix: str = "") -> Mapping[str, bytes]:
        """The fleet files of a commit, by path relative to ``prefix``."""
        ...


class BranchSource:
    """A branch of a Git repository on this machine, bare or a clone whose working tree is never looked at."""

    def __init__(self, commits: Commits, branch: str, prefix: str) -> None:
        self._commits = commits
        self._branch = branch
        self._prefix = prefix.strip("/")

    def look(self, known: str) -> Tree | None:
        """As :meth:`Source.look`."""
        commit = self._commits.resolve(self._branch)
        if commit is None:
            raise OutsideError(f"no branch {quoted(self._branch)} in the repository; push it, or name another one")
        if commit == known:
            return None
        try:
            return Tree(commit, self._commits.files(commit, self._prefix), self._prefix)
        except InputError as error:
            raise UnreadableError(commit, error.problems) from error


class FolderSource:
    """A folder, or a link that another program swaps (git-sync does). Looked at as a whole each time."""

    def __init__(self, folder: Path, path: str, load: Callable[[Path], Mapping[str, bytes]]) -> None:
        """``path`` is where the fleet lies below the folder; ``load`` reads the files of a folder, by relative path."""
        self._folder = folder
        self._path = path.strip("/")
        self._load = load

    def look(self, known: str) -> Tree | None:
        """As :meth:`Source.look`."""
        # Resolved once: a link that is swapped meanwhile must not give half of each tree.
        folder = self._folder.resolve() / self._path
        if not folder.is_dir():
            raise OutsideError(f"no folder {quoted(str(self._folder / self._path))}; mount it, or name another one")
        try:
            files = self._load(folder)
        except InputError as error:
            raise UnreadableError("", error.problems) from error
        whole = hashlib.sha256()
        for name, content in sorted(files.items()):
            whole.update(f"{len(name.encode())} {len(content)} {name}".encode())
            whole.update(content)
        revision = f"sha256:{whole.hexdigest()}"
        return None if revision == known else Tree(revision, files, self._path)


class UnreadableError(InputError):
    """There is a new tree, and it cannot be read."""

    def __init__(self, revision: str, problems: tuple[Problem, ...]) -> None:
        super().__init__(*problems)
        self.revision = revision


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why the newest state is not what answers: since when (Unix seconds), and what is wrong with which revision.

    ``revision`` is "" where the source itself cannot be reached.
    """

    since: float
    revision: str
    problems: tuple[Problem, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """What answers now. ``inventory`` is None until a first tree was read; ``read_at`` and ``looked_at`` in Unix seconds."""

    inventory: Inventory | None = None
    read_at: float = 0.0
    looked_at: float = 0.0
    trouble: Trouble | None = None


class Following:
    """Follows one source. :meth:`step` is called by one thread; :attr:`standing` may be read by any."""

    def __init__(self, source: Source, compiler: FleetCompiler, now: Callable[[], float]) -> None:
        """``now`` gives Unix seconds."""
        self._source = source
        self._compiler = compiler
        self._now = now
        self._lock = threading.Lock()
        self._standing = Standing()
        self._known = ""

    @property
    def standing(self) -> Standing:
        """What answers now."""
        with self._lock:
            return self._standing

    def step(self) -> Standing:
        """Look once. Raises nothing that a tree or a source can cause: that becomes the standing's trouble."""
        before = self.standing
        now = self._now()
        since = before.trouble.since if before.trouble else now  # trouble lasts since it began, whatever it turned into
        try:
            tree = self._source.look(self._known)
            if tree is None:
                after = replace(before, looked_at=now, trouble=_without_reason(before.trouble))
            else:
                self._known = tree.revision
                inventory = inventory_of(self._compiler.open(tree.files, tree.prefix), tree.revision)
                after = Standing(inventory, now, now)
        except InputError as error:
            if isinstance(error, UnreadableError):
                self._known = error.revision
            after = replace(before, looked_at=now, trouble=Trouble(since, self._known, error.problems))
        except OutsideError as error:
            # What was broken before stays so until a look says otherwise.
            trouble = before.trouble or Trouble(since, "", ())
            after = replace(before, trouble=replace(trouble, reason=str(error)))
        with self._lock:
            self._standing = after
        return after


def _without_reason(trouble: Trouble | None) -> Trouble | None:
    """The source can be reached again, with the tree that it had: a broken one is broken still."""
    return replace(trouble, reason="") if trouble is not None and trouble.problems else None
