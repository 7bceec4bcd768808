"""An alarm may be looked for at every tick: what that costs in false ones, and in time until a true one, is measured."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bot.tables import NOW, TableSource, cost_target, fairness_target, price
from trimtab_bot.alarms import AlarmRule
from trimtab_bot.assessment import assess
from trimtab_kernel.intervals import z_of
from trimtab_kernel.rules import Window
from trimtab_kernel.verdict import Verdict

DAY = 86400
TICK = 5
DAYS = 100  # simulated days of each case
Counts = np.ndarray[tuple[int, int], np.dtype[np.float64]]


def in_window(per_tick: Counts, window: Window) -> Counts:
    """Sums over the sliding window that ends at each tick; the first windows are only partly filled."""
    sums = np.cumsum(per_tick, axis=1)
    width = window.value // TICK
    windowed = sums.copy()
    windowed[:, width:] -= sums[:, :-width]
    return windowed


def fairness_look(n1: float, k1: float, n2: float, k2: float, window: Window) -> tuple[bool, bool]:
    """Whether this look says breach, and whether it raises the alarm."""
    source = TableSource()
    source.decide({"f": (float(n1), float(k1)), "m": (float(n2), float(k2))})
    (finding,) = assess([fairness_target()], source, window, NOW)
    return finding.verdict is Verdict.BREACH, finding.alarm


def cost_look(n: float, seconds: float, squares: float, window: Window) -> tuple[bool, bool]:
    """The same for a cost of 1 EUR per 1,000 CPU seconds: a ceiling of 1 is a mean of one second."""
    source = TableSource()
    source.spend(float(n), float(seconds), float(squares))
    target = cost_target(1.0, {"kiosks": price("3.6")})
    (finding,) = assess([target], source, window, NOW)
    return finding.verdict is Verdict.BREACH, finding.alarm


def most_extreme(scores: Counts, day: int) -> list[int]:
    """The looks of a day that are farthest beyond the limit: if none of these raises an alarm, none does."""
    return [int(index) for index in np.argsort(scores[day])[-5:]]


def simulate_fairness(
    window: Window, rates: tuple[float, float], per_second: float, seed: int, bursts: bool = False, stretch: float = 1.0
) -> tuple[int, int]:
    """Days with a breach at some look, and days with an alarm. ``per_second`` decisions about each cohort."""
    random = np.random.default_rng(seed)
    ticks = DAY // TICK
    traffic = np.full(ticks, per_second * TICK)
    if bursts:  # six minutes of every half hour, and hardly anything between
        traffic = np.where((np.arange(ticks) * TICK) % 1800 < 360, traffic * 5, traffic / 50)
    counts: list[Counts] = []
    for rate in rates:
        n = random.poisson(traffic, (DAYS, ticks))
        counts += [
            in_window(n.astype(np.float64), window),
            in_window(random.binomial(n, rate).astype(np.float64), window),
        ]
    n1, k1, n2, k2 = (each * stretch for each in counts)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (k1 / n1) / (k2 / n2)
        spread = np.sqrt(1 / k1 - 1 / n1 + 1 / k2 - 1 / n2)
        scores = (math.log(0.8) - np.log(np.minimum(ratio, 1 / ratio))) / spread
    scores = np.where((np.minimum(n1, n2) >= 200) & np.isfinite(scores), scores, -math.inf)
    breaches = alarms = 0
    for day in range(DAYS):
        looks = [
            fairness_look(n1[day, i], k1[day, i], n2[day, i], k2[day, i], window) for i in most_extreme(scores, day)
        ]
        breaches += any(breach for breach, _ in looks)
        alarms += any(alarm for _, alarm in looks)
    return breaches, alarms


@pytest.mark.parametrize("window", [Window.MINUTES_5, pytest.param(Window.HOUR, marks=pytest.mark.long)])
def test_equal_cohorts_raise_no_alarm_all_day(window: Window) -> None:
    _, alarms = simulate_fairness(window, (0.4, 0.4), per_second=2, seed=1)
    assert alarms <= 0.05 * DAYS


@pytest.mark.parametrize(
    ("window", "rates", "per_second", "bursts"),
    [
        (Window.MINUTES_5, (0.4, 0.5), 2, False),
        pytest.param(Window.MINUTES_5, (0.08, 0.1), 2, False, marks=pytest.mark.long),
        pytest.param(Window.MINUTES_5, (0.4, 0.5), 2, True, marks=pytest.mark.long),
        pytest.param(Window.MINUTE, (0.4, 0.5), 5, False, marks=pytest.mark.long),
        (Window.DAY, (0.4, 0.5), 0.5, False),
    ],
)
def test_a_version_exactly_on_its_limit_is_the_worst_case_and_still_seldom_alarms(
    window: Window, rates: tuple[float, float], per_second: float, bursts: bool
) -> None:
    _, alarms = simulate_fairness(window, rates, per_second, seed=2, bursts=bursts)
    assert alarms <= 0.05 * DAYS


def test_the_shown_interval_alone_would_call_somebody_nearly_every_day() -> None:
    """Why there is a rule at all: the same days, judged by their 95 % intervals."""
    breaches, alarms = simulate_fairness(Window.MINUTES_5, (0.4, 0.5), 2, seed=2)
    assert breaches >= 0.9 * DAYS
    assert alarms <= 0.05 * DAYS


def test_a_source_that_stretches_a_window_by_a_twelfth_stays_within_the_promise() -> None:
    """Prometheus extends an increase to the edges of its window, so the sample seems up to one scrape larger."""
    _, alarms = simulate_fairness(Window.MINUTE, (0.4, 0.5), 5, seed=3, stretch=12 / 11)
    assert alarms <= 0.05 * DAYS


def test_a_skewed_cost_on_its_ceiling_seldom_alarms() -> None:
    """CPU seconds of a request are log-normal with a long tail, and their mean is the ceiling."""
    random = np.random.default_rng(4)
    window, ticks, per_tick, days = Window.MINUTES_5, DAY // TICK, 10, 20
    breaches = alarms = 0
    for _ in range(days):
        seconds = random.lognormal(-0.5, 1.0, (ticks, per_tick))  # mean 1
        total = in_window(seconds.sum(axis=1)[None, :], window)
        squares = in_window((seconds**2).sum(axis=1)[None, :], window)
        n = in_window(np.full((1, ticks), float(per_tick)), window)
        mean = total / n
        scores = (mean - 1) / np.sqrt((squares / n - mean**2) / n)
        scores = np.where(n >= 200, scores, -math.inf)
        looks = [cost_look(n[0, i], total[0, i], squares[0, i], window) for i in most_extreme(scores, 0)]
        breaches += any(breach for breach, _ in looks)
        alarms += any(alarm for _, alarm in looks)
    assert breaches >= 0.9 * days
    assert alarms <= 0.05 * days


def test_a_version_with_a_disparate_impact_of_0_45_is_found_within_some_hundred_decisions() -> None:
    """Half of the men and 22.5 % of the women are selected; looked at once a second while decisions come in."""
    random = np.random.default_rng(5)
    needed = []
    for _ in range(100):
        n1 = n2 = k1 = k2 = 0
        while True:
            n1, n2 = n1 + 2, n2 + 2
            k1, k2 = k1 + int(random.binomial(2, 0.225)), k2 + int(random.binomial(2, 0.5))
            if n1 >= 200 and fairness_look(n1, k1, n2, k2, Window.MINUTES_5)[1]:
                needed.append(n1 + n2)
                break
    assert np.median(needed) <= 600
    assert np.quantile(needed, 0.95) <= 900


def test_the_demand_follows_the_published_bound() -> None:
    """z solves T z phi(z) + 1 - Phi(z) = chance, with T = 2 days / window + 6."""
    normal = NormalDist()
    for window in Window:
        for chance in (0.5e-6, 0.001, 0.05, 0.4):
            z = AlarmRule(chance).z(window)
            windows = 2 * DAY / window.value + 6
            assert windows * z * normal.pdf(z) + math.erfc(z / math.sqrt(2)) / 2 == pytest.approx(chance, rel=1e-6)


@given(st.sampled_from(list(Window)), st.floats(1e-6, 0.4), st.floats(60, 2e7))
def test_more_looks_and_fewer_false_alarms_ask_for_more(window: Window, chance: float, horizon: float) -> None:
    rule = AlarmRule(chance, horizon)
    assert rule.z(window) >= AlarmRule(chance * 1.1, horizon).z(window)
    assert rule.z(window) <= AlarmRule(chance, horizon * 1.1).z(window)
    # Near 1 a confidence has few digits left in double precision: at 7.7 standard errors about three of z remain.
    assert z_of(rule.confidence(window)) == pytest.approx(rule.z(window), rel=1e-3)


def test_an_alarm_is_never_easier_than_the_look_that_is_shown() -> None:
    for window in Window:
        assert AlarmRule().z(window) > z_of(0.95)


@pytest.mark.parametrize(
    "rule",
    [(0.0, 1.0), (0.5, 1.0), (-1.0, 1.0), (math.nan, 1.0), (1e-8, 1.0), (0.05, 0.0), (0.05, 4e7), (0.05, math.nan)],
)
def test_a_rule_that_promises_nothing_is_refused(rule: tuple[float, float]) -> None:
    with pytest.raises(
        ValueError, match=r"expected a chance from 1e-7 to below 0\.5 and a horizon of at most 366 days"
    ):
        AlarmRule(*rule)
