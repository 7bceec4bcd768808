"""RAPL, the energy counters of x86 processors, by the kernel's powercap interface.

Source: Linux ``Documentation/power/powercap/powercap.rst`` and ``drivers/powercap/intel_rapl_common.c``. A zone counts
microjoules and starts anew at ``max_energy_range_uj``. Package zones hold their cores and graphics; memory (``dram``) is a
zone beside them in the hardware although it lies below in the tree, so it is added; ``psys`` covers everything, and is used
only where there is no package zone. Since Linux 5.10 only root may read the counters (CVE-2020-8694).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab_edge.telemetry.energy import files
from trimtab_edge.telemetry.energy.meter import Grade, MeterError, Source, grown

if TYPE_CHECKING:
    from pathlib import Path

_ZONE = re.compile(r"intel-rapl:[0-9]+(:[0-9]+)?")


@dataclass(frozen=True, slots=True)
class _Zone:
    path: Path
    name: str
    modulus: int


class RaplMeter:
    """All packages and memories of the machine. ``root`` is ``/sys/class/powercap``, or a copy of it."""

    def __init__(self, root: Path) -> None:
        """Raises :class:`MeterError` where there are no zones, or they cannot be read."""
        zones = [
            _Zone(path, files.text(path / "name"), files.number(path / "max_energy_range_uj") + 1)
            for path in files.entries(root)
            if _ZONE.fullmatch(path.name)
        ]
        chosen = [zone for zone in zones if zone.name.startswith("package")]
        if chosen:
            chosen += [zone for zone in zones if zone.name == "dram"]
        else:
            chosen = [zone for zone in zones if zone.name == "psys"]
        if not chosen:
            raise MeterError(f"{root}: no RAPL zones")
        self._zones = chosen
        self._before = self._read()
        names = sorted(zone.name for zone in chosen)
        self.source = Source("rapl", Grade.MEASURED, ", ".join(names))

    def _read(self) -> list[int]:
        return [files.number(zone.path / "energy_uj") for zone in self._zones]

    def advance(self, at: float, busy_seconds: float) -> int | None:
        """See :class:`~trimtab_edge.telemetry.energy.meter.EnergyMeter`. All zones, or nothing."""
        del at, busy_seconds
        try:
            after = self._read()
        except MeterError:
            return None
        before, self._before = self._before, after
        parts = [grown(old, new, zone.modulus) for old, new, zone in zip(before, after, self._zones, strict=True)]
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) else None
