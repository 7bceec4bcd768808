"""Intervals against published values, and their coverage by simulation."""

from __future__ import annotations

import math
from random import Random
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_kernel.intervals import CohortCount, disparate_impact, mean_of_sums, proportion, z_of


def test_quantiles_of_the_normal_distribution() -> None:
    assert z_of(0.95) == pytest.approx(1.959964, abs=1e-6)
    assert z_of(0.95) == NormalDist().inv_cdf(0.975), "the usual one is written down"
    assert z_of(0.99) == pytest.approx(2.575829, abs=1e-6)


@pytest.mark.parametrize("confidence", [0.0, 1.0, -1.0, 2.0])
def test_a_confidence_that_is_none_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        z_of(confidence)


# R. G. Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 17, 1998, table I, method 3.
@pytest.mark.parametrize(
    ("positives", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_intervals_are_the_published_ones(positives: int, n: int, low: float, high: float) -> None:
    interval = proportion(positives, n)
    assert interval is not None
    assert interval.value == positives / n
    assert interval.low == pytest.approx(low, abs=5e-5)
    assert interval.high == pytest.approx(high, abs=5e-5)
    assert interval.n == n


# Aspirin and heart attacks (Physicians' Health Study): 104 of 11,037 against 189 of 11,034. A. Agresti, "An Introduction to
# Categorical Data Analysis", gives the relative risk as 1.82 with 95 % interval 1.43 to 2.30; ours is its reciprocal.
def test_the_katz_interval_is_the_published_one() -> None:
    found = disparate_impact({"aspirin": CohortCount(11037, 104), "placebo": CohortCount(11034, 189)})
    assert found is not None
    assert (found.lowest, found.highest) == ("aspirin", "placebo")
    assert 1 / found.ratio.value == pytest.approx(1.82, abs=0.005)
    assert 1 / found.ratio.high == pytest.approx(1.43, abs=0.01)
    assert 1 / found.ratio.low == pytest.approx(2.30, abs=0.01)
    assert found.smallest_n == 11034
    assert found.ratio.n == 11037 + 11034


def test_a_mean_has_the_interval_of_its_standard_error() -> None:
    values = [1.0, 2.0, 3.0, 4.0, 5.0]
    interval = mean_of_sums(sum(values), sum(value * value for value in values), len(values))
    assert interval is not None
    assert interval.value == 3
    assert interval.high - 3 == pytest.approx(1.959964 * math.sqrt(2.5 / 5), abs=1e-6)
    assert 3 - interval.low == pytest.approx(interval.high - 3)


# ---------------------------------------------------------------- coverage


def draws(random: Random, n: int, rate: float) -> int:
    return sum(random.random() < rate for _ in range(n))


@pytest.mark.parametrize(("n", "rate"), [(50, 0.5), (50, 0.1), (200, 0.03)])
def test_wilson_intervals_hold_the_rate_as_often_as_they_say(n: int, rate: float) -> None:
    random = Random(20261122)  # noqa: S311 - a simulation
    trials = 2000
    hits = 0
    for _ in range(trials):
        interval = proportion(draws(random, n, rate), n)
        assert interval is not None
        hits += interval.low <= rate <= interval.high
    assert 0.93 <= hits / trials <= 0.98


@pytest.mark.parametrize(("rates", "least"), [((0.3, 0.5), 0.94), ((0.3, 0.5, 0.48), 0.94)])
def test_disparate_impact_intervals_hold_the_ratio_as_often_as_they_say(rates: tuple[float, ...], least: float) -> None:
    random = Random(4)  # noqa: S311 - a simulation
    trials, n = 1000, 250
    truth = min(rates) / max(rates)
    hits = 0
    for _ in range(trials):
        counts = {str(index): CohortCount(n, draws(random, n, rate)) for index, rate in enumerate(rates)}
        found = disparate_impact(counts)
        assert found is not None
        hits += found.ratio.low <= truth <= found.ratio.high
    assert hits / trials >= least


def test_mean_intervals_hold_the_mean_as_often_as_they_say() -> None:
    """CPU times are skewed; at 500 requests the central limit theorem does its work all the same."""
    random = Random(5)  # noqa: S311 - a simulation
    trials, n = 1000, 500
    hits = 0
    for _ in range(trials):
        values = [random.expovariate(1.0) for _ in range(n)]
        interval = mean_of_sums(sum(values), sum(value * value for value in values), n)
        assert interval is not None
        hits += interval.low <= 1.0 <= interval.high
    assert 0.92 <= hits / trials <= 0.98


# ---------------------------------------------------------------- odd counts

counts = st.floats(-5, 1e6) | st.sampled_from([0.0, math.nan, math.inf, -math.inf])


@given(counts, counts)
def test_any_counts_give_a_proper_interval_or_none(positives: float, n: float) -> None:
    interval = proportion(positives, n)
    if interval is not None:
        assert 0 <= interval.low <= interval.high <= 1
        assert interval.low <= interval.value + 1e-9
        assert interval.value <= interval.high + 1e-9


@given(st.dictionaries(st.text(max_size=3), st.builds(CohortCount, counts, counts), max_size=4))
def test_any_cohorts_give_a_proper_interval_or_none(cohorts: dict[str, CohortCount]) -> None:
    found = disparate_impact(cohorts)
    if found is not None:
        assert 0 <= found.ratio.low <= found.ratio.value <= found.ratio.high
        assert found.lowest != found.highest


@given(counts, counts, counts)
def test_any_sums_give_a_proper_interval_or_none(total: float, squares: float, n: float) -> None:
    interval = mean_of_sums(total, squares, n)
    if interval is not None:
        assert interval.low <= interval.value <= interval.high


def test_positives_that_extrapolation_made_more_than_all_count_as_all() -> None:
    assert proportion(10.4, 10) == proportion(10, 10)


def test_a_rate_without_decisions_is_none_and_no_ratio_is_made_of_nothing() -> None:
    assert proportion(0, 0) is None
    assert disparate_impact({}) is None
    assert disparate_impact({"a": CohortCount(100, 50)}) is None
    assert disparate_impact({"a": CohortCount(100, 50), "b": CohortCount(0, 0)}) is None
    assert disparate_impact({"a": CohortCount(100, 0), "b": CohortCount(100, 0)}) is None


def test_a_cohort_without_any_positive_outcome_still_gets_bounds() -> None:
    found = disparate_impact({"a": CohortCount(100, 0), "b": CohortCount(100, 50)})
    assert found is not None
    assert found.ratio.value == 0
    assert found.ratio.low == 0
    assert 0 < found.ratio.high < 0.2


def test_more_cohorts_make_the_interval_wider() -> None:
    two = {"a": CohortCount(1000, 300), "b": CohortCount(1000, 500)}
    three = {**two, "c": CohortCount(1000, 400)}
    narrow, wide = disparate_impact(two), disparate_impact(three)
    assert narrow is not None
    assert wide is not None
    assert wide.ratio.high - wide.ratio.low > narrow.ratio.high - narrow.ratio.low
