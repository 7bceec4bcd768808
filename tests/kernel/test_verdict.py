"""Breach, fine or unknown; and when a reading is fresh."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_kernel.freshness import Absent, Fresh, Freshness, Stale, judge_freshness
from trimtab_kernel.intervals import Interval
from trimtab_kernel.verdict import Limit, Side, Verdict, judge

FRESH = Fresh(0.0)
AT_LEAST = Limit(Side.AT_LEAST, 0.8, 200)
AT_MOST = Limit(Side.AT_MOST, 0.8, 200)


def interval(low: float, high: float, n: int = 1000) -> Interval:
    return Interval((low + high) / 2, low, high, n)


@pytest.mark.parametrize(
    ("low", "high", "at_least", "at_most"),
    [
        (0.5, 0.7, Verdict.BREACH, Verdict.FINE),
        (0.9, 1.0, Verdict.FINE, Verdict.BREACH),
        (0.7, 0.9, Verdict.UNKNOWN, Verdict.UNKNOWN),
        (0.8, 0.9, Verdict.FINE, Verdict.UNKNOWN),
        (0.7, 0.8, Verdict.UNKNOWN, Verdict.FINE),
        (0.8, 0.8, Verdict.FINE, Verdict.FINE),
        (math.nan, 0.9, Verdict.UNKNOWN, Verdict.UNKNOWN),
        (0.9, math.nan, Verdict.UNKNOWN, Verdict.UNKNOWN),
        (0.9, 0.7, Verdict.UNKNOWN, Verdict.UNKNOWN),
        (0.9, math.inf, Verdict.FINE, Verdict.BREACH),
    ],
)
def test_only_a_whole_interval_decides(low: float, high: float, at_least: Verdict, at_most: Verdict) -> None:
    assert judge(interval(low, high), AT_LEAST, FRESH).verdict is at_least
    assert judge(interval(low, high), AT_MOST, FRESH).verdict is at_most


@pytest.mark.parametrize("freshness", [Stale(0.0), Absent()])
@pytest.mark.parametrize("bounds", [(0.5, 0.6), (0.9, 1.0)])
def test_old_data_decide_nothing(freshness: Freshness, bounds: tuple[float, float]) -> None:
    assert judge(interval(*bounds), AT_LEAST, freshness).verdict is Verdict.UNKNOWN


def test_no_data_are_neither_fine_nor_breach() -> None:
    for freshness in (FRESH, Stale(0.0), Absent()):
        judgement = judge(None, AT_LEAST, freshness)
        assert judgement.verdict is Verdict.UNKNOWN
        assert judgement.reason == "no data"


def test_a_small_sample_decides_nothing_and_the_limit_itself_is_enough() -> None:
    assert judge(interval(0.5, 0.6, 199), AT_LEAST, FRESH).reason == "sample of 199 is below the minimum of 200"
    assert judge(interval(0.5, 0.6, 200), AT_LEAST, FRESH).verdict is Verdict.BREACH
    assert judge(interval(0.5, 0.6, 10_000), AT_LEAST, FRESH, n=50).verdict is Verdict.UNKNOWN


@given(
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0, 1),
    st.integers(0, 400),
    st.sampled_from(Side),
    st.sampled_from([FRESH, Stale(0.0), Absent()]),
)
def test_breach_and_fine_never_hold_of_overlapping_evidence(
    one: float, other: float, bound: float, n: int, side: Side, freshness: Freshness
) -> None:
    low, high = sorted([one, other])
    verdict = judge(interval(low, high, n), Limit(side, bound, 200), freshness).verdict
    inside = (low if side is Side.AT_LEAST else -high) >= (bound if side is Side.AT_LEAST else -bound)
    outside = (high if side is Side.AT_LEAST else -low) < (bound if side is Side.AT_LEAST else -bound)
    decided = n >= 200 and isinstance(freshness, Fresh)
    assert (verdict is Verdict.FINE) == (decided and inside)
    assert (verdict is Verdict.BREACH) == (decided and outside)


def test_a_reading_is_fresh_within_the_limit_stale_beyond_it_and_absent_without_a_sample() -> None:
    assert judge_freshness(100.0, 130.0, 30.0) == Fresh(100.0)
    assert judge_freshness(100.0, 130.1, 30.0) == Stale(100.0)
    assert judge_freshness(None, 130.0, 30.0) == Absent()


def test_a_sample_from_the_future_is_not_fresh() -> None:
    assert judge_freshness(200.0, 100.0, 30.0) == Stale(200.0)
    assert judge_freshness(110.0, 100.0, 30.0) == Fresh(110.0)


def test_a_sample_without_a_time_is_not_fresh() -> None:
    assert isinstance(judge_freshness(math.nan, 100.0, 30.0), Stale)
