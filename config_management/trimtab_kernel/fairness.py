"""Group fairness from counts alone: what the usual libraries compute from rows, so that rows need not leave a device.

The definitions are those of Hardt, Price, Srebro, "Equality of Opportunity in Supervised Learning" (NeurIPS 2016) and of
29 CFR 1607.4(D) for the selection rate; aggregated over cohorts as the largest difference, or the smallest rate divided
by the largest. Counts of many devices add up, so a figure over a fleet is exact.

A figure that the counts do not determine (a cohort without a decision, or without a positive label where its true
positive rate is asked for) is None: no data is never fine. A ratio of two rates that are both 0 is None as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Confusion:
    """Decisions whose true label is known, of one cohort: a table of outcome by label. Tables add up."""

    true_positives: int = 0
    false_positives: int = 0
    false_negatives: int = 0
    true_negatives: int = 0

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(
            self.true_positives + other.true_positives,
            self.false_positives + other.false_positives,
            self.false_negatives + other.false_negatives,
            self.true_negatives + other.true_negatives,
        )

    @property
    def n(self) -> int:
        """All labelled decisions."""
        return self.true_positives + self.false_positives + self.false_negatives + self.true_negatives

    @property
    def accuracy(self) -> float | None:
        """Share of decisions that the label confirms."""
        return _rate(self.true_positives + self.true_negatives, self.n)

    @property
    def selection_rate(self) -> float | None:
        """Share of positive outcomes."""
        return _rate(self.true_positives + self.false_positives, self.n)

    @property
    def true_positive_rate(self) -> float | None:
        """Share of positive outcomes among positive labels."""
        return _rate(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def false_positive_rate(self) -> float | None:
        """Share of positive outcomes among negative labels."""
        return _rate(self.false_positives, self.false_positives + self.true_negatives)


def _rate(part: int, whole: int) -> float | None:
    return part / whole if whole > 0 else None


def _difference(rates: Iterable[float | None]) -> float | None:
    known = list(rates)
    defined = [rate for rate in known if rate is not None]
    if len(known) < 2 or len(defined) < len(known):
        return None
    return max(defined) - min(defined)


def _ratio(rates: Iterable[float | None]) -> float | None:
    known = list(rates)
    defined = [rate for rate in known if rate is not None]
    if len(known) < 2 or len(defined) < len(known) or max(defined) <= 0:
        return None
    return min(defined) / max(defined)


def _both(worse: Callable[[float, float], float], one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else worse(one, other)


def demographic_parity_difference(cohorts: Mapping[str, Confusion]) -> float | None:
    """Largest selection rate minus the smallest."""
    return _difference(cohort.selection_rate for cohort in cohorts.values())


def demographic_parity_ratio(cohorts: Mapping[str, Confusion]) -> float | None:
    """Smallest selection rate divided by the largest: disparate impact."""
    return _ratio(cohort.selection_rate for cohort in cohorts.values())


def equal_opportunity_difference(cohorts: Mapping[str, Confusion]) -> float | None:
    """Largest true positive rate minus the smallest."""
    return _difference(cohort.true_positive_rate for cohort in cohorts.values())


def equal_opportunity_ratio(cohorts: Mapping[str, Confusion]) -> float | None:
    """Smallest true positive rate divided by the largest."""
    return _ratio(cohort.true_positive_rate for cohort in cohorts.values())


def equalized_odds_difference(cohorts: Mapping[str, Confusion]) -> float | None:
    """The larger of the differences of true and of false positive rates."""
    return _both(
        max,
        _difference(cohort.true_positive_rate for cohort in cohorts.values()),
        _difference(cohort.false_positive_rate for cohort in cohorts.values()),
    )


def equalized_odds_ratio(cohorts: Mapping[str, Confusion]) -> float | None:
    """The smaller of the ratios of true and of false positive rates."""
    return _both(
        min,
        _ratio(cohort.true_positive_rate for cohort in cohorts.values()),
        _ratio(cohort.false_positive_rate for cohort in cohorts.values()),
    )
