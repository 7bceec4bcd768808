"""CPU time of the whole machine, from ``/proc/stat`` (proc(5)); the parts of it that inferences took are known elsewhere."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from trimtab_edge.telemetry.energy import files
from trimtab_edge.telemetry.energy.meter import MeterError

if TYPE_CHECKING:
    from pathlib import Path

_IDLE, _IO_WAIT, _FIELDS = 3, 4, 8


def busy_ticks(stat: str) -> int:
    """Ticks of all CPUs that were not idle: user, nice, system, irq, softirq, steal. Raises ValueError for other text.

    Time of guests is part of user time there (proc(5)), so the fields behind are not added again.
    """
    first = stat.partition("\n")[0].split()
    if len(first) <= _FIELDS or first[0] != "cpu" or not all(field.isdigit() for field in first[1:]):
        raise ValueError("expected /proc/stat to begin with the line of all CPUs")
    ticks = [int(field) for field in first[1 : _FIELDS + 1]]
    return sum(count for place, count in enumerate(ticks) if place not in (_IDLE, _IO_WAIT))


class Processor:
    """The machine's CPU time. ``root`` is ``/proc``, or a copy."""

    def __init__(self, root: Path, ticks_per_second: int | None = None) -> None:
        """Raises :class:`MeterError` where it cannot be read."""
        self._path = root / "stat"
        self._ticks_per_second = ticks_per_second or os.sysconf("SC_CLK_TCK")
        self._before = self._read()

    def _read(self) -> int:
        try:
            return busy_ticks(files.text(self._path))
        except ValueError as error:
            raise MeterError(f"{self._path}: {error}") from None

    def busy_ns(self) -> int | None:
        """Nanoseconds of CPU time since the previous call (all CPUs added); None where it cannot be told."""
        try:
            now = self._read()
        except MeterError:
            return None
        before, self._before = self._before, now
        return (now - before) * 1_000_000_000 // self._ticks_per_second if now >= before else None
