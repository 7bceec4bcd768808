"""Energy from CPU time, where there is no meter: power = idle + watts per busy CPU. Calibrated, or declared; never assumed.

A linear model of CPU time is what is left on boxes and guests without counters; its error against a meter is commonly some
ten percent and grows where frequency scales or other parts (a disk, a screen) draw the power. So it carries its error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab_edge.telemetry.energy.meter import Grade, Source

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class CpuModel:
    """Watts that one busy CPU adds, watts of the idle box, and the root mean square of the relative error (None: unknown).

    Raises ValueError for powers that are not finite, a negative idle power, or a busy CPU that adds nothing.
    """

    watts_per_cpu: float
    idle_watts: float = 0.0
    relative_error: float | None = None

    def __post_init__(self) -> None:
        if not (0 < self.watts_per_cpu < math.inf and 0 <= self.idle_watts < math.inf):
            raise ValueError(
                f"expected watts above 0 (idle: 0 or more), got {self.watts_per_cpu} and {self.idle_watts}"
            )


@dataclass(frozen=True, slots=True)
class Observation:
    """One stretch of a calibration: its length and CPU time in seconds (all CPUs added), and the joules of a real meter."""

    seconds: float
    cpu_seconds: float
    joules: float


def calibrate(observations: Sequence[Observation]) -> CpuModel:
    """The model that fits best (least squares of joules = idle * seconds + watts * CPU seconds).

    Raises ValueError where fewer than three stretches, or none of different load, are given, or where the fit makes no
    physical sense (a busy CPU that saves energy, a negative idle power).
    """
    if len(observations) < 3:
        raise ValueError(f"expected at least 3 observations, got {len(observations)}")
    tt = sum(one.seconds**2 for one in observations)
    cc = sum(one.cpu_seconds**2 for one in observations)
    tc = sum(one.seconds * one.cpu_seconds for one in observations)
    tj = sum(one.seconds * one.joules for one in observations)
    cj = sum(one.cpu_seconds * one.joules for one in observations)
    determinant = tt * cc - tc * tc
    if determinant <= 1e-9 * tt * cc:
        raise ValueError("the observations do not differ in load, so idle and busy power cannot be told apart")
    idle = (tj * cc - cj * tc) / determinant
    watts = (cj * tt - tj * tc) / determinant
    if idle < 0 or watts <= 0:
        raise ValueError(f"the fit makes no sense: idle {idle:.3g} W, busy CPU {watts:.3g} W; measure with other load")
    errors = [
        (idle * one.seconds + watts * one.cpu_seconds - one.joules) / one.joules
        for one in observations
        if one.joules > 0
    ]
    return CpuModel(watts, idle, math.sqrt(sum(error * error for error in errors) / len(errors)))


class ModelMeter:
    """A meter that does not measure."""

    def __init__(self, model: CpuModel) -> None:
        self._model = model
        self._at: float | None = None
        error = "" if model.relative_error is None else f", error {model.relative_error:.0%}"
        detail = f"{model.watts_per_cpu:g} W per busy CPU, {model.idle_watts:g} W idle{error}"
        self.source = Source("model", Grade.MODELLED, detail)

    def advance(self, at: float, busy_seconds: float) -> int | None:
        """See :class:`~trimtab_edge.telemetry.energy.meter.EnergyMeter`."""
        since, self._at = self._at, at
        if since is None or at < since or busy_seconds < 0:
            return None
        return round((self._model.idle_watts * (at - since) + self._model.watts_per_cpu * busy_seconds) * 1e6)
