"""Budgets: what was spent day by day, where the month is heading, and the line that is the budget."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from trimtab_config.budget.forecast import Unknown
from trimtab_config.budget.spending import Outlook
from trimtab_config.plots.figures import (
    AHEAD,
    INK,
    LIMIT,
    PAST,
    Plot,
    amount,
    day_axis,
    money_axis,
    panels,
    place_of,
    said,
)
from trimtab_kernel.problems import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from trimtab_config.budget.spending import Standing

MOST_PANELS = 12
_HEIGHT = 3.6
_WORST_FIRST = (Outlook.OVER, Outlook.LIKELY, Outlook.POSSIBLE, Outlook.UNKNOWN, Outlook.UNLIKELY)


def budgets_plot(standings: Sequence[Standing]) -> Plot:
    """A panel for each budget, the worst first, at most ``MOST_PANELS``; the last one says how many are left out."""
    worst = sorted(standings, key=lambda each: _WORST_FIRST.index(each.outlook))
    return panels(
        worst,
        MOST_PANELS,
        _HEIGHT,
        _panel,
        title=lambda shown: "; ".join(f"{each.policy}: {each.outlook.value}" for each in shown) or "no budgets",
        none="No FinOpsPolicy has a budget.",
        left_out="more budgets, none of them worse, are in the table and not drawn",
    )


def _panel(axes: Axes, standing: Standing) -> None:
    budget = float(standing.budget)
    first = place_of(standing.month)
    days = [first + place for place in range((standing.month_end - standing.month).days + 1)]
    heading = f"{printable(standing.policy, 40)}, {standing.month:%Y-%m}: {_outlook(standing)}"
    axes.set_title(heading, color=LIMIT if standing.outlook in {Outlook.OVER, Outlook.LIKELY} else INK)
    axes.axhline(budget, color=LIMIT, linestyle=(0, (6, 3)), linewidth=1.8, label=f"budget {amount(budget)}")
    most = budget
    least = 0.0
    if standing.spent is not None:
        spent = [0.0, *accumulate(float(day) for day in standing.days)]
        axes.plot(days[: len(spent)], spent, color=PAST, linewidth=2.6, label=f"spent {amount(spent[-1])}")
        axes.plot(days[len(spent) - 1], spent[-1], "o", color=PAST, markersize=6)
        most, least = max(most, *spent), min(spent)
        if not isinstance(standing.rest, Unknown):
            most, least = _ahead(axes, standing, days, spent[-1], (most, least))
    if isinstance(standing.rest, Unknown) and standing.outlook is not Outlook.OVER:
        said(axes, f"no forecast: {printable(standing.rest.reason, 200)}")
    axes.set_xlim(days[0], days[-1] + 0.3)
    day_axis(axes.xaxis, (1, 5, 10, 15, 20, 25), "%d %b")
    axes.set_ylim(least * 1.08, most * 1.1 or 1.0)
    money_axis(axes.yaxis, most, standing.currency)
    axes.legend(loc="best")


def _outlook(standing: Standing) -> str:
    if standing.outlook is Outlook.OVER and standing.spent is not None:
        return f"over by {amount(float(standing.spent - standing.budget))} {standing.currency}"
    chance = "" if standing.chance is None else f", chance of overrun {100 * standing.chance:.0f} %"
    return f"{standing.outlook.value}{chance}"


def _ahead(
    axes: Axes, standing: Standing, days: Sequence[float], spent: float, reach: tuple[float, float]
) -> tuple[float, float]:
    """The forecast from today on; how far up and down everything then reaches."""
    rest = standing.rest
    assert not isinstance(rest, Unknown)
    middle = [spent, *(spent + each for each in accumulate(step.value for step in rest.steps))]
    low, high = spent + rest.total.low, spent + rest.total.high
    begin = len(days) - len(middle)
    percent = f"{100 * rest.coverage:.0f} %"
    axes.fill_between([days[begin], days[-1]], [spent, low], [spent, high], color=AHEAD, alpha=0.22, linewidth=0)
    axes.plot(
        days[begin:],
        middle,
        color=AHEAD,
        linewidth=2.2,
        linestyle=(0, (3, 1.5)),
        label=f"forecast {amount(middle[-1])}",
    )
    axes.plot(
        [days[-1]] * 2,
        [low, high],
        color=AHEAD,
        linewidth=5,
        solid_capstyle="butt",
        clip_on=False,
        zorder=4,
        label=f"{percent} interval {amount(low)} to {amount(high)}",
    )
    return max(reach[0], high, *middle), min(reach[1], low, *middle)
