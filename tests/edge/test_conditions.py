"""Whether a device may update now, as a table; and what a Linux device says about itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trimtab_edge.lifecycle.conditions import Device, unmet
from trimtab_edge.lifecycle.device import DeviceFacts
from trimtab_kernel.desired import Conditions

if TYPE_CHECKING:
    from pathlib import Path


def device(**facts: int | str | None) -> Device:
    return Device("d", **facts)  # type: ignore[arg-type] # facts of a device, by their names


CASES = {
    "nothing asked": (Conditions(), device(), ()),
    "battery above": (Conditions(min_battery=50), device(battery=51), ()),
    "battery at the level": (Conditions(min_battery=50), device(battery=50), ("battery 50 %, expected above 50 %",)),
    "battery full is enough for every level": (Conditions(min_battery=100), device(battery=100), ()),
    "no battery": (Conditions(min_battery=50), device(battery=None), ()),
    "Wi-Fi on Wi-Fi": (Conditions(network="WIFI"), device(network="WIFI"), ()),
    "Wi-Fi on a cable": (Conditions(network="WIFI"), device(network="UNMETERED"), ("network UNMETERED, expected WIFI",)),
    "unmetered on Wi-Fi": (Conditions(network="UNMETERED"), device(network="WIFI"), ()),
    "unmetered on anything": (Conditions(network="UNMETERED"), device(network="ANY"), ("network ANY, expected UNMETERED",)),
    "any network": (Conditions(network="ANY"), device(network="ANY"), ()),
    "memory": (Conditions(min_memory_mb=4096), device(memory_mb=4096), ()),
    "less memory": (Conditions(min_memory_mb=4096), device(memory_mb=4095), ("memory 4095 MB, expected at least 4096 MB",)),
    "memory not known": (Conditions(min_memory_mb=1), device(), ("memory unknown, expected at least 1 MB",)),
    "iOS newer": (Conditions(min_os_version="iOS16"), device(os_version="iOS17.2"), ()),
    "iOS equal": (Conditions(min_os_version="iOS16"), device(os_version="iOS 16.0.0"), ()),
    "iOS older": (Conditions(min_os_version="iOS16.4"), device(os_version="iOS16.3.9"), ("operating system iOS16.3.9, expected at least iOS16.4",)),
    "iOS 9 is older than 16": (Conditions(min_os_version="iOS16"), device(os_version="iOS9"), ("operating system iOS9, expected at least iOS16",)),
    "iOS level on Android": (Conditions(min_os_version="iOS16", min_api_level=30), device(api_level=33), ()),
    "iOS level on Linux": (Conditions(min_os_version="iOS16", min_api_level=30), device(), ()),
    "iOS level on another system": (Conditions(min_os_version="iOS16"), device(os_version="Debian12"), ()),
    "iOS level that nobody can read": (Conditions(min_os_version="iOS16"), device(os_version="?"), ("operating system ?, expected at least iOS16",)),
    "Android older": (Conditions(min_api_level=30), device(api_level=29), ("API level 29, expected at least 30",)),
    "several at once": (
        Conditions(min_battery=50, network="WIFI", min_memory_mb=10),
        device(battery=5, memory_mb=5),
        ("battery 5 %, expected above 50 %", "network ANY, expected WIFI", "memory 5 MB, expected at least 10 MB"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("conditions", "facts", "expected"), CASES.values(), ids=CASES.keys())
def test_conditions(conditions: Conditions, facts: Device, expected: tuple[str, ...]) -> None:
    assert unmet(conditions, facts) == expected


def supply(power: Path, name: str, kind: str, capacity: str | None) -> None:
    (power / name).mkdir(parents=True)
    (power / name / "type").write_text(f"{kind}\n")
    if capacity is not None:
        (power / name / "capacity").write_text(f"{capacity}\n")


def test_a_linux_device_says_how_full_its_batteries_are_and_how_much_memory_it_has(tmp_path: Path) -> None:
    """A tree as the kernel shows it, made here."""
    power = tmp_path / "power_supply"
    supply(power, "AC", "Mains", None)
    supply(power, "BAT0", "Battery", "80")
    supply(power, "BAT1", "Battery", "35")
    supply(power, "BAT2", "Battery", "unknown")
    memory = tmp_path / "meminfo"
    memory.write_text("MemTotal:        2000000 kB\nMemFree:          100 kB\n")
    found = DeviceFacts(Device("d"), power, memory).now()
    assert (found.battery, found.memory_mb) == (35, 2048)
    declared = DeviceFacts(Device("d", battery=9, memory_mb=7), power, memory).now()
    assert (declared.battery, declared.memory_mb) == (9, 7)


def test_a_device_without_these_files_knows_neither(tmp_path: Path) -> None:
    found = DeviceFacts(Device("d"), tmp_path / "none", tmp_path / "none").now()
    assert (found.battery, found.memory_mb) == (None, None)
