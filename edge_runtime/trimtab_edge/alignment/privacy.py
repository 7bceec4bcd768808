"""Noise on counts before they leave the device: differential privacy for the rows behind them.

The noise is discrete Laplace, P(x) proportional to exp(-|x| epsilon / sensitivity) (A. Ghosh, T. Roughgarden, M.
Sundararajan, "Universally Utility-Maximizing Privacy Mechanisms", STOC 2009, where it is called two-sided geometric). It
is drawn exactly, with whole numbers only, after C. Canonne, G. Kamath, T. Steinke, "The Discrete Gaussian for
Differential Privacy" (NeurIPS 2020, algorithms 1 and 2): a draw through floating point can give the true count away (I.
Mironov, "On significance of the least significant bits for differential privacy", CCS 2012).

``randbelow(n)`` gives a uniform whole number from 0 to n - 1: ``secrets.randbelow`` on a device, a seeded generator's
in a test.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    Randbelow = Callable[[int], int]


def discrete_laplace(scale: Fraction, randbelow: Randbelow) -> int:
    """One draw with P(x) proportional to exp(-|x| / scale). Raises ValueError for a scale that is not above 0."""
    if scale <= 0:
        raise ValueError(f"expected a scale above 0, got {scale}")
    s, t = scale.numerator, scale.denominator
    while True:
        # |x| t / s is geometric: a uniform part below t, kept with probability exp(-u / s t), and whole steps of exp(-1).
        uniform = randbelow(s)
        if not _bernoulli_exp(Fraction(uniform, s), randbelow):
            continue
        steps = 0
        while _bernoulli_exp(Fraction(1), randbelow):
            steps += 1
        magnitude = (uniform + s * steps) // t
        negative = randbelow(2) == 0
        if negative and magnitude == 0:
            continue  # 0 must not be twice as likely
        return -magnitude if negative else magnitude


def _bernoulli_exp(gamma: Fraction, randbelow: Randbelow) -> bool:
    """True with probability exp(-gamma), for gamma from 0 to 1."""
    k = 1
    while randbelow(gamma.denominator * k) < gamma.numerator:
        k += 1
    return k % 2 == 1


class NoisyCounters:
    """Counters that only grow, seen through noise.

    They move once per period, each by what it grew in that period plus noise of its own. A row counts in one period, so
    what the periods give away does not add up: each row has ``epsilon`` in all, where it touches at most ``sensitivity``
    counters. What is shown is the running maximum of the noisy sum, since a counter that fell would look like a restart:
    that is post-processing and costs no privacy, but a counter that stands still drifts upwards, by the order of
    sensitivity / epsilon times the square root of the number of periods.
    """

    def __init__(self, epsilon: Fraction, sensitivity: int, randbelow: Randbelow) -> None:
        """Raises ValueError where ``epsilon`` or ``sensitivity`` is not above 0."""
        if epsilon <= 0 or sensitivity <= 0:
            raise ValueError(f"expected epsilon and sensitivity above 0, got {epsilon} and {sensitivity}")
        self._scale = sensitivity / epsilon
        self._randbelow = randbelow
        self._exact: dict[Hashable, int] = {}
        self._noisy: dict[Hashable, int] = {}
        self.shown: dict[Hashable, int] = {}
        self.periods = 0

    def advance(self, exact: Mapping[Hashable, int]) -> None:
        """A period ends with these exact counts. Every counter gets its noise, also one that did not move."""
        self.periods += 1
        for name, count in exact.items():
            grown = count - self._exact.get(name, 0)
            self._exact[name] = count
            noisy = self._noisy.get(name, 0) + grown + discrete_laplace(self._scale, self._randbelow)
            self._noisy[name] = noisy
            self.shown[name] = max(self.shown.get(name, 0), noisy)
