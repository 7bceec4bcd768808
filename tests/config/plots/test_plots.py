"""Plots: what the table says is in the picture, hostile names stay text, and nothing to draw is said in words."""

from __future__ import annotations

import re
import struct
import xml.etree.ElementTree as ET
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from bench.forecast import simulated
from tests.config.small_fleet import catalog_of, deployment, group, model, on_device, phones, price_book
from trimtab_config.budget.capacity import CapacityPlan, Load
from trimtab_config.budget.forecast import Forecast, Unknown, forecast
from trimtab_config.budget.spending import Outlook, Standing
from trimtab_config.cli import main
from trimtab_config.cli.fleet import open_fleet
from trimtab_config.cost.estimate import estimate
from trimtab_config.cost.report import PARTS
from trimtab_config.plots.bills import charts_of
from trimtab_config.plots.budgets import MOST_PANELS, budgets_plot
from trimtab_config.plots.capacity import capacity_plot
from trimtab_config.plots.costs import MOST_BARS, Bar, Chart, costs_plot
from trimtab_config.plots.figures import Plot, PlotForm, amount, plotted

FLEET = Path(__file__).parents[3] / "examples/fleet"
MONTH = date(2026, 10, 1)


def words(plot: Plot) -> list[str]:
    """Every text of the plot as an SVG, which must be sound XML."""
    drawn = ET.fromstring(plotted(plot, PlotForm.SVG).decode())  # noqa: S314 - ours
    return ["".join(each.itertext()) for each in drawn.iter("{http://www.w3.org/2000/svg}text")]


def size_of(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    return int(width), int(height)


def standing(policy: str, rest: Forecast | Unknown, outlook: Outlook, spent: Decimal | None = Decimal(95)) -> Standing:
    days = (Decimal(5),) * 19 if spent is not None else ()
    chance = None if isinstance(rest, Unknown) else 0.4
    until = MONTH + timedelta(days=19)
    return Standing(policy, "EUR", Decimal(150), MONTH, until, spent, days, rest, chance, outlook)


def test_a_budget_is_drawn_with_its_line_its_forecast_and_its_interval() -> None:
    rest = forecast([value / 200 for value in simulated(4)[:200]], 7, 12)
    assert isinstance(rest, Forecast)
    plot = budgets_plot([standing("vision $x^2$ <b>&\u202e", rest, Outlook.POSSIBLE)])
    found = words(plot)
    assert "vision $x^2$ <b>&\\u202e, 2026-10: at risk, chance of overrun 40 %" in found, "a name is no formula"
    assert {"EUR", "budget 150", "spent 95.00"} <= set(found)
    low, high = 95 + rest.total.low, 95 + rest.total.high
    assert f"80 % interval {amount(low)} to {amount(high)}" in found
    width, height = size_of(plotted(plot, PlotForm.PNG))
    assert width >= 1200
    assert height >= 400


def test_what_is_unknown_is_written_and_the_worst_budgets_are_drawn_where_there_are_many() -> None:
    unknown = Unknown("no charge of the history falls under this policy")
    many = [standing(f"fine-{place}", unknown, Outlook.UNLIKELY) for place in range(MOST_PANELS)]
    late = standing("late", unknown, Outlook.OVER, Decimal(200))
    plot = budgets_plot([*many, standing("blind", unknown, Outlook.UNKNOWN, None), late])
    assert len(plot.heights) == MOST_PANELS
    assert plot.title.startswith("late: over; blind: unknown; fine-0: within")
    found = words(budgets_plot([late, standing("blind", unknown, Outlook.UNKNOWN, None)]))
    assert f"no forecast: {unknown.reason}" in " ".join(found)
    assert "late, 2026-10: over by 50.00 EUR" in found
    assert any("2 more budgets" in each for each in words(plot))
    assert "No FinOpsPolicy has a budget." in words(budgets_plot([]))


def test_bars_add_up_to_the_bill_however_many_lines_it_has() -> None:
    bars = tuple(Bar(f"m{place}", {"compute": 1.0, "data": place * 1.0}, 0.5, place + 2.0) for place in range(40))
    plot = costs_plot([Chart("EUR", "820.00 EUR a month", "EUR", bars), Chart("USD", "none", "USD", ())], PARTS)
    found = words(plot)
    assert f"{40 - MOST_BARS + 1} others together" in found
    shown = [float(text) for text in found if re.fullmatch(r"[0-9]+\.[0-9]{2}", text)]
    assert sum(shown) == pytest.approx(sum(bar.value for bar in bars))
    assert {"compute", "data"} <= set(found)
    assert "energy" not in found


def test_a_bill_with_an_unknown_part_has_no_upper_bound_in_its_picture_either() -> None:
    kiosks = (group(), model(), deployment(), price_book())
    for tree, whole in ((kiosks, True), ((*kiosks, phones(), on_device()), False)):
        report, _ = estimate(catalog_of(*tree))
        assert report.totals[0].incomplete is not whole
        (chart,) = charts_of(report, None, ())
        assert ("together at least" in chart.about) is not whole


@pytest.mark.parametrize("most", [0.0, 3e-7, 0.02, 9.5, 4e5, 7.5e6, 9e13])
def test_amounts_of_any_size_have_ticks_that_differ(most: float) -> None:
    plot = costs_plot([Chart("EUR", "", "EUR", (Bar("a", {"compute": most}, most / 2, most),))], PARTS)
    found = words(plot)
    ticks = [text for text in found[: found.index("a")] if text.replace(",", "").replace(".", "").isdigit()]
    assert len(ticks) == len(set(ticks)) >= 3, found
    assert max(map(len, ticks)) <= 9
    assert any(text in {"EUR", "million EUR", "trillion EUR"} for text in found)


def test_no_amount_of_a_legend_becomes_nothing() -> None:
    shown = [amount(value) for value in (0.0, 0.0029, 0.5, 95, 1234.4, -50.0, 2.5e6, 9.9e12)]
    assert shown == ["0", "0.0029", "0.50", "95.00", "1,234", "-50.00", "2.50 million", "9.90 trillion"]


def test_capacity_is_drawn_for_groups_with_a_forecast_those_that_will_be_short_first() -> None:
    catalog = open_fleet(FLEET)
    start = datetime(2026, 9, 7, tzinfo=UTC)
    shape = [10.0 + (hour % 24) for hour in range(24 * 21)]
    cores = float(catalog.groups["kiosk-latam"].spec.device_count * 4)
    loads = {"cam-emea": Load(start, tuple(shape)), "kiosk-latam": Load(start, tuple(cores * x / 20 for x in shape))}
    plot = capacity_plot(CapacityPlan(catalog, {**loads, "cam-apac": Load(start, (1.0,))}, 48, 0.8).curves())
    assert plot.title == "kiosk-latam: short; cam-emea: enough"
    found = words(plot)
    assert any(
        re.fullmatch(r"kiosk-latam: will be short, peak .* cores .* on [0-9]+ Sep, 23:00", each) for each in found
    )
    assert "cores" in found
    assert "No group has a history that is long enough for a forecast." in words(capacity_plot(()))


def test_the_command_draws_what_it_prints_and_equal_input_gives_equal_bytes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["cost", str(FLEET), "--by", "model", "--plot"]
    pictures = [tmp_path / name for name in ("a.svg", "b.SVG", "c.png")]
    assert all(main([*command, str(picture)]) == 0 for picture in pictures)
    printed = capsys.readouterr().out
    assert pictures[0].read_bytes() == pictures[1].read_bytes()
    size_of(pictures[2].read_bytes())
    text = pictures[0].read_text("utf-8")
    lines = [line.split() for line in printed.splitlines() if line.startswith(("digits", "triage ", "claims"))]
    assert len(lines) == 3 * len(pictures)
    assert all(line[2] in text for line in lines), "amounts of the table are beside the bars"
    assert main([*command, str(tmp_path / "x.jpeg")]) == 1
    assert "ends in .png or .svg" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == sorted(pictures), "no half of a file stays"
