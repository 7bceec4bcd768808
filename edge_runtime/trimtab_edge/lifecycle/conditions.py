"""Whether a device may update now. Pure: what the device knows about itself is an input."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trimtab_kernel.desired import Conditions

_OS = re.compile(r"([A-Za-z]+)[ -]?([0-9]{1,9}(?:\.[0-9]{1,9}){0,5})", re.ASCII)
_BETTER_OR_EQUAL = {"WIFI": {"WIFI"}, "UNMETERED": {"WIFI", "UNMETERED"}, "ANY": {"WIFI", "UNMETERED", "ANY"}}


@dataclass(frozen=True, slots=True)
class Device:
    """What a device knows about itself. None: not known, or it has none.

    ``battery`` in percent, None on a device without battery. ``network`` is the link in use: ``WIFI``, ``UNMETERED``
    (wired, say) or ``ANY`` (metered or not known). ``memory_mb`` in 10^6 bytes. ``os_version`` with its name, such as
    ``iOS17.2``; ``api_level`` on Android only.
    """

    id: str
    battery: int | None = None
    network: str = "ANY"
    memory_mb: int | None = None
    os_version: str | None = None
    api_level: int | None = None


def unmet(conditions: Conditions, device: Device) -> tuple[str, ...]:
    """Every condition that ``device`` does not meet now, each as one phrase with got and expected; () if it may update.

    A level of battery is met above it (or when full); a device without battery meets every level. ``min_os_version``
    judges devices of the operating system that it names, ``min_api_level`` Android devices.
    """
    found = []
    level = conditions.min_battery
    if level is not None and device.battery is not None and not (device.battery > level or device.battery == 100):
        found.append(f"battery {device.battery} %, expected above {level} %")
    if conditions.network is not None and device.network not in _BETTER_OR_EQUAL[conditions.network]:
        found.append(f"network {device.network}, expected {conditions.network}")
    memory = conditions.min_memory_mb
    if memory is not None and (device.memory_mb is None or device.memory_mb < memory):
        known = "unknown" if device.memory_mb is None else f"{device.memory_mb} MB"
        found.append(f"memory {known}, expected at least {memory} MB")
    if conditions.min_os_version is not None and device.os_version is not None and device.api_level is None:
        found.extend(_older(device.os_version, conditions.min_os_version))
    if (
        conditions.min_api_level is not None
        and device.api_level is not None
        and device.api_level < conditions.min_api_level
    ):
        found.append(f"API level {device.api_level}, expected at least {conditions.min_api_level}")
    return tuple(found)


def _older(got: str, expected: str) -> list[str]:
    mine, least = _OS.fullmatch(got), _OS.fullmatch(expected)
    if mine is None or least is None:
        return [f"operating system {got}, expected at least {expected}"]
    if mine[1].lower() != least[1].lower():
        return []
    if _numbers(mine[2]) >= _numbers(least[2]):
        return []
    return [f"operating system {got}, expected at least {expected}"]


def _numbers(text: str) -> tuple[int, ...]:
    numbers = [int(part) for part in text.split(".")]
    while numbers and numbers[-1] == 0:  # 16 and 16.0 are the same
        numbers.pop()
    return tuple(numbers)
