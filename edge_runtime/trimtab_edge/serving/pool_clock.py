"""CPU time of threads that are not Python's: onnxruntime's pool does work that the thread of a request does not see.

A thread's CPU clock has an id that follows from the thread's (Linux ``include/linux/posix-timers_types.h``), and reading it
takes about a microsecond. Where there is no ``/proc``, no thread is found and nothing is added.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

_TASKS = Path("/proc/self/task")
_PER_THREAD_SCHED = 6
"""CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_SCHED."""


def native_threads() -> frozenset[int]:
    """The ids of all threads of this process that Python did not start."""
    try:
        tasks = {int(task.name) for task in _TASKS.iterdir()}
    except OSError:
        return frozenset()
    return frozenset(tasks - {thread.native_id for thread in threading.enumerate()})


class PoolClock:
    """CPU seconds of some threads since they were last asked for; each nanosecond is handed out once."""

    __slots__ = ("_clocks", "_last", "_lock")

    def __init__(self, threads: frozenset[int]) -> None:
        self._clocks = tuple((~thread << 3) | _PER_THREAD_SCHED for thread in sorted(threads))
        self._lock = threading.Lock()
        self._last = 0
        self._last = self._read()

    def _read(self) -> int:
        total = 0
        for clock in self._clocks:
            try:
                total += time.clock_gettime_ns(clock)
            except OSError:  # the thread has ended
                return self._last
        return total

    def take(self) -> float:
        """CPU seconds since the last call. Of requests that run at once, the first to end gets what both caused."""
        with self._lock:
            now = self._read()
            spent, self._last = now - self._last, now
        return spent / 1e9
