"""Accuracy without labels: right where its assumptions hold, and known to be wrong where they do not."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_edge.alignment.pending import NO_SCORE, Row
from trimtab_edge.alignment.version import VersionAlignment
from trimtab_kernel.scores import (
    SCORE_BINS,
    ScoreHistogram,
    bin_of,
    calibration_error,
    expected_accuracy,
    recalibrated,
)

UNIT = st.floats(0, 1)


def fed(scores: np.ndarray[Any, Any], outcomes: np.ndarray[Any, Any], batch: int = 50) -> VersionAlignment:
    version = VersionAlignment((), scored=True, sketches=None)
    for start in range(0, len(scores), batch):
        version.decided(outcomes[start : start + batch], scores[start : start + batch])
    return version


def histogram(version: VersionAlignment) -> ScoreHistogram:
    found = version.scores
    assert found is not None
    return found


def test_calibrated_scores_give_the_accuracy_that_labels_give_later() -> None:
    """95 % intervals cover the realised accuracy in about 95 % of 400 simulated weeks (binomial tolerance, 4 sd)."""
    chance = np.random.default_rng(11)
    covered = 0
    for _ in range(400):
        scores = chance.beta(0.8, 0.6, 500)
        outcomes = scores >= 0.5
        labels = chance.random(500) < scores
        estimate = expected_accuracy(histogram(fed(scores, outcomes)))
        assert estimate is not None
        covered += estimate.low <= float(np.mean(labels == outcomes)) <= estimate.high
    assert covered / 400 == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 400))


def test_a_drop_of_five_points_is_seen_within_five_thousand_unlabelled_decisions() -> None:
    """Inputs shift towards the boundary, the scores stay calibrated: intervals before and after do not touch."""
    chance = np.random.default_rng(5)
    before = chance.beta(0.5, 0.5, 5000)
    after = np.where(chance.random(5000) < 0.3, chance.uniform(0.35, 0.65, 5000), chance.beta(0.5, 0.5, 5000))
    true = [float(np.mean(np.maximum(p, 1 - p))) for p in (before, after)]
    assert true[0] - true[1] >= 0.05
    one = expected_accuracy(histogram(fed(before, before >= 0.5)))
    other = expected_accuracy(histogram(fed(after, after >= 0.5)))
    assert one is not None
    assert other is not None
    assert other.high < one.low


def test_uncalibrated_scores_are_found_by_labels_and_made_up_for() -> None:
    """A model that is too sure of itself: the plain estimate is wrong, the calibration error says so, bins mend it."""
    chance = np.random.default_rng(3)
    truth = chance.beta(2, 2, 20_000)
    scores = truth**3 / (truth**3 + (1 - truth) ** 3)
    outcomes = scores >= 0.5
    labels = chance.random(20_000) < truth
    accuracy = float(np.mean(labels == outcomes))
    version = VersionAlignment(("everybody",), scored=True, sketches=None)
    bins = version.decided(outcomes, scores)
    for outcome, place, label in zip(outcomes.tolist(), bins, labels.tolist(), strict=True):
        version.label(Row(1, outcome, place), label)
    found = histogram(version)
    naive, mended = expected_accuracy(found), recalibrated(found, found)
    assert naive is not None
    assert mended is not None
    assert naive.value - accuracy > 0.05
    assert mended.value == pytest.approx(accuracy, abs=0.005)
    error = calibration_error(found)
    assert error is not None
    assert error > 0.05
    assert calibration_error(ScoreHistogram()) is None


def test_concept_drift_goes_unseen_as_the_description_says() -> None:
    """The labels turn, the scores do not: the estimate stays. A test of the stated limit, not of a strength."""
    chance = np.random.default_rng(8)
    scores = chance.beta(0.5, 0.5, 5000)
    estimate = expected_accuracy(histogram(fed(scores, scores >= 0.5)))
    assert estimate is not None
    turned = chance.random(5000) < 1 - scores
    assert estimate.value > 0.7
    assert float(np.mean(turned == (scores >= 0.5))) < 0.3


@given(st.lists(st.tuples(UNIT, st.booleans()), min_size=1, max_size=40), st.integers(1, 40))
def test_one_by_one_in_batches_or_on_many_boxes_is_all_the_same(rows: list[tuple[float, bool]], cut: int) -> None:
    scores = np.array([score for score, _ in rows])
    outcomes = np.array([up for _, up in rows])
    whole = fed(scores, outcomes, batch=len(rows))
    single = fed(scores, outcomes, batch=1)
    parts = [fed(scores[:cut], outcomes[:cut]), fed(scores[cut:], outcomes[cut:])]
    assert histogram(whole) == histogram(single) == histogram(parts[0]) + histogram(parts[1])
    exact = sum(p if up else 1 - p for p, up in rows)
    assert whole.expected_right == pytest.approx(exact, abs=1e-6 * len(rows))
    estimate = expected_accuracy(histogram(whole))
    assert estimate is not None
    assert estimate.value == pytest.approx(exact / len(rows), abs=1e-6)
    assert whole.scored_decisions == len(rows) == estimate.n


@given(st.sampled_from([math.nan, math.inf, -math.inf, -0.001, 1.001]))
def test_what_is_no_probability_is_in_no_figure(wrong: float) -> None:
    version = VersionAlignment((), scored=True, sketches=None)
    assert version.decided(np.array([True]), np.array([wrong])) == [NO_SCORE]
    assert version.decided(np.array([True, False]), np.array([wrong, 0.999])) == [NO_SCORE, SCORE_BINS - 1]
    assert version.unscored == 2
    assert version.scored_decisions == 1
    with pytest.raises(ValueError, match="from 0 to 1"):
        bin_of(wrong)


@given(UNIT)
def test_the_bins_are_those_of_the_kernel(score: float) -> None:
    version = VersionAlignment((), scored=True, sketches=None)
    assert version.decided(np.array([True]), np.array([score])) == [bin_of(score)]


def test_without_data_there_is_no_estimate() -> None:
    assert expected_accuracy(ScoreHistogram()) is None
    assert recalibrated(ScoreHistogram(), ScoreHistogram()) is None
    assert VersionAlignment((), scored=False, sketches=None).scores is None
    with pytest.raises(ValueError, match="not negative"):
        ScoreHistogram(positive=(-1,) * SCORE_BINS)
    with pytest.raises(ValueError, match="50 counts"):
        ScoreHistogram(positive=(1,))
