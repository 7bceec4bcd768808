"""A server with all its processes: CPU seconds and memory of the tree, and its orderly end. Linux only (/proc)."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Memory:
    """MB (10^6 bytes): ``resident`` counts shared pages once per process, ``proportional`` once."""

    resident: float
    proportional: float
    processes: int


def parse_stat(content: str) -> tuple[int, int]:
    """Parent and session of a process from /proc/PID/stat, whose second field may hold spaces and brackets (proc(5))."""
    fields = content.rpartition(")")[2].split()
    return int(fields[1]), int(fields[3])


def members(root: int, stats: Mapping[int, tuple[int, int]]) -> tuple[int, ...]:
    """``root``, its descendants and whoever is in the session it leads, of ``stats``: process to (parent, session)."""
    found = {root} | {pid for pid, (_, session) in stats.items() if session == root}
    while more := {pid for pid, (parent, _) in stats.items() if parent in found} - found:
        found |= more
    return tuple(sorted(found & (stats.keys() | {root})))


class ProcessTree:
    """A command that was started in a session of its own; what it says goes to ``log``."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path) -> None:
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                list(command), env=dict(environment), cwd=folder, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def ended(self) -> bool:
        """Whether the first process is gone."""
        return self._process.poll() is not None

    def last_words(self) -> str:
        """The last line that it wrote, at most 200 characters."""
        lines = [line for line in self._log.read_text("utf-8", errors="replace").splitlines() if line.strip()]
        return lines[-1].strip()[:200] if lines else "it said nothing"

    def pids(self) -> tuple[int, ...]:
        """All its processes now."""
        stats = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    stats[int(entry.name)] = parse_stat((entry / "stat").read_text())
        return members(self._process.pid, stats)

    def cpu(self) -> float:
        """CPU seconds (user and system) of all its processes so far, to the nanosecond where the kernel counts so."""
        return sum(map(_cpu, self.pids()))

    def memory(self) -> Memory:
        """What it holds now."""
        each = [found for pid in self.pids() if (found := _memory(pid)) is not None]
        return Memory(sum(rss for rss, _ in each), sum(pss for _, pss in each), len(each))

    def stop(self) -> None:
        """SIGTERM, ten seconds, then SIGKILL to whatever of it is left; returns when nothing of it runs any more."""
        known = {pid: _started(pid) for pid in self.pids()}
        if not self.ended():
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
        known = {pid: _started(pid) for pid in self.pids()} | known
        deadline = time.monotonic() + 10
        # A number that another process has by now is none of ours: the start time tells them apart.
        while left := [pid for pid, begin in known.items() if begin and _started(pid) == begin]:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.poll()
            if time.monotonic() > deadline:
                sys.exit(f"bench: processes {left} do not end")
            time.sleep(0.01)
        self._process.wait(10)


def _started(pid: int) -> str:
    """When a process started, in the kernel's ticks; empty where it runs no more."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in ("Z", "X") else fields[19]


def _cpu(pid: int) -> float:
    # The CPU clock of another process: clock_getcpuclockid(3) packs its id this way on Linux.
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def own_memory() -> Memory:
    """What this process holds."""
    resident, proportional = _memory(os.getpid()) or (0.0, 0.0)
    return Memory(resident, proportional, 1)


def _memory(pid: int) -> tuple[float, float] | None:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    kilobytes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines[1:])}
    return kilobytes.get("Rss", 0) * 1024 / 1e6, kilobytes.get("Pss", 0) * 1024 / 1e6
