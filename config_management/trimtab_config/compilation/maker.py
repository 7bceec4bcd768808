"""What makes the objects besides their input: this version of the compiler, as a text that changes whenever its code does."""

from __future__ import annotations

import hashlib
import os
from functools import cache
from pathlib import Path

import trimtab_config
import trimtab_kernel


@cache
def compiler_version() -> str:
    """A digest over name, size and time of every module and data file of the two packages that compile.

    A stat of each is enough: a file that an installation or an editor replaces gets another time. It takes a millisecond
    where reading them all would take twenty.
    """
    digest = hashlib.sha256()
    for package in (trimtab_kernel, trimtab_config):
        for entry in _files(Path(package.__path__[0])):
            digest.update(entry.encode(errors="surrogateescape"))
    return digest.hexdigest()


def _files(root: Path) -> list[str]:
    found, waiting = [], [str(root)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir():
                    if entry.name != "__pycache__":
                        waiting.append(entry.path)
                else:
                    status = entry.stat()
                    found.append(f"{entry.path} {status.st_size} {status.st_mtime_ns}\n")
    return sorted(found)
