"""Budgets and forecasts: intervals hold what they promise, money adds up, and what nobody knows is unknown."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.forecast import hourly, pooled, simulated
from tests.config.small_fleet import Yaml, catalog_of, deployment, group, model, price_book
from trimtab_config.bills.charges import EXACT, Charge, Place
from trimtab_config.budget import forecast as forecasting
from trimtab_config.budget.capacity import HOUR, CapacityPlan, Load, added, covers
from trimtab_config.budget.forecast import Coverage, Forecast, Unknown, backtest, forecast, needed_values
from trimtab_config.budget.spending import History, Outlook, Policies, daily, history_of, standings
from trimtab_config.cli import main
from trimtab_config.cli.fleet import open_fleet
from trimtab_config.text.budgets import budgets_json, budgets_text

if TYPE_CHECKING:
    from trimtab_config.catalog import Catalog

ROOT = Path(__file__).parents[3]
FLEET = ROOT / "examples/fleet"
NAB = ROOT / "../shared/data/nab"
TODAY = date(2026, 10, 20)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return open_fleet(FLEET)


def table(name: str, coverages: dict[int, Coverage]) -> None:
    shown = ", ".join(f"{each or 'sum'}: {100 * one.share:.1f} %" for each, one in sorted(coverages.items()))
    print(f"{name}: {shown}")  # noqa: T201 - with -s: the coverage of every horizon


# ---------------------------------------------------------------- calibration


def test_eighty_percent_intervals_hold_seventy_five_to_eighty_five_percent_on_simulated_fleets() -> None:
    found = pooled([backtest(simulated(seed), 7, 21) for seed in range(8)])
    table("simulated fleets", found)
    assert all(0.75 <= each.share <= 0.85 for horizon, each in found.items() if horizon), found
    assert 0.7 <= found[0].share <= 0.9  # few independent months in these few fleets


@pytest.mark.long
def test_the_sum_of_a_month_is_calibrated_on_many_simulated_fleets() -> None:
    found = pooled([backtest(simulated(seed), 7, 21) for seed in range(40)])
    table("40 simulated fleets", found)
    assert all(0.75 <= each.share <= 0.85 for each in found.values()), found


@pytest.mark.long
def test_eighty_percent_intervals_hold_on_the_held_back_halves_of_real_series() -> None:
    if not NAB.is_dir():
        pytest.skip("needs data ../shared/data/nab, which lies beside the repository")
    found = []
    for path in sorted(NAB.glob("real*/*.csv")):
        coverages = backtest(hourly(path), 24, 24)
        table(path.stem, {each.horizon: each for each in coverages if each.horizon in {0, 1, 6, 12, 24}})
        found.append(coverages)
    assert len(found) >= 10
    together = pooled(found)
    table("all real series", together)
    assert all(0.75 <= each.share <= 0.85 for each in together.values()), together


def test_the_chance_of_overrun_is_nearer_the_truth_than_the_run_rate() -> None:
    """Brier scores at the tenth of each month of simulated fleets; the run rate says yes or no."""
    ours, run_rate = [], []
    for seed in range(5):
        spend = simulated(seed)
        for month in range(150, len(spend) - 30, 60):
            whole = sum(spend[month : month + 30])
            for factor in (0.97, 1.0, 1.03):
                limit = whole * factor
                spent = sum(spend[month : month + 10])
                found = forecast(spend[: month + 10], 7, 20)
                assert isinstance(found, Forecast)
                truth = float(whole > limit)
                ours.append((found.chance_above(limit - spent) - truth) ** 2)
                run_rate.append((float(spent * 3 > limit) - truth) ** 2)
    assert sum(ours) / len(ours) < 0.8 * sum(run_rate) / len(run_rate)


def test_the_backtest_judges_the_very_intervals_that_a_forecast_would_have_given() -> None:
    """So an interval knows nothing of what comes after, and the coverage that is reported is that of real forecasts."""
    spend = simulated(1)[:160]
    inside = [0, 0, 0]
    for known in range(141, 160):
        found = forecast(spend[:known], 7, 3)
        assert isinstance(found, Forecast)
        for ahead, step in enumerate(found.steps):
            if known + ahead < len(spend):
                inside[ahead] += step.low <= spend[known + ahead] <= step.high
    judged = backtest(spend, 7, 3, held_back=0.125)  # origins from the 140th value on
    assert [(each.inside, each.judged) for each in judged[:3]] == [(inside[0], 19), (inside[1], 18), (inside[2], 17)]


@pytest.mark.parametrize("gaps", [0, 5])
def test_a_short_history_is_unknown_and_one_value_more_is_enough(gaps: int) -> None:
    values: list[float | None] = [*simulated(2)]
    for place in range(gaps):
        values[place * 11] = None
    enough = needed_values(7, 12)
    found = forecast(values[: enough - 1], 7, 12)
    assert isinstance(found, Unknown)
    assert str(enough) in found.reason
    assert isinstance(forecast(values[: enough + 10 * gaps], 7, 12), Forecast)
    assert isinstance(forecast([None] * 400, 7, 12), Unknown)


@pytest.mark.parametrize(
    ("share", "freedom", "tabled"),
    [(0.9, 1, 3.078), (0.9, 3, 1.638), (0.95, 5, 2.015), (0.975, 30, 2.042), (0.5, 4, 0.0)],
)
def test_quantiles_of_student_are_those_of_the_tables(share: float, freedom: float, tabled: float) -> None:
    assert forecasting._t_quantile(share, freedom) == pytest.approx(tabled, abs=2e-3)


@pytest.mark.parametrize("horizon", [14, 30])
def test_sums_of_histories_that_are_just_long_enough_hold_what_they_promise(horizon: int) -> None:
    """Their past has one or two independent months: intervals of the errors alone held 55 to 79 percent."""
    held = []
    for seed in range(100):
        spend = simulated(seed)
        for known in (needed_values(7, horizon), needed_values(7, horizon) + 14):
            found = forecast(spend[:known], 7, horizon)
            assert isinstance(found, Forecast)
            assert found.outcomes[0] <= found.total.value <= found.outcomes[-1]
            held.append(found.total.low <= sum(spend[known : known + horizon]) <= found.total.high)
    assert 0.72 <= sum(held) / len(held) <= 0.88


def test_what_cannot_be_negative_has_no_negative_bound() -> None:
    values = [0.0 if day % 7 else 3.0 + day % 5 for day in range(200)]
    found = forecast(values, 7, 14)
    assert isinstance(found, Forecast)
    assert min(step.low for step in found.steps) >= 0
    assert 0 < found.chance_above(1e9) < 0.02
    assert all(math.isfinite(step.high) for step in found.steps)


# ---------------------------------------------------------------- budgets


@given(
    st.integers(0, 330 * 24 * 60),
    st.integers(0, 70 * 24),
    st.decimals(-(10**8), 10**8, places=12),
)
@settings(max_examples=60)
def test_the_days_of_a_charge_add_up_to_it_exactly(minutes: int, hours: int, amount: Decimal) -> None:
    begin = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    days = list(daily(begin, begin + timedelta(hours=hours), amount))
    assert reduce(EXACT.add, (part for _, part in days), Decimal(0)) == amount
    assert len({day for day, _ in days}) == len(days)


def charge(day: date, amount: float, place: Place, currency: str = "EUR") -> Charge:
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    money = Decimal(f"{amount:.4f}")
    return Charge("x", day.replace(day=1), day, start, start + timedelta(days=1), currency, money, money, place=place)


def spending(catalog: Catalog, factor: float, days: int = 200, currency: str = "EUR") -> History:
    place = Place(group="cam-emea", model="digits")
    first = TODAY - timedelta(days=days)
    spend = simulated(4)[:days]
    charges = [charge(first + timedelta(days=at), value * factor, place, currency) for at, value in enumerate(spend)]
    return history_of(charges, Policies(catalog))


def test_a_budget_is_within_at_risk_likely_over_or_over(catalog: Catalog) -> None:
    def outlook(factor: float) -> tuple[Outlook, float | None]:
        [found] = [
            each for each in standings(catalog, spending(catalog, factor), TODAY) if each.policy == "finops-vision"
        ]
        return found.outlook, found.chance

    month = sum(simulated(4)[181:200]) / 19 * 31  # about what October comes to, at factor 1
    even = 250_000 / month
    assert outlook(even * 0.5)[0] is Outlook.UNLIKELY
    assert outlook(even * 1.3)[0] is Outlook.LIKELY
    assert outlook(even * 3)[0] is Outlook.OVER
    chances = [outlook(even * factor)[1] or 0.0 for factor in (0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2)]
    assert chances == sorted(chances)


def test_what_is_not_known_of_a_budget_is_said(catalog: Catalog) -> None:
    def reason(history: History) -> str:
        [found] = [each for each in standings(catalog, history, TODAY) if each.policy == "finops-vision"]
        assert found.outlook is Outlook.UNKNOWN
        assert found.chance is None
        assert isinstance(found.rest, Unknown)
        return found.rest.reason

    assert "no history; give --history FILE" in reason(History())
    assert "days are too few" in reason(spending(catalog, 1, days=30))
    assert "within the month" in reason(spending(catalog, 1, days=9))
    assert "have no exchange rate: spec.exchangeRates: F405" in reason(spending(catalog, 1, currency="CHF"))
    old = history_of([charge(date(2026, 8, 1), 5, Place(model="digits"))], Policies(catalog))
    assert "before the month; import the bill of 2026-10" in reason(old)


def test_a_charge_falls_under_a_policy_only_where_the_fleet_leaves_no_choice(catalog: Catalog) -> None:
    policies = Policies(catalog)
    assert policies.policy_of(Place(model="digits")) == "finops-vision"
    assert policies.policy_of(Place(group="cam-emea", model="digits")) == "finops-vision"
    assert policies.policy_of(Place(model="triage")) == "finops-clinical"
    assert policies.policy_of(Place()) is None
    assert policies.policy_of(Place(model="nobody")) is None
    assert policies.policy_of(Place(group="kiosk-emea")) is None  # digits and triage run there, under two policies


def two_currencies(*rates: tuple[str, str, str]) -> list[Yaml]:
    """A fleet with a budget of 3,000 EUR, and rates of the dollar: (rate, from, until)."""
    policy = {
        "apiVersion": "apexlogic.ai/v1",
        "kind": "FinOpsPolicy",
        "metadata": {"name": "clinics", "namespace": "fleet"},
        "spec": {"budget": {"monthly": {"amount": 3000, "currency": "EUR"}}},
    }
    dated = [{"currency": "USD", "rate": rate, "validFrom": first, "validUntil": last} for rate, first, last in rates]
    book = price_book(spec__exchangeRates=dated) if dated else price_book()
    return [group(), model(), deployment(spec__finopsPolicyRef="clinics"), policy, book]


def half_in_dollars(until: date, days: int) -> list[Charge]:
    """50 EUR and 40 USD every day."""
    place = Place(group="kiosks", model="triage")
    since = [until - timedelta(days=back) for back in range(days, 0, -1)]
    return [charge(day, amount, place, code) for day in since for amount, code in ((50, "EUR"), (40, "USD"))]


def test_charges_in_a_second_currency_count_at_the_rate_of_their_day() -> None:
    """The rate changes on the tenth; the days before the first rate teach the forecast nothing."""
    rates = (("0.5", "2026-06-01", "2026-10-09"), ("0.75", "2026-10-10", "2026-12-31"))
    fleet = catalog_of(*two_currencies(*rates))
    history = history_of(half_in_dollars(TODAY, 200), Policies(fleet))
    [found] = standings(fleet, history, TODAY)
    assert found.spent == 19 * 50 + 9 * 20 + 10 * 30
    assert sum(found.days) == found.spent
    assert [str(rate.rate) for rate in found.rates] == ["1/2", "3/4"]
    assert isinstance(found.rest, Forecast)
    assert found.outlook is Outlook.UNLIKELY
    assert found.rest.total.value == pytest.approx(12 * 80, rel=0.05), "what is to come has the newest rate"
    assert "1 USD is 0.75 EUR from 2026-10-10 to 2026-12-31 (prices)." in budgets_text([found], [])
    assert [each["rate"] for each in budgets_json([found], [])["exchangeRates"]] == ["0.5", "0.75"]  # type: ignore[union-attr, index, call-overload] # JSON, whose shape this asserts
    # A day within the month without a rate: no sum, and where to put the rate.
    gap = catalog_of(*two_currencies(("0.5", "2026-06-01", "2026-10-09"), ("0.75", "2026-10-11", "2026-12-31")))
    [found] = standings(gap, history, TODAY)
    assert (found.outlook, found.spent) == (Outlook.UNKNOWN, None)
    assert found.problem is not None
    assert found.problem.code == "F406"
    assert "2026-10-10" in str(found.problem)
    # Rates of the month alone: what is spent is known, what is to come is not, and why is said.
    young = catalog_of(*two_currencies(("0.5", "2026-10-01", "2026-12-31")))
    [found] = standings(young, history, TODAY)
    assert found.spent == 19 * 70
    assert isinstance(found.rest, Unknown)
    assert "days before 2026-10-01 do not count" in found.rest.reason
    assert found.problem is None


def test_a_missing_rate_is_a_problem_of_the_command_beside_what_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "fleet.yaml").write_text(yaml.safe_dump_all(two_currencies()), "utf-8")
    history = tmp_path / "history.csv"
    lines = [f"{each.start.date()},{each.currency},{each.amount},triage,kiosks" for each in half_in_dollars(TODAY, 9)]
    history.write_text("\n".join(["time,currency,amount,model,group", *lines]), "utf-8")
    command = ["budget", str(tmp_path / "fleet.yaml"), "--history", str(history), "--as-of", TODAY.isoformat()]
    assert main(command) == 1
    told = capsys.readouterr()
    assert "clinics  unknown" in told.out
    assert "F405 got no rate from USD to EUR" in told.err
    assert "add {currency: USD, rate: ...," in told.err


def test_the_command_prints_budgets_draws_them_and_names_what_falls_under_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "history.csv"
    first = TODAY - timedelta(days=200)
    with path.open("w", encoding="utf-8") as stream:
        stream.write("time,currency,amount,model,group\n")
        for at, value in enumerate(simulated(4)[:200]):
            day = (first + timedelta(days=at)).isoformat()
            stream.write(f"{day},EUR,{6 * value:.2f},digits,cam-emea\n{day},EUR,2.5,,\n")
    picture = tmp_path / "budgets.svg"
    command = ["budget", str(FLEET), "--history", str(path), "--as-of", TODAY.isoformat()]
    assert main([*command, "--plot", str(picture)]) == 0
    text = capsys.readouterr().out
    assert "finops-vision" in text
    assert "47.50 EUR of the month fall under no policy" in text  # 19 days
    assert "finops-clinical: no charge of the history falls under this policy; a charge does" in text
    assert main([*command, "--output", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    [vision] = [each for each in found["budgets"] if each["policy"] == "finops-vision"]
    spent = sum(Decimal(f"{6 * value:.2f}") for value in simulated(4)[181:200])
    assert Decimal(vision["spent"]) == spent
    end = vision["monthEnd"]
    assert float(end["low"]) < float(end["value"]) < float(end["high"])
    assert len(vision["days"]) == 12
    assert "finops-vision" in picture.read_text("utf-8")
    assert main(["budget", str(FLEET), "--as-of", "today"]) == 1


# ---------------------------------------------------------------- capacity


def load_of(weeks: int, scale: float = 1.0) -> Load:
    random = np.random.default_rng(5)
    hours = np.arange(weeks * 168)
    shape = 10 + 8 * np.sin(2 * np.pi * (hours % 24 - 9) / 24) - 4 * ((hours // 24) % 7 >= 5)
    values = scale * np.maximum(shape + random.normal(0, 0.4, len(hours)), 0.5)
    return Load(datetime(2026, 9, 7, tzinfo=UTC), tuple(float(value) for value in values))


def test_a_group_that_will_be_short_is_named_and_one_without_history_is_unknown(catalog: Catalog) -> None:
    cores = float(catalog.groups["cam-emea"].spec.device_count * catalog.groups["cam-emea"].spec.hardware.cpu.value)
    plan = CapacityPlan(catalog, {"cam-emea": load_of(6, cores / 20)}, 48, 0.8)
    needs = {need.name: need for need in plan.groups()}
    need = needs["cam-emea"]
    assert need.peak is not None
    assert need.short
    assert need.peak.at.hour in {14, 15, 16}
    assert needs["cam-apac"].short is None
    assert needs["cam-apac"].reason == "no history"
    assert any("no history of" in region.reason for region in plan.regions())
    calm = CapacityPlan(catalog, {"cam-emea": load_of(6, cores / 60)}, 48, 0.8).groups()
    assert {need.name: need.short for need in calm}["cam-emea"] is False


def test_updates_go_to_the_quietest_hours_of_their_window(catalog: Catalog) -> None:
    plan = CapacityPlan(catalog, {"cam-emea": load_of(6)}, 48, 0.8)
    [found] = [each for each in plan.updates() if each.group == "cam-emea" and each.deployment == "digits-cameras"]
    assert found.window == "02:00-04:00"
    assert [each.hour for each in found.hours] == sorted([2, 3], reverse=found.hours[0].hour == 3)
    assert found.hours[0].load <= found.hours[-1].load < 0.5


@pytest.mark.parametrize(
    ("window", "inside"),
    [("01:00-05:00", {1, 2, 3, 4}), ("22:30-01:00", {23, 0}), ("10:15-11:15", set()), ("00:00-23:59", set(range(23)))],
)
def test_only_whole_hours_of_a_window_count(window: str, inside: set[int]) -> None:
    assert {hour for hour in range(24) if covers(window, hour)} == inside


def test_loads_add_up_where_all_have_values() -> None:
    start = datetime(2026, 9, 7, tzinfo=UTC)
    one = Load(start, (1.0, 2.0, None, 4.0))
    two = Load(start + HOUR, (10.0, 20.0, 30.0, 40.0))
    assert added([one, two]) == Load(start + HOUR, (12.0, None, 34.0))


def test_the_command_reads_hourly_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cores.csv"
    load = load_of(2)
    with path.open("w", encoding="utf-8") as stream:
        stream.write("time,device_group,cores\n")
        for at, value in enumerate(load.cores):
            stream.write(f"{(load.start + HOUR * at).isoformat()},cam-emea,{value:.3f}\n")
    assert main(["capacity", str(FLEET), "--history", str(path), "--output", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    [group] = [each for each in found["groups"] if each["name"] == "cam-emea"]
    assert group["short"] is False
    assert main(["capacity", str(FLEET), "--history", str(path)]) == 0
    assert "02:00" in capsys.readouterr().out
    path.write_text("time,device_group,cores\n2026-09-07,cam-emea,-1\n", "utf-8")
    assert main(["capacity", str(FLEET), "--history", str(path)]) == 1
    assert "F703" in capsys.readouterr().err
