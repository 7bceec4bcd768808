"""The archives on disk: whole or not there, named by the content of their files, the newest releases kept.

::

    ROOT/externalartifact/<namespace>/<name>/<content hash>.tar.gz

A file's modification time says when it became the current release, so retention needs no book beside the files. Several
processes may share a root: names follow from content, and files appear by rename.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab_kernel.problems import InputError, OutsideError, printable
from trimtab_plugins.archives import read_archive
from trimtab_plugins.flux.releases import content_hash

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from trimtab_plugins.flux.releases import Release

KIND_FOLDER = "externalartifact"
RETENTION_SECONDS = 60.0
"""How long an archive stays after another took its place, whatever its rank: a consumer may be fetching it."""
_LEFTOVER_SECONDS = 600.0
_TEMPORARY = ".new-"
_NAME = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*"
SERVED = re.compile(
    rf"{KIND_FOLDER}/(?P<namespace>{_NAME})/(?P<name>{_NAME})/(?P<content>[0-9a-f]{{64}})\.tar\.gz", re.ASCII
)
"""The only paths below the root that exist for readers."""


def archive_path(namespace: str, name: str, content: str) -> str:
    """Where an archive lies below the root; also the path of its URL."""
    return f"{KIND_FOLDER}/{namespace}/{name}/{content}.tar.gz"


@dataclass(frozen=True, slots=True)
class Stored:
    """What is known of an archive that was read and found right."""

    digest: str
    size: int


class ArchiveStore:
    """One root. Methods raise OutsideError where it cannot be read or written."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._checked: dict[str, tuple[tuple[int, int, int, int], Stored]] = {}

    def open(self, now: float) -> None:
        """Make the root where it is missing, and remove what writers left behind when they were killed."""
        with _outside(self.root):
            (self.root / KIND_FOLDER).mkdir(parents=True, exist_ok=True)
            for path in (self.root / KIND_FOLDER).glob(f"*/*/{_TEMPORARY}*"):
                with suppress(FileNotFoundError):
                    if now - path.stat().st_mtime > _LEFTOVER_SECONDS:
                        path.unlink()

    def verify(self, namespace: str, name: str, content: str) -> Stored | None:
        """The archive's digest and size if its files hash to ``content``; None where it is missing or something else.

        What is something else is removed: nobody may be served it. An archive is read again only when its file changed.
        """
        relative = archive_path(namespace, name, content)
        path = self.root / relative
        with _outside(path):
            try:
                status = path.lstat()
            except (FileNotFoundError, NotADirectoryError):
                self._checked.pop(relative, None)
                return None
            mark = _mark(status)
            known = self._checked.get(relative)
            if known is not None and known[0] == mark:
                return known[1]
            archive = path.read_bytes()
            if not _holds(archive, content):
                self._checked.pop(relative, None)
                path.unlink(missing_ok=True)
                return None
        stored = _stored(archive)
        self._checked[relative] = (mark, stored)
        return stored

    def put(self, namespace: str, name: str, release: Release, now: float) -> bool:
        """Make the release the current one of ``name``; False where it was that already, byte for byte.

        An archive that is there with other bytes is replaced: the same files were packed by another version.
        """
        relative = archive_path(namespace, name, release.content)
        path = self.root / relative
        stored = self.verify(namespace, name, release.content)
        with _outside(path):
            if stored == Stored(release.digest, release.size):
                return self._make_newest(path, now)
            folder = path.parent
            folder.mkdir(parents=True, exist_ok=True)
            temporary = folder / f"{_TEMPORARY}{secrets.token_hex(8)}"
            try:
                with temporary.open("xb") as file:
                    file.write(release.archive)
                    file.flush()
                    os.fsync(file.fileno())
                os.utime(temporary, (now, now))
                temporary.rename(path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            for each in (folder, folder.parent, folder.parent.parent):
                _flush(each)
        return True

    def _make_newest(self, path: Path, now: float) -> bool:
        """An earlier release that comes back is the current one again."""
        newest = max((each.stat().st_mtime, each.name) for each in path.parent.glob("*.tar.gz"))
        if newest[1] == path.name:
            return False
        os.utime(path, (now, now))
        return True

    def sweep(self, namespace: str, name: str, current: Collection[str], keep: int, now: float) -> int:
        """Remove all but the ``keep`` newest releases, all ``current`` ones always among them; gives how many went.

        A release goes at the earliest 60 s after another took its place.
        """
        folder = self.root / KIND_FOLDER / namespace / name
        removed = 0
        with _outside(folder):
            try:
                found = sorted(((path.stat().st_mtime, path) for path in folder.glob("*.tar.gz")), reverse=True)
            except FileNotFoundError:
                return 0
            names = {f"{content}.tar.gz" for content in current}
            found.sort(key=lambda each: (each[1].name not in names, -each[0]))
            for rank, (_, path) in enumerate(found):
                superseded = found[rank - 1][0] if rank else now
                if rank >= keep and path.name not in names and now - superseded >= RETENTION_SECONDS:
                    path.unlink(missing_ok=True)
                    removed += 1
        return removed

    def sweep_strangers(self, known: Collection[tuple[str, str]], now: float, namespace: str | None = None) -> int:
        """Remove the folders of artifacts that are not among ``known`` (namespace, name), 60 s after their last change.

        With ``namespace`` only those in it: another process answers for the rest.
        """
        removed = 0
        with _outside(self.root):
            for folder in (self.root / KIND_FOLDER).glob(f"{namespace or '*'}/*"):
                if (folder.parent.name, folder.name) in known or now - folder.stat().st_mtime < RETENTION_SECONDS:
                    continue
                newest = max((path.stat().st_mtime for path in folder.iterdir()), default=0.0)
                if now - newest < RETENTION_SECONDS:
                    continue
                for path in folder.iterdir():
                    path.unlink(missing_ok=True)
                folder.rmdir()
                removed += 1
        return removed

    def size(self) -> tuple[int, int]:
        """How many archives there are, and their bytes."""
        with _outside(self.root):
            sizes = [path.stat().st_size for path in (self.root / KIND_FOLDER).glob("*/*/*.tar.gz")]
        return len(sizes), sum(sizes)

    def read(self, path: str) -> bytes | None:
        """The archive that a URL's path names; None for every other path, and for an archive that was changed.

        A file that is not the one that was checked is checked now, before a byte of it leaves.
        """
        match = SERVED.fullmatch(path)
        if match is None:
            return None
        try:
            descriptor = os.open(self.root / path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as file:
                mark = _mark(os.fstat(descriptor))
                archive = file.read()
        except OSError:
            return None
        known = self._checked.get(path)
        if known is None or known[0] != mark or known[1].size != len(archive):
            if not _holds(archive, match["content"]):
                return None
            self._checked[path] = (mark, _stored(archive))
        return archive


def _mark(status: os.stat_result) -> tuple[int, int, int, int]:
    """Whatever is written to a file changes one of these."""
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _holds(archive: bytes, content: str) -> bool:
    try:
        return content_hash(read_archive(archive)) == content
    except InputError:
        return False


def _stored(archive: bytes) -> Stored:
    return Stored(f"sha256:{hashlib.sha256(archive).hexdigest()}", len(archive))


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _outside(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = printable(str(error.filename or place))
        raise OutsideError(f"cannot use {where}: {(error.strerror or str(error)).lower()}; check the store") from error
