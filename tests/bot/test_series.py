"""Counters in memory: what rose within a window, through restarts, gaps and thinning, in bounded memory."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_bot.metrics import series
from trimtab_bot.metrics.series import Observation, Points, SeriesStore, increase
from trimtab_kernel.freshness import Fresh, Stale
from trimtab_kernel.rules import DEVICES_READY, REQUESTS, Operation, Query, Rule, Window

METRIC = REQUESTS.metric.name
LABELS = {"model": "triage", "version": "1.0.0", "device_group": "kiosks", "device": "d1"}
START = 1_800_000_000.0


def seen(value: float, at: float | None = None, metric: str = METRIC, **labels: str) -> Observation:
    return Observation(metric, LABELS | labels, value, at)


def value_of(store: SeriesStore, at: float, window: Window = Window.MINUTE) -> float | None:
    samples = store.read(Query(REQUESTS, window), at, 30).samples
    return samples[0].value if samples else None


def feed(values: dict[float, float], longest: float = 60) -> SeriesStore:
    store = SeriesStore(longest)
    for at, value in values.items():
        store.observe("t", at, [seen(value)])
    return store


# ---------------------------------------------------------------- the arithmetic, by hand


@pytest.mark.parametrize(
    ("points", "start", "end", "expected"),
    [
        # Samples at 5, 15, ... 55 of a minute: both edges are nearer than 11 s, so 50 s become 60 s.
        (Points(5, 55, 6, 1000, 50), 0, 60, 60.0),
        # The last sample is 20 s before the end, and samples are 5 s apart: the series seems to end after half of that.
        (Points(0, 40, 9, 1000, 80), 0, 60, 80 * 42.5 / 40),
        # It was 2 at the first sample and rose by 1 a second, so it was 0 two seconds before, and not earlier.
        (Points(30, 60, 7, 2, 30), 0, 60, 32.0),
        # It began from 0: nothing is added before.
        (Points(30, 60, 7, 0, 30), 0, 60, 30.0),
        (Points(10, 50, 5, 7, 0), 0, 60, 0.0),
    ],
)
def test_an_increase_is_stretched_to_the_edges_of_its_window(
    points: Points, start: float, end: float, expected: float
) -> None:
    assert increase(points, start, end) == pytest.approx(expected)


@given(
    st.floats(0, 1e9),
    st.floats(0, 1e9),
    st.integers(2, 1000),
    st.tuples(st.floats(0, 100), st.floats(0, 100)).filter(lambda pair: abs(pair[0] - pair[1]) > 1e-3),
)
def test_an_increase_is_at_least_what_was_seen_and_at_most_its_rate_over_the_window(
    first: float, rise: float, count: int, pair: tuple[float, float]
) -> None:
    low, high = sorted(pair)
    value = increase(Points(low, high, count, first, rise), 0, 100)
    assert rise * (1 - 1e-9) <= value <= rise * 100 / (high - low) * (1 + 1e-9) + 1e-9 or count == 2
    assert value >= rise * (1 - 1e-9)
    assert math.isfinite(value)


# ---------------------------------------------------------------- counters over time


def test_restarts_add_up() -> None:
    store = feed({START: 100, START + 10: 140, START + 20: 5, START + 30: 25, START + 40: 0, START + 50: 3})
    rise = 40 + 5 + 20 + 0 + 3
    assert value_of(store, START + 50) == pytest.approx(rise * 60 / 50)


def test_one_sample_says_nothing_of_a_rise() -> None:
    assert value_of(feed({START: 1000}), START) is None


def test_samples_that_do_not_move_forward_are_ignored() -> None:
    store = feed({START: 100, START + 10: 110})
    store.observe("t", START + 20, [seen(999, START + 10)])
    store.observe("t", START + 30, [seen(5, START + 3)])
    assert value_of(store, START + 10) == pytest.approx(10 * 15 / 10)


def test_a_sample_from_far_ahead_is_refused() -> None:
    store = feed({START: 100, START + 10: 110})
    store.observe("t", START + 20, [seen(1e9, START + 20 + series.FUTURE_LIMIT + 1)])
    assert len(store) == 1
    assert value_of(store, START + 20) == pytest.approx(10 * 25 / 10)


@pytest.mark.parametrize("strange", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_no_number_spoils_the_window_only_while_it_is_at_its_edge(strange: float) -> None:
    store = feed({START: 100, START + 10: strange})
    reading = store.read(Query(REQUESTS, Window.MINUTE), START + 10, 30)
    assert not reading.samples
    assert [dropped.labels["model"] for dropped in reading.dropped] == ["triage"]
    store.observe("t", START + 20, [seen(130)])
    assert value_of(store, START + 20) == pytest.approx(30 * 25 / 20)


def test_a_silent_target_keeps_its_increase_until_the_window_has_passed_and_is_stale_meanwhile() -> None:
    store = feed({START: 100, START + 10: 110, START + 20: 120})
    store.lose("t")
    (at_once,) = store.read(Query(REQUESTS, Window.MINUTE), START + 40, 30).samples
    (later,) = store.read(Query(REQUESTS, Window.MINUTE), START + 55, 30).samples
    assert (at_once.freshness, later.freshness) == (Fresh(START + 20), Stale(START + 20))
    assert later.value == pytest.approx(20 * 30 / 20)
    assert not store.read(Query(REQUESTS, Window.MINUTE), START + 81, 30).samples


def test_now_is_what_a_target_shows_and_at_most_five_minutes_old() -> None:
    ready = DEVICES_READY.metric.name
    query = Query(DEVICES_READY, Window.MINUTE)
    store = SeriesStore(3600)
    store.observe("a", START, [seen(1, metric=ready, device="a"), seen(0, metric=ready, device="a", version="0.9.0")])
    store.observe("b", START, [seen(1, metric=ready, device="b")])
    assert [(s.labels["version"], s.value, s.n) for s in store.read(query, START, 30).samples] == [("1.0.0", 2.0, 2)]
    store.observe("b", START + 1, [seen(0, metric=ready, device="b")])
    assert [s.value for s in store.read(query, START + 1, 30).samples] == [1.0]
    store.observe("a", START + 2, [])  # the series is gone from its page
    assert not store.read(query, START + 2, 30).samples
    store.observe("a", START + 3, [seen(1, metric=ready, device="a")])
    assert store.read(query, START + 3 + series.LOOKBACK, 1000).samples
    assert not store.read(query, START + 4 + series.LOOKBACK, 1000).samples


def test_a_maximum_is_over_what_is_shown_now() -> None:
    rule = Rule("largest", REQUESTS.metric, Operation.MAX, ("device_group",))
    store = SeriesStore(60)
    for device, value in (("a", 3.0), ("b", 7.0), ("c", math.nan)):
        store.observe(device, START, [seen(value, device=device)])
    (sample,) = store.read(Query(rule, Window.MINUTE), START, 30).samples
    assert (sample.labels, sample.value, sample.n) == ({"device_group": "kiosks"}, 7.0, 1)


def test_metrics_that_no_rule_is_about_are_not_kept() -> None:
    store = SeriesStore(60)
    store.observe("t", START, [Observation("python_gc_collections_total", {}, 1.0)])
    assert len(store) == 0


# ---------------------------------------------------------------- memory


def test_what_no_window_reaches_is_forgotten() -> None:
    store = feed({START + i: float(i) for i in range(100)})
    store.forget(START + 100 + series.LOOKBACK)
    assert len(store) == 0
    store.observe("t", START + 500, [seen(5000)])
    assert value_of(store, START + 500) is None  # what it was before is not known any more


def test_series_beyond_the_limit_are_refused_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "MAX_SERIES", 3)
    store = SeriesStore(60)
    store.observe("t", START, [seen(1, version=str(i)) for i in range(5)])
    assert len(store) == 3
    query = Query(REQUESTS, Window.MINUTE)
    assert store.read(query, START, 30).warnings == ("2 series beyond 3 were not kept",)
    store.forget(START + 1)
    store.observe("t", START + 1, [seen(1, version=str(i)) for i in range(3)])
    assert store.read(query, START + 1, 30).warnings == ()


steps = st.lists(st.tuples(st.sampled_from([0.5, 1.0, 5.0, 61.0]), st.integers(-500, 100)), min_size=2, max_size=300)


@given(steps)
def test_thinning_loses_no_rise(steps: list[tuple[float, int]]) -> None:
    """Over the whole time, a store that thins out (a day's window) has seen what one that keeps all has seen."""
    at, value, rise = START, 1000, 0
    thin = SeriesStore(86400)
    for distance, step in steps:
        thin.observe("t", at, [seen(value)])
        before, value = value, max(0, value + step)
        rise += value - before if value >= before else value
        at += distance
    thin.observe("t", at, [seen(value)])
    points = thin._series[METRIC][next(iter(thin._series[METRIC]))].within(START, at)
    assert points is not None
    assert points.rise == pytest.approx(rise)
    assert points.count <= 2 + 2 * (at - START) / (86400 / 720)


def test_a_day_of_samples_every_second_is_kept_in_few() -> None:
    store = SeriesStore(86400)
    for second in range(20_000):
        store.observe("t", START + second, [seen(float(second))])
    (kept,) = store._series[METRIC].values()
    assert len(kept.times) <= 720 * 20_000 / 86400 * 1.02
    assert value_of(store, START + 20_000, Window.DAY) == pytest.approx(20_000, rel=0.02)
