"""Reading the small files of sysfs and procfs, which hold one value each."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from trimtab_edge.telemetry.energy.meter import MeterError

if TYPE_CHECKING:
    from pathlib import Path

_LIMIT = 64 * 1024


def text(path: Path) -> str:
    """The content without white space around it. Raises :class:`MeterError`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            return file.read(_LIMIT).decode("ascii", "replace").strip()
    except OSError as error:
        raise MeterError(f"{path}: {(error.strerror or str(error)).lower()}") from None


def number(path: Path) -> int:
    """A whole number. Raises :class:`MeterError`."""
    content = text(path)
    if not content.isascii() or not content.removeprefix("-").isdigit():
        raise MeterError(f"{path}: no whole number")
    return int(content)


def entries(directory: Path) -> list[Path]:
    """What lies in a directory, by name. Raises :class:`MeterError`."""
    try:
        return sorted(directory.iterdir())
    except OSError as error:
        raise MeterError(f"{directory}: {(error.strerror or str(error)).lower()}") from None
