"""How many threads work on one request of a model: as few as pay off on this box.

A pool costs CPU time to wake and to wait for, so a model that is quick alone stays alone: below :data:`BREAK_EVEN` no
pool is tried. Above it, sessions with 2, 4, ... threads are timed on the warm-up's input within a budget. One is taken
only where it makes a request a good deal faster for little more CPU time, which is energy. The rule is pure: whoever
calls measures, and tells the time.

What was found is kept beside the model, under a key of everything that it depends on.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_edge.durable import write_file
from trimtab_edge.reading import read_limited

if TYPE_CHECKING:
    from collections.abc import Callable

    from trimtab_kernel.identity import Digest

BREAK_EVEN = 1e-3
"""Wall seconds of a run with one thread. On the reference box (two virtual x86 cores) products of matrices that take less
gained nothing from a second thread that does not spin; ``bench/serving`` measures it again."""
BUDGET = 2.0
"""Seconds that a calibration may take, loading included."""
MIN_SPEED_UP = 1.3
MAX_EXTRA_CPU = 1.25
RUNS = 5
CACHE_FILE = ".calibration.json"
_MAX_CACHE_BYTES = 4096
_MAX_THREADS = 1024


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of the fastest run, and CPU seconds of the cheapest."""

    seconds: float
    cpu_seconds: float


def choose_threads(
    alone: Timing, cores: int, measure: Callable[[int], Timing], now: Callable[[], float], *, load_seconds: float
) -> int:
    """The number of threads, from 1 to ``cores``.

    ``alone`` is one thread's timing; ``measure`` loads and times another number of threads; ``now`` is a steady clock.
    A number whose loading and runs would exceed the budget is not tried.
    """
    if alone.seconds < BREAK_EVEN:
        return 1
    end = now() + BUDGET
    best, chosen, count = alone, 1, 2
    while count <= cores:
        expected = load_seconds + (RUNS + 1) * best.seconds
        if now() + expected > end:
            break
        timing = measure(count)
        if best.seconds < MIN_SPEED_UP * timing.seconds or timing.cpu_seconds > MAX_EXTRA_CPU * alone.cpu_seconds:
            break
        best, chosen = timing, count
        count *= 2
    return chosen


def processor_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """The cores that this process may use: its affinity, and the quota of its cgroup (version 2)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = (cgroup / "cpu.max").read_text("ascii").split()
        if quota != "max":
            cores = min(cores, max(1, int(quota) // int(period)))
    except (OSError, ValueError, ZeroDivisionError):
        pass
    return cores


def processor_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The model of the processor as the kernel names it, or else the architecture."""
    try:
        text = cpuinfo.read_text("utf-8", "replace")
    except OSError:
        return platform.machine()
    parts = re.findall(r"^(?:model name|CPU implementer|CPU part|Hardware)\s*:\s*(.*)$", text, re.MULTILINE)
    return " ".join(sorted(set(parts))) or platform.machine()


def cache_key(digest: Digest, processor: str, cores: int, onnxruntime_version: str) -> str:
    """A name for everything that a choice depends on."""
    parts = (str(digest), processor, str(cores), onnxruntime_version)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def read_choice(path: Path, key: str, cores: int) -> int | None:
    """The number of threads kept there under ``key``; None for everything else, whatever the file holds."""
    try:
        content = read_limited(path, _MAX_CACHE_BYTES)
        found = json.loads(content) if len(content) <= _MAX_CACHE_BYTES else None
    except (OSError, ValueError, RecursionError):
        return None
    threads = found.get("threads") if isinstance(found, dict) and found.get("key") == key else None
    return threads if type(threads) is int and 1 <= threads <= min(cores, _MAX_THREADS) else None


def write_choice(path: Path, key: str, threads: int) -> None:
    """Keep a choice. Raises OSError where the place cannot be written."""
    write_file(path, json.dumps({"key": key, "threads": threads}, sort_keys=True).encode() + b"\n")
