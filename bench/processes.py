"""Programs run to be measured: wall seconds, CPU seconds and peak memory of one process and what it started."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class Run:
    """One run: seconds by the clock, seconds of CPU (user and system), peak resident memory in MB (10^6 bytes)."""

    wall: float
    cpu: float
    memory: float


def measured(command: Sequence[str]) -> tuple[Run, str]:
    """Run ``command`` to its end; what it took, and its standard output. Raises SystemExit where it fails."""
    with tempfile.TemporaryFile() as output:
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=output)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"bench: {' '.join(command)} ended with {process.returncode}")
        output.seek(0)
        return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6), output.read().decode()


def middle(runs: Iterable[Run]) -> Run:
    """The median of each figure."""
    listed = list(runs)
    return Run(*(median(getattr(run, name) for run in listed) for name in ("wall", "cpu", "memory")))
