"""A fleet's folder looked at before it is read: a file that is as it was when it was last read is not read again.

A file counts as unchanged if size, times of change of content and of status, and inode are those of then, and if it had
been left alone for a while when it was read: two edits within one tick of a file system's clock look alike, which is how
Git came by its "racy" entries. Nobody can set a time of status change, so copies and restored times are seen.
"""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING

from trimtab_config.sources.folder import TooMuchError, judged_link, open_plain, walked
from trimtab_config.sources.selection import MAX_FILE_BYTES, MAX_FILES, MAX_TOTAL_BYTES, is_manifest
from trimtab_config.sources.tree import ChangedError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SETTLED = 2 * 10**9
"""Nanoseconds for which a file must have been left alone before it was read: the coarsest clock of a file system (FAT)."""


class Survey:
    """The manifests of a folder: their digests, and their bytes for who needs them."""

    def __init__(self, root: str, seen: Mapping[str, os.stat_result], prefix: str, now: int) -> None:
        """Made by :func:`survey`."""
        self._root = root
        self._seen = seen
        self._prefix = prefix
        self._now = now
        self._contents: dict[str, bytes] = {}
        self._digests: dict[str, str] = {}
        self._sightings: dict[str, list[object]] = {}

    def digests(self, known: Mapping[str, object]) -> dict[str, str]:
        """Hex SHA-256 of every file by its name. ``known`` are the :attr:`sightings` of an earlier survey.

        Raises ChangedError where a file is gone or is no plain file any more.
        """
        before = self._now - SETTLED
        for name, status in self._seen.items():
            file = self._prefix + name
            sighting = known.get(file)
            # Of the form that it is compared with; anything else is as good as unknown.
            if isinstance(sighting, list) and sighting[:-1] == _signature(status) and isinstance(sighting[-1], str):
                self._digests[file] = sighting[-1]
                self._sightings[file] = sighting
                continue
            content, read = self._read(name)
            self._contents[file] = content
            digest = self._digests[file] = hashlib.sha256(content).hexdigest()
            if max(read.st_mtime_ns, read.st_ctime_ns) < before:
                self._sightings[file] = [*_signature(read), digest]
        return self._digests

    @property
    def sightings(self) -> Mapping[str, object]:
        """What a later survey can use; plain JSON. After :meth:`digests`."""
        return self._sightings

    def content(self, file: str) -> bytes:
        """The bytes that the digest stands for. Raises ChangedError where they are there no more."""
        content = self._contents.get(file)
        if content is None:
            content, _ = self._read(file[len(self._prefix) :])
            if hashlib.sha256(content).hexdigest() != self._digests[file]:
                raise ChangedError
            self._contents[file] = content
        return content

    def contents(self) -> dict[str, bytes]:
        """The bytes of every file. Raises as :meth:`content`."""
        return {file: self.content(file) for file in self._digests}

    def _read(self, name: str) -> tuple[bytes, os.stat_result]:
        try:
            return open_plain(f"{self._root}/{name}")
        except OSError as error:
            raise ChangedError from error


def survey(path: Path, prefix: str, now: int) -> Survey | None:
    """Look at the folder ``path``; files are named by ``prefix`` and their name. ``now`` is the time, in nanoseconds.

    None where :func:`~trimtab_config.sources.folder.read_folder` would have a problem to tell, and for what is no folder.
    """
    seen: dict[str, os.stat_result] = {}
    total = 0
    try:
        if not path.is_dir():
            return None
        for entry, name in walked(path):
            if entry.is_symlink():
                if judged_link(path, entry.path, name):
                    return None
            elif is_manifest(name):
                status = entry.stat(follow_symlinks=False)
                total += status.st_size
                if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE_BYTES or len(seen) >= MAX_FILES:
                    return None
                seen[name] = status
    except (OSError, TooMuchError):
        return None
    return Survey(str(path), dict(sorted(seen.items())), prefix, now) if total <= MAX_TOTAL_BYTES else None


def _signature(status: os.stat_result) -> list[object]:
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev]
