"""The files of a fleet as a compile asks for them: digests of all, and the bytes of those that it needs."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


class ChangedError(Exception):
    """A file is not what it was a moment ago."""


class Tree(Protocol):
    """The files of a fleet, which need not all be read. Every method may raise :class:`ChangedError`."""

    def digests(self, known: Mapping[str, object]) -> Mapping[str, str]:
        """Hex SHA-256 of every file by its name; ``known`` are the :attr:`sightings` of an earlier tree of the same place."""
        ...

    @property
    def sightings(self) -> Mapping[str, object]:
        """What a later tree of the same place can use, as plain JSON. After :meth:`digests`."""
        ...

    def content(self, file: str) -> bytes:
        """The bytes that the digest stands for."""
        ...

    def contents(self) -> Mapping[str, bytes]:
        """The bytes of every file."""
        ...


class FilesInMemory:
    """A tree whose files are all read."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files
        self.sightings: Mapping[str, object] = {}

    def digests(self, known: Mapping[str, object]) -> Mapping[str, str]:
        """See :class:`Tree`."""
        del known
        return {file: hashlib.sha256(content).hexdigest() for file, content in self._files.items()}

    def content(self, file: str) -> bytes:
        """See :class:`Tree`."""
        return self._files[file]

    def contents(self) -> Mapping[str, bytes]:
        """See :class:`Tree`."""
        return self._files
