"""Which meter a machine has: RAPL before hwmon before a model. Nothing is tried that was not asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab_edge.telemetry.energy.hwmon import HwmonMeter
from trimtab_edge.telemetry.energy.meter import Grade, MeterError, Source
from trimtab_edge.telemetry.energy.modelled import CpuModel, ModelMeter
from trimtab_edge.telemetry.energy.rapl import RaplMeter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trimtab_edge.telemetry.energy.meter import EnergyMeter


@dataclass(frozen=True, slots=True)
class Choice:
    """The meter (None: there is none), its source, and why the better ones are not there."""

    meter: EnergyMeter | None
    source: Source
    passed_over: tuple[str, ...]


def choose(sys: Path, model: CpuModel | None, channel: str = "") -> Choice:
    """``sys`` is ``/sys``, or a copy of it; ``channel`` names a sensor's channel; ``model`` None: nothing was calibrated."""
    passed_over = []
    tries: tuple[Callable[[], EnergyMeter], ...] = (
        lambda: RaplMeter(sys / "class/powercap"),
        lambda: HwmonMeter(sys / "class/hwmon", channel),
    )
    for attempt in tries:
        try:
            meter = attempt()
        except MeterError as error:
            passed_over.append(str(error))
        else:
            return Choice(meter, meter.source, tuple(passed_over))
    if model is not None:
        modelled = ModelMeter(model)
        return Choice(modelled, modelled.source, tuple(passed_over))
    return Choice(None, Source("none", Grade.ABSENT, "no meter, and no power was declared"), tuple(passed_over))
