"""What the box spends: energy shared out to model versions, GPU time, memory, battery. Read every few seconds, not per request.

All files are read in a thread of their own, since a sensor on a slow bus may take milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from trimtab_edge.telemetry.energy.attribution import EnergyAccount
from trimtab_edge.telemetry.energy.battery import battery_share
from trimtab_edge.telemetry.energy.choice import choose
from trimtab_edge.telemetry.energy.meter import Grade, MeterError, Source
from trimtab_edge.telemetry.energy.nvml import GpuFigures, GpuMeter, Gpus, NvmlLibrary
from trimtab_edge.telemetry.energy.processor import Processor
from trimtab_edge.telemetry.memory import MemoryMeter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from trimtab_edge.telemetry.energy.meter import EnergyMeter
    from trimtab_edge.telemetry.energy.modelled import CpuModel

_T = TypeVar("_T")
INTERVAL = 5.0
"""Seconds between two readings. RAPL wraps after minutes at the soonest."""
_ABSENT = Source("none", Grade.ABSENT)


@dataclass(frozen=True, slots=True)
class ResourceOptions:
    """Where to read, and what was declared. ``sys`` and ``proc`` are ``/sys`` and ``/proc``, or copies of them."""

    sys: Path
    proc: Path
    pid: int
    cpu_model: CpuModel | None = None
    idle_watts: float = 0.0
    power_channel: str = ""
    battery_watt_hours: float | None = None
    info: Mapping[str, str] = field(default_factory=dict)
    """``device_type`` and ``region``, where they are declared."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of the meters: what the energy meter said since the last one (None: nothing), and CPU time since then."""

    microjoules: int | None
    idle_microjoules: int
    busy_ns: int


class Resources:
    """All meters of one server, and what they added up to."""

    def __init__(self, options: ResourceOptions, load_gpus: Callable[[], Gpus] = NvmlLibrary) -> None:
        """Finds out what there is; a meter that is not there is absent, never an error."""
        self.options = options
        choice = choose(options.sys, options.cpu_model, options.power_channel)
        self._meter: EnergyMeter | None = choice.meter
        self.energy: Source = choice.source
        self.passed_over = choice.passed_over
        self.account: EnergyAccount[tuple[str, str]] = EnergyAccount()
        self._idle_watts = options.idle_watts
        self._at: float | None = None
        self._processor = _attempted(lambda: Processor(options.proc))
        self._memory = _attempted(lambda: MemoryMeter(options.sys / "fs/cgroup", options.proc, options.pid))
        self._gpus = _attempted(lambda: GpuMeter(load_gpus()))

    @property
    def memory(self) -> MemoryMeter | None:
        """The server's memory; None where it cannot be told."""
        return self._memory

    @property
    def memory_source(self) -> Source:
        """Where figures of memory come from."""
        return self._memory.source if self._memory else _ABSENT

    @property
    def gpu_grade(self) -> Grade:
        """Whether there are figures of GPUs."""
        return Grade.MEASURED if self._gpus else Grade.ABSENT

    @property
    def gpus(self) -> list[GpuFigures]:
        """Figures by GPU."""
        return self._gpus.figures if self._gpus else []

    @property
    def battery_grade(self) -> Grade:
        """A share of the battery is as good as the joules that it is made of."""
        return self.energy.grade if self.options.battery_watt_hours else Grade.ABSENT

    def read(self, at: float) -> Reading:
        """Read every meter, at ``at`` on a steady clock. May block for milliseconds; touches nothing that others read."""
        busy = self._processor.busy_ns() if self._processor else None
        microjoules = None
        if self._meter is not None:
            microjoules = self._meter.advance(at, (busy or 0) / 1e9)
        if self._memory:
            self._memory.advance(at)
        if self._gpus:
            self._gpus.advance(at)
        elapsed = at - self._at if self._at is not None else 0.0
        self._at = at
        return Reading(microjoules, round(self._idle_watts * elapsed * 1e6), busy or 0)

    def settle(self, reading: Reading, cpu_ns: Mapping[tuple[str, str], int]) -> None:
        """Share a reading out; ``cpu_ns`` is the CPU time of each (model, version) since it began."""
        self.account.settle(reading.microjoules, idle=reading.idle_microjoules, busy_ns=reading.busy_ns, cpu_ns=cpu_ns)

    @property
    def battery_used(self) -> float | None:
        """The part of the declared battery that inferences took since the start; None where it cannot be told."""
        if not self.options.battery_watt_hours or self.energy.grade is Grade.ABSENT:
            return None
        joules = (sum(self.account.parts.values()) + self.account.retired) / 1e6
        return battery_share(joules, self.options.battery_watt_hours)


def _attempted(make: Callable[[], _T]) -> _T | None:
    try:
        return make()
    except MeterError:
        return None
