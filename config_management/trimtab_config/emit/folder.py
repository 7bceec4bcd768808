"""Rendered text into a folder: ``D/<group>/manifests.yaml``, each file replaced in one step."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_kernel.problems import OutsideError

if TYPE_CHECKING:
    from collections.abc import Iterable

MANIFESTS_FILE = "manifests.yaml"


def write_groups(directory: Path, manifests: Iterable[tuple[str, bytes]]) -> None:
    """Write the bytes of each group below ``directory``, which is made where it is not there.

    A reader sees the old file or the new one, never a half; a file that already holds them is left alone. Raises
    OutsideError where the folder cannot be written.
    """
    try:
        for group, content in manifests:
            _replace(directory / group / MANIFESTS_FILE, content)
    except OSError as error:
        raise OutsideError(f"cannot write {error.filename or directory}: {error.strerror or error}") from error


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        if path.read_bytes() == content:
            return
    except FileNotFoundError:
        pass
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
