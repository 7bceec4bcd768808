"""Putting a folder of files in the place of another, as a whole."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_AT_FDCWD = -100
_EXCHANGE = 2  # RENAME_EXCHANGE of renameat2(2)


def replace_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make ``folder`` hold exactly ``files``: written and flushed beside it first, then exchanged in one step.

    A crash leaves the old ones or the new ones. Where the file system cannot exchange two folders, the old one is moved
    away first, and for that instant there is none. Raises OSError; then the old one is what it was.
    """
    target = folder.resolve()  # a link to a folder stays a link
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        made = work / "new"
        made.mkdir(mode=0o755)
        for name, content in files.items():
            with (made / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        _flush(made)
        if not target.exists():
            made.rename(target)
        elif not _exchanged(made, target):
            target.rename(work / "old")
            made.rename(target)
        _flush(target.parent)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _exchanged(one: Path, other: Path) -> bool:
    with contextlib.suppress(OSError, AttributeError):
        call = ctypes.CDLL(None, use_errno=True).renameat2
        return bool(call(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _EXCHANGE) == 0)
    return False


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
