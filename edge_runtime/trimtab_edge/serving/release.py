"""Counts that leave only with noise: once a period, for every version, on the metrics page and in the evidence alike."""

from __future__ import annotations

import weakref
from fractions import Fraction
from typing import TYPE_CHECKING

from trimtab_edge.alignment.privacy import NoisyCounters
from trimtab_edge.alignment.version import ROW_CELLS
from trimtab_kernel.vocabulary import OUTCOME_POSITIVE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from decimal import Decimal

    from trimtab_edge.telemetry.inference import InferenceCounts, VersionCounts
    from trimtab_kernel.evidence import Evidence


def by_outcome(decisions: Mapping[tuple[str, str], int]) -> dict[tuple[str, bool], int]:
    """Decisions by cohort and whether the outcome is positive."""
    return {(cohort, outcome == OUTCOME_POSITIVE): count for (cohort, outcome), count in decisions.items()}


class Release:
    """Moves what is shown of every version once a period. Used on the event loop.

    A row of one cohort touches four counters at most, once each: its decision, its label, and a bin of the scores for
    both; one of several cohorts touches two more for each. That number is the sensitivity.
    """

    def __init__(self, epsilon: Decimal, randbelow: Callable[[int], int]) -> None:
        """Raises ValueError where ``epsilon`` is not above 0."""
        self._epsilon = epsilon
        self._fraction = Fraction(epsilon)
        self._randbelow = randbelow
        NoisyCounters(self._fraction, 1, randbelow)
        self._counters: weakref.WeakKeyDictionary[VersionCounts, NoisyCounters] = weakref.WeakKeyDictionary()

    def advance(self, counts: InferenceCounts) -> None:
        """A period ends."""
        for model in counts.models.values():
            for version in model.versions.values():
                alignment = version.alignment
                if alignment is None:
                    continue
                counters = self._counters.get(version)
                if counters is None:
                    sensitivity = ROW_CELLS + 2 * max(0, len(alignment.cohorts) - 1)
                    counters = self._counters[version] = NoisyCounters(self._fraction, sensitivity, self._randbelow)
                counters.advance(alignment.counters(by_outcome(version.decisions)))
                version.shown = counters.shown

    def evidence(self, model: str, version: str, counts: VersionCounts) -> Evidence:
        """The evidence of a version as it may leave; all zero before the first period ended."""
        assert counts.alignment is not None
        counters = self._counters.get(counts)
        periods = counters.periods if counters else 0
        return counts.alignment.noisy_evidence(model, version, counts.shown or {}, self._epsilon, periods)
