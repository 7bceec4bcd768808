"""Made copies of /sys and /proc, in the layout of the kernel's documentation. No figure here was read from a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

RANGE = 262_143_328_850
"""The usual ``max_energy_range_uj`` of a package: 262 kJ."""


def write(root: Path, files: Mapping[str, object]) -> None:
    """Each path under ``root`` gets its value and a newline, as sysfs gives them."""
    for name, value in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")


def rapl(root: Path, zones: Mapping[str, tuple[str, int]]) -> Path:
    """A powercap class: zone -> name and microjoules."""
    powercap = root / "class/powercap"
    for zone, (name, energy) in zones.items():
        write(powercap / zone, {"name": name, "energy_uj": energy, "max_energy_range_uj": RANGE})
    return powercap


SERVER = {
    "intel-rapl:0": ("package-0", 1_000),
    "intel-rapl:0:0": ("core", 600),
    "intel-rapl:0:1": ("dram", 50),
    "intel-rapl:1": ("package-1", 2_000),
    "intel-rapl:2": ("psys", 9_000),
    "intel-rapl-mmio:0": ("package-0", 1_000),
}
JETSON = {
    "name": "ina3221",
    "in1_label": "VDD_IN",
    "in1_input": 5_000,
    "curr1_input": 1_200,
    "in2_label": "VDD_CPU_GPU_CV",
    "in2_input": 5_000,
    "curr2_input": 400,
    "in3_label": "VDD_SOC",
    "in3_input": 5_000,
    "curr3_input": 300,
}


def stat(user: int, idle: int = 10_000) -> str:
    """A /proc/stat: so many ticks of user time, 7 of guests within it, 100 of system, 40 of waiting."""
    return f"cpu  {user} 5 100 {idle} 40 3 2 1 7 0\ncpu0 {user} 5 100 {idle} 40 3 2 1 7 0\nintr 1\n"
