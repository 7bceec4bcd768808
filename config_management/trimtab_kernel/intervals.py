"""Confidence intervals of the figures that verdicts are made of. All of them add up over devices: counts in, bounds out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from trimtab_kernel.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping


_USUAL, _USUAL_Z = 0.95, 1.9599639845400536


@dataclass(frozen=True, slots=True)
class Interval:
    """A point estimate with a two-sided confidence interval and the sample size it rests on."""

    value: float
    low: float
    high: float
    n: int
    confidence: float = 0.95


def z_of(confidence: float) -> float:
    """Two-sided standard normal quantile: 1.96 for 0.95. Raises ValueError outside (0, 1)."""
    if not 0 < confidence < 1:
        raise ValueError(f"expected a confidence between 0 and 1, got {confidence}")
    if confidence == _USUAL:
        return _USUAL_Z
    from statistics import NormalDist  # its import takes longer than a small compile asks of it

    return NormalDist().inv_cdf(0.5 + confidence / 2)


def proportion(positives: float, n: float, confidence: float = 0.95) -> Interval | None:
    """Wilson score interval of a rate (E. B. Wilson, JASA 22, 1927). None where ``n`` is below 1 or no number.

    Counts that come from extrapolated counters may be fractional, and the positives a little more than all: they count
    as all of them.
    """
    if not 1 <= n < math.inf or math.isnan(positives):
        return None
    z = z_of(confidence)
    rate = min(max(positives, 0.0), n) / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return Interval(rate, max(0.0, centre - half), min(1.0, centre + half), round(n), confidence)


@dataclass(frozen=True, slots=True)
class CohortCount:
    """Decisions about one cohort: how many, and how many of them positive."""

    n: float
    positives: float


@dataclass(frozen=True, slots=True)
class DisparateImpact:
    """Lowest selection rate divided by the highest, with the cohorts that gave them."""

    ratio: Interval
    lowest: str
    highest: str
    smallest_n: int
    """Decisions about the smallest cohort: the sample size that a minimum is compared with."""


def disparate_impact(counts: Mapping[str, CohortCount], confidence: float = 0.95) -> DisparateImpact | None:
    """Disparate impact (29 CFR 1607.4(D), "four-fifths rule") with the Katz log interval of a ratio of two rates.

    Source of the interval: D. Katz et al., Biometrics 34, 1978; 0.5 is added to each cell where a cohort has no positive
    outcome, or less than half a one from extrapolated counters (Haldane-Anscombe), so that the bounds exist. With more
    than two cohorts the confidence is split over the pairs with the highest-rate cohort (Bonferroni), since the lowest
    one is chosen after looking. None where fewer than two cohorts have a decision, or where no decision is positive (a
    ratio of nothing says nothing).
    """
    seen = {
        name: CohortCount(count.n, min(max(count.positives, 0.0), count.n))
        for name, count in counts.items()
        if 1 <= count.n < math.inf and not math.isnan(count.positives)
    }
    if len(seen) < 2 or not any(count.positives > 0 for count in seen.values()):
        return None
    ordered = sorted(seen, key=lambda name: (seen[name].positives / seen[name].n, name))
    lowest, highest = ordered[0], ordered[-1]
    z = z_of(1 - (1 - confidence) / (len(seen) - 1))
    low_count, high_count = seen[lowest], seen[highest]
    value = (low_count.positives / low_count.n) / (high_count.positives / high_count.n)
    cells = (low_count.positives, high_count.positives)
    pad = 0.5 if min(cells) < 0.5 else 0.0
    a, n1 = low_count.positives + pad, low_count.n + 2 * pad
    b, n2 = high_count.positives + pad, high_count.n + 2 * pad
    spread = z * math.sqrt(max(0.0, 1 / a - 1 / n1 + 1 / b - 1 / n2))
    centre = math.log((a / n1) / (b / n2))
    ratio = Interval(
        value,
        min(value, math.exp(centre - spread)),
        max(value, math.exp(centre + spread)),
        round(sum(count.n for count in seen.values())),
        confidence,
    )
    return DisparateImpact(ratio, lowest, highest, math.floor(min(count.n for count in seen.values())))


def mean_of_sums(total: float, squares: float, n: float, confidence: float = 0.95) -> Interval | None:
    """Interval of a mean from the sum and the sum of squares of ``n`` observations (central limit theorem).

    None where ``n`` < 2 or something is no number. Counts that come from rates may be fractional. Rounding can make the variance slightly
    negative; it is then 0.
    """
    if not 2 <= n < math.inf or not math.isfinite(total) or not math.isfinite(squares):
        return None
    mean = total / n
    variance = max(0.0, (squares - n * mean * mean) / (n - 1))
    half = z_of(confidence) * math.sqrt(variance / n)
    return Interval(mean, mean - half, mean + half, round(n), confidence)
