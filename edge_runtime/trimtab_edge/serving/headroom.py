"""Memory: nothing is loaded and nothing let in beyond what this process may have, so that the kernel never has to kill it.

The limit is the smallest of ``--memory-limit``, the limits of the cgroup and of those above it (version 2), and the
machine's memory. What counts as used is the process's resident memory; where the cgroup has a limit, its memory without
the page cache that can be dropped, as the kubelet counts it. Source: Linux ``Documentation/admin-guide/cgroup-v2.rst``.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

LOAD_FACTOR = 3
"""Memory that loading takes, in sizes of the file: its bytes, onnxruntime's copy, and weights packed for the processor.
Measured on a model of 100 MB: 168 MB stay, and the file's bytes are held meanwhile."""
LOAD_BASE = 8 * 1024**2
ADMIT_FACTOR = 8
"""Memory that a request takes, in sizes of its inputs: its body, its tensors, the model's own and its outputs."""
MARGIN = 0.05
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class Headroom:
    """How much memory is left. ``cgroups`` and ``proc`` are the kernel's, or copies."""

    def __init__(
        self, limit: int | None, *, cgroups: Path = Path("/sys/fs/cgroup"), proc: Path = Path("/proc")
    ) -> None:
        self._proc = proc
        self._cgroup, cgroup_limit = _limiting(cgroups, proc)
        found = [size for size in (limit, cgroup_limit, _total(proc)) if size is not None]
        self.limit = min(found) if found else None
        """Bytes; None: nothing is known, and nothing refused."""
        if cgroup_limit != self.limit:
            self._cgroup = None
        self.left: int | None = None
        """Bytes that were left when it was last looked."""
        self.look()

    def look(self) -> None:
        """Read again. It takes some tens of microseconds, so requests are judged by the last reading."""
        if self.limit is None:
            return
        used = _resident(self._proc) if self._cgroup is None else _working_set(self._cgroup)
        self.left = None if used is None else int(self.limit * (1 - MARGIN)) - used

    def refuses_load(self, file_size: int) -> str:
        """Why a model of so many bytes must not be loaded now; empty where it may."""
        self.look()
        needed = LOAD_FACTOR * file_size + LOAD_BASE
        if self.left is None or needed <= self.left:
            return ""
        return f"about {needed} bytes needed, {max(0, self.left)} left of {self.limit}"

    def refuses_request(self, size: int) -> bool:
        """Whether a request with so many bytes of input must not be let in now."""
        return self.left is not None and ADMIT_FACTOR * size > self.left


def _number(path: Path) -> int | None:
    try:
        text = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return int(text) if text.isdigit() else None


def _limiting(cgroups: Path, proc: Path) -> tuple[Path | None, int | None]:
    """The cgroup with the smallest limit from this process's upward, and the limit."""
    try:
        lines = (proc / "self/cgroup").read_text("ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return None, None
    path = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), None)
    if path is None or ".." in path.split("/"):
        return None, None
    place, found = cgroups / path, []
    while place.is_relative_to(cgroups):
        limit = _number(place / "memory.max")
        if limit is not None:
            found.append((limit, place))
        place = place.parent
    if not found:
        return None, None
    limit, place = min(found, key=lambda one: one[0])
    return place, limit


def _total(proc: Path) -> int | None:
    try:
        match = re.search(r"^MemTotal:\s+([0-9]+) kB$", (proc / "meminfo").read_text("ascii"), re.MULTILINE)
    except (OSError, UnicodeDecodeError):
        return None
    return int(match[1]) * 1024 if match else None


def _resident(proc: Path) -> int | None:
    try:
        fields = (proc / "self/statm").read_text("ascii").split()
        return int(fields[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return None


def _working_set(cgroup: Path) -> int | None:
    current = _number(cgroup / "memory.current")
    if current is None:
        return None
    try:
        match = re.search(r"^inactive_file ([0-9]+)$", (cgroup / "memory.stat").read_text("ascii"), re.MULTILINE)
    except (OSError, UnicodeDecodeError):
        return current
    return max(0, current - int(match[1])) if match else current
