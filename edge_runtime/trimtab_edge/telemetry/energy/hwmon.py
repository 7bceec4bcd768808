"""Power sensors of boards, by the kernel's hwmon interface.

Source: Linux ``Documentation/hwmon/sysfs-interface.rst``: ``energyN_input`` counts microjoules, ``powerN_input`` is a power in
microwatts now, ``inN_input`` and ``currN_input`` are millivolts and milliamperes. Boards differ in what a channel measures,
and a rail may be part of another, so channels are never added up: the one that is labelled as the board's input is taken,
or the only one there is, or the one that is named.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab_edge.telemetry.energy import files
from trimtab_edge.telemetry.energy.meter import Grade, MeterError, Source, grown

if TYPE_CHECKING:
    from pathlib import Path

_CHIPS = re.compile(r"ina[0-9]+[a-z]*|ltc[0-9]+|amd_energy")
"""Sensors of a supply. Others measure a part (a graphics card, a disk) or a battery, which also charges."""
_INPUTS = ("VDD_IN", "POM_5V_IN", "VIN", "SYS", "TOTAL")
"""Labels of a whole board's input: NVIDIA Jetson's documentation names the first two; the others are common."""
_MAX_GAP = 60.0
"""Seconds between two readings of a power beyond which their mean says nothing about the time between."""


@dataclass(frozen=True, slots=True)
class _Channel:
    chip: str
    label: str
    energy: Path | None = None
    power: Path | None = None
    volts: Path | None = None
    amperes: Path | None = None

    @property
    def name(self) -> str:
        return f"{self.chip}/{self.label}"

    def microwatts(self) -> int:
        if self.power is not None:
            return files.number(self.power)
        assert self.volts is not None
        assert self.amperes is not None
        return files.number(self.volts) * files.number(self.amperes)  # mV times mA


class HwmonMeter:
    """One channel of one sensor. ``root`` is ``/sys/class/hwmon``, or a copy; ``channel`` is ``chip/label``, "" to choose."""

    def __init__(self, root: Path, channel: str = "") -> None:
        """Raises :class:`MeterError` where there is no channel, where the choice is not clear, or where it cannot be read."""
        self._channel = _chosen(_channels(root), channel, root)
        self._before: int | None = None
        self._at: float | None = None
        if self._channel.energy is not None:
            self._before = files.number(self._channel.energy)
        else:
            self._channel.microwatts()
        self.source = Source("hwmon", Grade.MEASURED, self._channel.name)

    def advance(self, at: float, busy_seconds: float) -> int | None:
        """See :class:`~trimtab_edge.telemetry.energy.meter.EnergyMeter`.

        A channel of power is integrated between two readings as if power changed evenly (trapezoid), so what happens in
        between is missed: the shorter the interval, the better. None after a gap of more than 60 s.
        """
        del busy_seconds
        try:
            now = files.number(self._channel.energy) if self._channel.energy else self._channel.microwatts()
        except MeterError:
            self._before = None
            return None
        before, self._before = self._before, now
        since, self._at = self._at, at
        if before is None:
            return None
        if self._channel.energy:
            return grown(before, now, None)
        if since is None or not 0 <= at - since <= _MAX_GAP:
            return None
        return round((before + now) / 2 * (at - since))


def _channels(root: Path) -> list[_Channel]:
    found = []
    for device in files.entries(root):
        try:
            chip = files.text(device / "name")
            names = {path.name for path in files.entries(device)}
        except MeterError:
            continue
        if not _CHIPS.fullmatch(chip):
            continue
        for name in sorted(names):
            match = re.fullmatch(r"(energy|power|curr)([0-9]+)_input", name)
            if match is None:
                continue
            kind, place = match.groups()
            label = _label(device, names, kind, place)
            if kind == "energy":
                found.append(_Channel(chip, label, energy=device / name))
            elif kind == "power":
                found.append(_Channel(chip, label, power=device / name))
            elif f"power{place}_input" not in names and f"in{place}_input" in names:
                found.append(_Channel(chip, label, volts=device / f"in{place}_input", amperes=device / name))
    return found


def _label(device: Path, names: set[str], kind: str, place: str) -> str:
    for owner in (kind, "in"):
        if f"{owner}{place}_label" in names:
            return files.text(device / f"{owner}{place}_label")
    return f"{kind}{place}"


def _chosen(channels: list[_Channel], wanted: str, root: Path) -> _Channel:
    if not channels:
        raise MeterError(f"{root}: no power sensor")
    names = ", ".join(sorted({channel.name for channel in channels}))
    if wanted:
        matching = [channel for channel in channels if channel.name == wanted]
        if len(matching) != 1:
            raise MeterError(f"{root}: no single channel {wanted}; here: {names}")
        return matching[0]
    if len(channels) == 1:
        return channels[0]
    for label in _INPUTS:
        matching = [channel for channel in channels if channel.label.upper() == label]
        if len(matching) == 1:
            return matching[0]
    raise MeterError(f"{root}: which channel is the board's input is not clear, name one of: {names}")
