"""Alignment of one version on one box: labelled counts, scores and sketches, in memory of constant size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trimtab_edge.alignment.pending import NO_SCORE
from trimtab_kernel.evidence import CohortEvidence, Evidence
from trimtab_kernel.fairness import Confusion
from trimtab_kernel.scores import MILLION, SCORE_BINS, ScoreHistogram

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence
    from decimal import Decimal

    from numpy.typing import NDArray

    from trimtab_edge.alignment.pending import Row
    from trimtab_edge.alignment.sketches import FeatureSketches
    from trimtab_kernel.evidence import Sketch

CELLS = ((True, True), (True, False), (False, True), (False, False))
"""Outcome and label of the four cells of a table: true and false positives, false and true negatives."""
ROW_CELLS = 4
"""Counters that one row may touch, once per cohort it is in: its decision and its label; and two bins of the scores."""


def score_column(scores: NDArray[Any], rows: int, column: int | None) -> NDArray[np.floating[Any]] | None:
    """One score per row: the tensor itself where it has one value per row, else its ``column``. None where neither fits."""
    if rows == 0 or scores.size == 0 or scores.size % rows or scores.dtype.kind != "f":
        return None
    if scores.size == rows and column is None:
        return scores.reshape(-1)
    table = scores.reshape(rows, -1)
    place = 0 if table.shape[1] == 1 and column is None else column
    if place is None or place >= table.shape[1]:
        return None
    found: NDArray[np.floating[Any]] = table[:, place]
    return found


class VersionAlignment:
    """What is counted beside the decisions. Used by one thread, the server's event loop.

    ``scored`` says that the model declares an output that is the probability of the positive outcome.
    """

    def __init__(self, cohorts: Sequence[str], *, scored: bool, sketches: FeatureSketches | None) -> None:
        self.cohorts = tuple(cohorts)
        self.scored = scored
        self.sketches = sketches
        self.unscored = 0
        """Decisions whose score was no probability (NaN, beyond 0 to 1): they are in no figure about scores."""
        self._labelled = {(name, *cell): 0 for name in self.cohorts for cell in CELLS}
        self._bins = np.zeros((2, SCORE_BINS), dtype=np.int64)
        self._millionths = [0, 0]
        self._label_bins = np.zeros((2, SCORE_BINS), dtype=np.int64)

    def decided(self, positive: NDArray[np.bool_], scores: NDArray[np.floating[Any]]) -> list[int]:
        """Count the scores of one request's decisions; the bin of each (:data:`NO_SCORE` for one that is no probability)."""
        if scores.size == 1:
            return [self._decided_one(bool(positive[0]), float(scores[0]))]
        scores = scores.astype(np.float64)
        valid = (scores >= 0) & (scores <= 1)  # false for NaN
        self.unscored += int(scores.size - np.count_nonzero(valid))
        safe = np.where(valid, scores, 0.0)
        bins = np.minimum((safe * SCORE_BINS).astype(np.int64), SCORE_BINS - 1)
        millionths = np.rint(safe * MILLION).astype(np.int64)
        for outcome, chosen in ((1, valid & positive), (0, valid & ~positive)):
            self._bins[outcome] += np.bincount(bins[chosen], minlength=SCORE_BINS)
            self._millionths[outcome] += int(millionths[chosen].sum())
        found: list[int] = np.where(valid, bins, NO_SCORE).tolist()
        return found

    def _decided_one(self, positive: bool, score: float) -> int:
        if not 0 <= score <= 1:
            self.unscored += 1
            return NO_SCORE
        place = min(int(score * SCORE_BINS), SCORE_BINS - 1)
        self._bins[int(positive), place] += 1
        self._millionths[int(positive)] += round(score * MILLION)
        return place

    def label(self, row: Row, label: bool) -> None:
        """The label of one decision has come."""
        for place, name in enumerate(self.cohorts):
            if row.cohorts >> place & 1:
                self._labelled[name, row.positive, label] += 1
        if row.score_bin != NO_SCORE:
            self._label_bins[0, row.score_bin] += 1
            self._label_bins[1, row.score_bin] += int(label)

    @property
    def labelled(self) -> Mapping[tuple[str, bool, bool], int]:
        """Labelled decisions by cohort, outcome and label."""
        return self._labelled

    @property
    def scored_decisions(self) -> int:
        """Decisions with a score."""
        return int(self._bins.sum())

    @property
    def expected_right(self) -> float:
        """How many of them are expected to be right: the sum that the label-free accuracy is made of."""
        down, up = self._millionths
        return (up + int(self._bins[0].sum()) * MILLION - down) / MILLION

    def scored_figures(self, shown: Mapping[Hashable, int] | None) -> tuple[int, float]:
        """Decisions with a score, and how many of them are expected to be right; from noisy counts where they are given."""
        if shown is None:
            return self.scored_decisions, self.expected_right
        down, up = (tuple(shown.get(("score", row, place), 0) for place in range(SCORE_BINS)) for row in (0, 1))
        return sum(up) + sum(down), (_at_middles(up) + sum(down) * MILLION - _at_middles(down)) / MILLION

    @property
    def scores(self) -> ScoreHistogram | None:
        """The histogram; None where the model declares no score."""
        if not self.scored:
            return None
        down, up = self._millionths
        bins = [tuple(row) for row in (*self._bins.tolist(), *self._label_bins.tolist())]
        return ScoreHistogram(bins[1], bins[0], up, down, bins[2], bins[3])

    def evidence(self, model: str, version: str, decisions: Mapping[tuple[str, bool], int]) -> Evidence:
        """All of it with exact counts; ``decisions`` by cohort and outcome."""
        return _evidence(model, version, self.cohorts, decisions, self._labelled, self.scores, self._sketched())

    def counters(self, decisions: Mapping[tuple[str, bool], int]) -> dict[Hashable, int]:
        """Every count, by a name of its own: what gets noise where counts must not leave as they are."""
        counts: dict[Hashable, int] = {("decision", *name): count for name, count in decisions.items()}
        counts |= {("labelled", *name): count for name, count in self._labelled.items()}
        if self.scored:
            for kind, table in (("score", self._bins), ("label", self._label_bins)):
                counts |= {(kind, row, place): int(table[row, place]) for row in (0, 1) for place in range(SCORE_BINS)}
        return counts

    def noisy_evidence(
        self, model: str, version: str, shown: Mapping[Hashable, int], epsilon: Decimal, periods: int
    ) -> Evidence:
        """The same from counters that carry noise. Without sketches and exact sums, which would give rows away."""
        decisions = {(name, up): shown.get(("decision", name, up), 0) for name in self.cohorts for up in (True, False)}
        labelled = {name: shown.get(("labelled", *name), 0) for name in self._labelled}
        scores = None
        if self.scored:
            down, up, labels, positive = (
                tuple(shown.get((kind, row, place), 0) for place in range(SCORE_BINS))
                for kind, row in (("score", 0), ("score", 1), ("label", 0), ("label", 1))
            )
            scores = ScoreHistogram(up, down, _at_middles(up), _at_middles(down), labels, positive)
        exact = _evidence(model, version, self.cohorts, decisions, labelled, scores, ())
        return Evidence(model, version, exact.cohorts, scores, (), epsilon, periods)

    def _sketched(self) -> tuple[Sketch, ...]:
        return self.sketches.snapshot() if self.sketches else ()


def _at_middles(bins: Sequence[int]) -> int:
    return sum(count * (2 * place + 1) * MILLION // (2 * SCORE_BINS) for place, count in enumerate(bins))


def _evidence(
    model: str,
    version: str,
    cohorts: Sequence[str],
    decisions: Mapping[tuple[str, bool], int],
    labelled: Mapping[tuple[str, bool, bool], int],
    scores: ScoreHistogram | None,
    sketches: tuple[Sketch, ...],
) -> Evidence:
    return Evidence(
        model=model,
        version=version,
        cohorts={
            name: CohortEvidence(
                decisions.get((name, True), 0),
                decisions.get((name, False), 0),
                Confusion(*(labelled[(name, *cell)] for cell in CELLS)),
            )
            for name in cohorts
        },
        scores=scores,
        sketches=sketches,
    )
