"""The folder that sync writes: one folder per device group, exchanged in one step, whole at every instant.

::

    DIR/.trimtab-sync/lock                          held while a sync runs
    DIR/<group>/.revisions/<digest>/manifests.yaml
    DIR/<group>/.revisions/<digest>/desired/desired.json
    DIR/<group>/current -> .revisions/<digest>      the one link that is renamed
    DIR/<group>/manifests.yaml -> current/manifests.yaml

As the kubelet does with a mounted ConfigMap, a revision is complete and on disk before ``current`` names it. A reader
that opened the old one finishes with it: the revision before the current one stays until the next exchange.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_kernel.identity import parse_label_name
from trimtab_kernel.problems import OutsideError, RefusedError, printable
from trimtab_kernel.vocabulary import DESIRED_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

STATE = ".trimtab-sync"
REVISIONS = ".revisions"
CURRENT = "current"
MANIFESTS = "manifests.yaml"
DESIRED = "desired"


@dataclass(frozen=True, slots=True)
class GroupFiles:
    """What one device group gets."""

    manifests: bytes
    desired: bytes

    @property
    def revision(self) -> str:
        """The name of the revision that holds exactly these bytes."""
        whole = hashlib.sha256(len(self.manifests).to_bytes(8, "big") + self.manifests + self.desired)
        return whole.hexdigest()[:32]


@contextmanager
def open_output(directory: Path) -> Iterator[Output]:
    """The output folder, for one writer at a time; made where it does not exist.

    Raises RefusedError where another sync holds it (G401) and where it holds what no sync wrote (G402): groups that leave
    the fleet are removed here, so a folder with other content must not be taken for one's own. Raises OutsideError where it
    cannot be written.
    """
    state = directory / STATE
    try:
        if not state.is_dir():
            if directory.is_dir() and any(directory.iterdir()):
                raise RefusedError(
                    "G402",
                    f"{printable(str(directory))} is not empty and no output of sync; name an empty or new folder",
                )
            state.mkdir(parents=True, exist_ok=True)
        lock = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise _unwritable(directory, error) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(lock, 32).decode("ascii", "replace").strip()
            raise RefusedError(
                "G401",
                f"another sync (process {printable(holder)}) writes to {printable(str(directory))}; stop it first",
            ) from None
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
        output = Output(directory)
        with _outside(directory):
            output.clear_leftovers()
        yield output
    finally:
        os.close(lock)  # which gives the lock back; it is also given back when the process is killed


class Output:
    """Made by :func:`open_output` only."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._state = directory / STATE

    def apply(self, groups: Mapping[str, GroupFiles]) -> int:
        """Make the folder hold exactly these groups; gives how many were written, exchanged or removed.

        Each group is exchanged as a whole, one after another; stopped at any point, every group there is whole, and
        applying again completes the rest. Raises OutsideError where the folder cannot be written, and ValueError for no
        group at all or a name that is none.
        """
        if not groups:
            raise ValueError("an empty fleet is never written")
        for group in groups:
            parse_label_name(group)
        with _outside(self._directory):
            changed = sum(self._put(group, files) for group, files in sorted(groups.items()))
            return changed + sum(self._remove(group) for group in self.groups() if group not in groups)

    def groups(self) -> tuple[str, ...]:
        """The groups that are there. A folder that sync has not written is none, and is never touched."""
        return tuple(sorted(path.name for path in self._directory.iterdir() if _is_ours(path)))

    def clear_leftovers(self) -> None:
        """Remove what a killed sync left half done; no reader looks there."""
        for path in self._state.iterdir():
            if path.name.startswith(("new-", "gone-")):
                shutil.rmtree(path)

    def _put(self, group: str, files: GroupFiles) -> bool:
        folder = self._directory / group
        if not folder.exists():
            self._create(folder, files)
            return True
        if not _is_ours(folder):
            raise RefusedError("G402", f"{printable(str(folder))} was not written by sync; move it away first")
        exchanged = self._exchange(folder, files)
        self._sweep(folder)
        return exchanged

    def _create(self, folder: Path, files: GroupFiles) -> None:
        """A group folder appears complete: it is made aside and renamed."""
        aside = self._state / f"new-{folder.name}"
        if aside.exists():
            shutil.rmtree(aside)
        aside.mkdir()
        _write_revision(aside, files, f"{REVISIONS}/{files.revision}")
        (aside / CURRENT).symlink_to(f"{REVISIONS}/{files.revision}")
        (aside / MANIFESTS).symlink_to(f"{CURRENT}/{MANIFESTS}")
        _flush(aside)
        aside.rename(folder)
        _flush(self._directory)

    def _exchange(self, folder: Path, files: GroupFiles) -> bool:
        if _read(folder / CURRENT) == files:
            return _link(folder, MANIFESTS, f"{CURRENT}/{MANIFESTS}")
        target, number = f"{REVISIONS}/{files.revision}", 1
        while _read(folder / target) != files:
            if not os.path.lexists(folder / target):
                _write_revision(folder, files, target)
                break
            # Somebody has changed this revision; repaired in place there would be a moment of half a revision.
            target, number = f"{REVISIONS}/{files.revision}-{number}", number + 1
        _link(folder, CURRENT, target)
        _link(folder, MANIFESTS, f"{CURRENT}/{MANIFESTS}")
        return True

    @staticmethod
    def _sweep(folder: Path) -> None:
        """Keep the current revision and the newest of the others, which a reader may still have open."""
        current = (folder / CURRENT).readlink().name
        others = [path for path in (folder / REVISIONS).iterdir() if path.name != current]
        others.sort(key=lambda path: path.lstat().st_mtime_ns, reverse=True)
        finished = [path for path in others if not path.name.startswith(".")]
        for path in others:
            if path not in finished[:1]:
                shutil.rmtree(path)

    def _remove(self, group: str) -> bool:
        gone = self._state / f"gone-{group}"
        if gone.exists():
            shutil.rmtree(gone)
        (self._directory / group).rename(gone)
        _flush(self._directory)
        shutil.rmtree(gone)
        return True


def _is_ours(folder: Path) -> bool:
    return not folder.name.startswith(".") and not folder.is_symlink() and (folder / REVISIONS).is_dir()


def _read(revision: Path) -> GroupFiles | None:
    try:
        return GroupFiles((revision / MANIFESTS).read_bytes(), (revision / DESIRED / DESIRED_FILE).read_bytes())
    except OSError:
        return None


def _write_revision(folder: Path, files: GroupFiles, target: str) -> None:
    revisions = folder / REVISIONS
    revisions.mkdir(exist_ok=True)
    made = revisions / f".{files.revision}"
    if made.exists():
        shutil.rmtree(made)
    (made / DESIRED).mkdir(parents=True)
    _write(made / MANIFESTS, files.manifests)
    _write(made / DESIRED / DESIRED_FILE, files.desired)
    _flush(made / DESIRED)
    _flush(made)
    made.rename(folder / target)
    _flush(revisions)


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _link(folder: Path, name: str, target: str) -> bool:
    """Make ``name`` a link to ``target`` by one rename; False where it is one already."""
    link = folder / name
    with suppress(OSError):
        if str(link.readlink()) == target:
            return False
    fresh = folder / f".{name}.new"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link)
    _flush(folder)
    return True


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _outside(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _unwritable(directory, error) from error


def _unwritable(directory: Path, error: OSError) -> OutsideError:
    hint = {
        errno.EACCES: "check who owns it",
        errno.ENOSPC: "make room",
        errno.EROFS: "it is read-only",
        errno.ENOTDIR: "a file is in the way",
        errno.EISDIR: "a folder is in the way",
    }.get(error.errno or 0, "check the folder")
    place = printable(str(error.filename or directory))
    return OutsideError(f"cannot write {place}: {(error.strerror or str(error)).lower()}; {hint}")
