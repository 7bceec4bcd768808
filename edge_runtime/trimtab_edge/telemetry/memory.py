"""Memory of the server: its mean over any time, and its peak.

Where the server has a cgroup (version 2) of its own, which is how a container runs, the cgroup's figures count, page cache
and all: that is what a limit is held against. A cgroup shared with others says nothing about the server, and then the
process's own resident memory is taken (proc(5): VmRSS, VmHWM). Source: Linux ``Documentation/admin-guide/cgroup-v2.rst``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from trimtab_edge.telemetry.energy import files
from trimtab_edge.telemetry.energy.meter import Grade, MeterError, Source

if TYPE_CHECKING:
    from pathlib import Path

_MAX_GAP = 60.0


class MemoryMeter:
    """Samples memory. ``cgroups`` is ``/sys/fs/cgroup`` and ``proc`` is ``/proc``, or copies; ``pid`` is the server's."""

    def __init__(self, cgroups: Path, proc: Path, pid: int) -> None:
        """Raises :class:`MeterError` where neither can be read."""
        self._status = proc / str(pid) / "status"
        self._cgroup = _own_cgroup(cgroups, proc, pid)
        detail = "" if self._cgroup is None else f"/{self._cgroup.relative_to(cgroups)}"
        self.source = Source("process" if self._cgroup is None else "cgroup", Grade.MEASURED, detail)
        self._at: float | None = None
        self._before = 0
        self.byte_seconds = 0.0
        """Memory integrated over time: its increase over a window, divided by the window, is the mean."""
        self.peak_bytes = 0
        self._read()

    def _read(self) -> int:
        if self._cgroup is not None:
            now = files.number(self._cgroup / "memory.current")
            try:
                peak = files.number(self._cgroup / "memory.peak")  # since Linux 5.19
            except MeterError:
                peak = now
        else:
            status = files.text(self._status)
            now, peak = _kilobytes(status, "VmRSS") * 1024, _kilobytes(status, "VmHWM") * 1024
        self.peak_bytes = max(self.peak_bytes, peak, now)
        return now

    def advance(self, at: float) -> None:
        """Read again; ``at`` in a steady clock's seconds. Between two readings memory changes evenly, as far as is known."""
        try:
            now = self._read()
        except MeterError:
            self._at = None
            return
        if self._at is not None and 0 <= at - self._at <= _MAX_GAP:
            self.byte_seconds += (self._before + now) / 2 * (at - self._at)
        self._before, self._at = now, at


def _own_cgroup(cgroups: Path, proc: Path, pid: int) -> Path | None:
    """The server's cgroup if it is alone in it."""
    try:
        lines = files.text(proc / str(pid) / "cgroup").splitlines()
        path = next(line.removeprefix("0::/") for line in lines if line.startswith("0::/"))
        if ".." in path.split("/"):  # outside of what this namespace shows
            return None
        cgroup = cgroups / path
        members = set(files.text(cgroup / "cgroup.procs").split())
        files.number(cgroup / "memory.current")
    except (MeterError, StopIteration):
        return None
    return cgroup if members == {str(pid)} else None


def _kilobytes(status: str, name: str) -> int:
    match = re.search(rf"^{name}:\s+([0-9]+) kB$", status, re.MULTILINE)
    if match is None:
        raise MeterError(f"process status: no {name}")
    return int(match[1])
