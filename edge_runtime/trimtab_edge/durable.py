"""Writing so that a crash leaves the old content or the new one, never a part of either.

A file is written beside its place, flushed to the disk (fsync), renamed over the old one, and then its directory is
flushed, for a rename is durable only when its directory is.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_SUFFIX = ".tmp"


def flush_directory(directory: Path) -> None:
    """Make the names in ``directory`` durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(directory: Path) -> None:
    """Make ``directory`` and what is missing above it, durably."""
    missing = []
    place = directory
    while not place.is_dir():
        missing.append(place)
        place = place.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
        flush_directory(new.parent)


def write_file(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` at once. Raises OSError and leaves the old content where the disk is full.

    One writer per path: the temporary name is fixed, so that what a crash left behind is overwritten by the next try.
    """
    temporary = path.with_name(f".{path.name}{_SUFFIX}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)  # noqa: PTH105 - the call that the crash tests interrupt, by its name
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    flush_directory(path.parent)


def rename(source: Path, target: Path) -> None:
    """Rename within one file system, durably. An existing file at ``target`` is replaced."""
    os.replace(source, target)  # noqa: PTH105 - see above
    flush_directory(target.parent)
    if source.parent != target.parent:
        flush_directory(source.parent)


def write_link(path: Path, target: str) -> None:
    """Make ``path`` a symbolic link to ``target`` at once, whatever file or link was there."""
    temporary = path.with_name(f".{path.name}{_SUFFIX}")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    temporary.symlink_to(target)
    os.replace(temporary, path)  # noqa: PTH105 - see above
    flush_directory(path.parent)
