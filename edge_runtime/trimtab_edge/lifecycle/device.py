"""What a Linux device can tell about itself; flags of the command line come before it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trimtab_edge.lifecycle.conditions import Device

_POWER = Path("/sys/class/power_supply")
_MEMORY = Path("/proc/meminfo")


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """``declared`` as the command line says it; what it leaves open is read from the system at each call."""

    declared: Device
    power: Path = _POWER
    memory: Path = _MEMORY

    def now(self) -> Device:
        """The device as it is now."""
        device = self.declared
        if device.battery is None:
            device = replace(device, battery=self._battery())
        if device.memory_mb is None:
            device = replace(device, memory_mb=self._memory_mb())
        return device

    def _battery(self) -> int | None:
        """The lowest battery in percent; None where there is none."""
        levels = []
        for supply in sorted(self.power.glob("*")):
            try:
                if (supply / "type").read_text("ascii").strip() == "Battery":
                    levels.append(int((supply / "capacity").read_text("ascii")))
            except (OSError, ValueError):
                continue  # no battery, or one that does not say how full it is
        return min(levels, default=None)

    def _memory_mb(self) -> int | None:
        try:
            for line in self.memory.read_text("ascii").splitlines():
                name, _, value = line.partition(":")
                if name == "MemTotal":
                    return int(value.split()[0]) * 1024 // 1_000_000
        except (OSError, ValueError, IndexError):
            return None
        return None
