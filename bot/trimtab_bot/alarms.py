"""When a breach becomes an alarm, although the same question is asked again at every tick.

A 95 % interval is right about one look. Looked at every five seconds, a version that sits exactly on its limit would
"breach" within the hour, and a person would be called for nothing. So the alarm demands more of the interval, by just
as much as the looking costs.

The figure at each tick comes from a sliding window. Standardised, it moves like a stationary Gaussian process whose
correlation falls linearly, 1 - |h| at a lag of h windows (two windows share that part of their observations). For such
a process J. Pickands (Trans. Amer. Math. Soc. 145, 1969, "Upcrossing probabilities for stationary Gaussian processes",
with his constant H = 1 for this kind of correlation) gives the chance that it passes u anywhere within T windows, at
any number of looks between: about ``T * u^2 * (1 - Phi(u))``, which is less than ``T * u * phi(u)``. The bound used is

    T * u * phi(u) + (1 - Phi(u)) = false_alarms,   T = 2 * horizon / window + 6

where the first look is the second term. T is doubled because traffic comes in bursts (a window that fills and empties
again has more independent looks in it than a steady one), and 6 is for the filling of the first window: growing from n
to m observations counts as ln(m / n) / 2 windows. ``tests/bot/test_alarms.py`` measures what this gives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trimtab_kernel.rules import Window

_NORMAL = NormalDist()
_FILLING = 6.0
_BURSTS = 2.0


@dataclass(frozen=True, slots=True)
class AlarmRule:
    """At most this chance of a false alarm within this time, for one version and one policy, at any number of looks.

    The chance holds for a version that is exactly on its limit, which is the worst case of a version that is not beyond
    it. ``horizon`` in seconds. Control over all versions of a fleet together is not made here: it will ask each rule
    for a smaller ``false_alarms``.

    Limits, known and accepted: observations are taken as independent (devices that fail together are not); the normal
    approximation of the tail needs the policy's minimum sample; a source that extrapolates to the edges of a window
    (Prometheus) overstates the sample by up to one scrape interval in the window, so windows should span at least 12.
    """

    false_alarms: float = 0.05
    horizon: float = 86400.0

    def __post_init__(self) -> None:
        """Raises ValueError outside these bounds, beyond which double precision would not keep the promise."""
        if not 1e-7 <= self.false_alarms < 0.5 or not 0 < self.horizon <= 366 * 86400:
            raise ValueError(f"expected a chance from 1e-7 to below 0.5 and a horizon of at most 366 days, got {self}")

    def z(self, window: Window) -> float:
        """How many standard errors the figure must lie beyond the limit: 4.46 for windows of 5 minutes within a day."""
        windows = _BURSTS * self.horizon / window.value + _FILLING
        low, high = 1.0, 38.0  # u * phi(u) falls from 1 on; beyond 38 phi(u) is 0 in double precision
        for _ in range(80):
            middle = (low + high) / 2
            chance = windows * middle * _NORMAL.pdf(middle) + _upper_tail(middle)
            low, high = (middle, high) if chance > self.false_alarms else (low, middle)
        return high

    def confidence(self, window: Window) -> float:
        """The two-sided confidence of an interval that reaches :meth:`z` standard errors to each side."""
        return 1 - 2 * _upper_tail(self.z(window))


def _upper_tail(u: float) -> float:
    """The chance that a standard normal value is above ``u``, exact far out as well."""
    return math.erfc(u / math.sqrt(2)) / 2
