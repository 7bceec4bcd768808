"""A histogram of scores in fixed bins, and the accuracy that it promises while no label is known.

The estimate is CBPE, confidence-based performance estimation (J. Bialek, W. Kuberski, N. Perrakis, A. Bifet, "Estimating
Model Performance Under Covariate Shift Without Labels", arXiv:2401.08348). It rests on two assumptions, and is wrong
where they are: the score is a *calibrated* probability of the positive label, and the relation of inputs to labels has
not changed (no concept drift; a shift of the inputs alone is allowed). :func:`calibration_error` tells how far the first
one holds once some labels are known, and :func:`recalibrated` makes up for it.

A decision with score p is right with probability p if its outcome was positive, 1 - p if negative; the expected accuracy
is the mean. So a sum and counts are enough: constant memory, and sums of many devices add up exactly, because a score is
held as a whole number of millionths.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab_kernel.intervals import Interval, z_of

if TYPE_CHECKING:
    from collections.abc import Iterable

SCORE_BINS = 50
"""Bins of equal width over [0, 1]; the last one holds 1 as well."""
MILLION = 1_000_000
_Bins = tuple[int, ...]
_EMPTY: _Bins = (0,) * SCORE_BINS


def bin_of(score: float) -> int:
    """The bin of a score from 0 to 1. Raises ValueError for any other number, NaN included."""
    if not 0 <= score <= 1:
        raise ValueError(f"expected a score from 0 to 1, got {score}")
    return min(int(score * SCORE_BINS), SCORE_BINS - 1)


def _middle(place: int) -> float:
    return (place + 0.5) / SCORE_BINS


@dataclass(frozen=True, slots=True)
class ScoreHistogram:
    """Decisions by score bin and outcome, and, of those whose label came, how many and how many positive by bin.

    ``positive_millionths`` is the sum of the scores of the decisions with a positive outcome, in millionths; likewise
    ``negative_millionths``. Raises ValueError where a tuple has not :data:`SCORE_BINS` bins or a count is negative.
    """

    positive: _Bins = _EMPTY
    negative: _Bins = _EMPTY
    positive_millionths: int = 0
    negative_millionths: int = 0
    labelled: _Bins = _EMPTY
    labelled_positive: _Bins = _EMPTY

    def __post_init__(self) -> None:
        for bins in (self.positive, self.negative, self.labelled, self.labelled_positive):
            if len(bins) != SCORE_BINS or min(bins) < 0:
                raise ValueError(f"expected {SCORE_BINS} counts that are not negative")

    def __add__(self, other: ScoreHistogram) -> ScoreHistogram:
        return ScoreHistogram(
            _added(self.positive, other.positive),
            _added(self.negative, other.negative),
            self.positive_millionths + other.positive_millionths,
            self.negative_millionths + other.negative_millionths,
            _added(self.labelled, other.labelled),
            _added(self.labelled_positive, other.labelled_positive),
        )

    @property
    def n(self) -> int:
        """All decisions with a score."""
        return sum(self.positive) + sum(self.negative)


def _added(one: Iterable[int], other: Iterable[int]) -> _Bins:
    return tuple(a + b for a, b in zip(one, other, strict=True))


def expected_accuracy(histogram: ScoreHistogram, confidence: float = 0.95) -> Interval | None:
    """Estimated share of right decisions (CBPE, see above), with the interval of the realised share. None without data.

    Given calibrated scores the number of right decisions is a sum of independent trials (Poisson binomial); the interval
    is its normal approximation with the variance taken at the middles of the bins. It says nothing about how far the
    assumptions hold.
    """
    n = histogram.n
    if n == 0:
        return None
    right = histogram.positive_millionths + sum(histogram.negative) * MILLION - histogram.negative_millionths
    value = min(1.0, max(0.0, right / (n * MILLION)))
    return _interval(value, _variance(histogram), n, confidence)


def _variance(histogram: ScoreHistogram) -> float:
    both = zip(histogram.positive, histogram.negative, strict=True)
    return sum((p + q) * _middle(place) * (1 - _middle(place)) for place, (p, q) in enumerate(both))


def _interval(value: float, variance: float, n: int, confidence: float) -> Interval:
    half = z_of(confidence) * math.sqrt(variance) / n
    return Interval(value, max(0.0, value - half), min(1.0, value + half), n, confidence)


def recalibrated(histogram: ScoreHistogram, reference: ScoreHistogram, confidence: float = 0.95) -> Interval | None:
    """The estimate with each bin's probability taken from the labels of ``reference`` (histogram binning).

    Source of the method: B. Zadrozny, C. Elkan, "Obtaining calibrated probability estimates from decision trees and naive
    Bayesian classifiers", ICML 2001. A bin with fewer than 20 labels keeps its middle. None without data.
    """
    n = histogram.n
    if n == 0:
        return None
    right = variance = 0.0
    for place in range(SCORE_BINS):
        labels = reference.labelled[place]
        p = reference.labelled_positive[place] / labels if labels >= 20 else _middle(place)
        right += histogram.positive[place] * p + histogram.negative[place] * (1 - p)
        variance += (histogram.positive[place] + histogram.negative[place]) * p * (1 - p)
    return _interval(right / n, variance, n, confidence)


def calibration_error(histogram: ScoreHistogram) -> float | None:
    """Expected calibration error over the bins: mean distance of score and share of positive labels. None without labels.

    Source: M. P. Naeini, G. F. Cooper, M. Hauskrecht, AAAI 2015. The score is taken at the middle of its bin, so even a
    perfectly calibrated model may show up to half a bin (0.01).
    """
    n = sum(histogram.labelled)
    if n == 0:
        return None
    both = zip(histogram.labelled, histogram.labelled_positive, strict=True)
    return sum(abs(positive - count * _middle(place)) for place, (count, positive) in enumerate(both)) / n
