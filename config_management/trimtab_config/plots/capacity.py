"""Capacity: the cores that groups used, those that they will need, and the line that they should stay below."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.ticker import StrMethodFormatter

from trimtab_config.budget.capacity import DAY, HOUR, WEEK
from trimtab_config.plots.figures import AHEAD, FAINT, INK, LIMIT, PAST, Plot, day_axis, panels, place_of
from trimtab_kernel.problems import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from trimtab_config.budget.capacity import Curve

MOST_PANELS = 12
_HEIGHT = 3.3
_MOST_DATES = 8


def capacity_plot(curves: Sequence[Curve]) -> Plot:
    """A panel for each group that has a forecast, those that will be short first, at most ``MOST_PANELS``."""
    worst = sorted(curves, key=lambda each: (not each.need.short, -_share(each), each.need.name))
    return panels(
        worst,
        MOST_PANELS,
        _HEIGHT,
        _panel,
        title=lambda shown: (
            "; ".join(f"{each.need.name}: {'short' if each.need.short else 'enough'}" for each in shown)
            or "no forecasts"
        ),
        none="No group has a history that is long enough for a forecast.",
        left_out="more groups, none of them nearer its limit, are in the table and not drawn",
    )


def _share(curve: Curve) -> float:
    peak = curve.need.peak
    return peak.high / curve.need.cores if peak is not None and curve.need.cores else 0.0


def _panel(axes: Axes, curve: Curve) -> None:
    need, load, steps = curve.need, curve.load, curve.forecast.steps
    peak = need.peak
    assert peak is not None
    word = "will be short" if need.short else "enough"
    share = f" ({100 * peak.value / need.cores:.0f} %)" if need.cores else ""
    highest = f"peak {peak.value:,.1f} of {need.cores:,.0f} cores{share} on {peak.at:%d %b, %H:%M}"
    axes.set_title(f"{printable(need.name, 30)}: {word}, {highest}", color=LIMIT if need.short else INK)
    past = load.cores[-WEEK:]
    first = load.end - HOUR * len(past)
    before = [place_of(first + HOUR * place) for place in range(len(past))]
    known = [float("nan") if value is None else value for value in past]
    ahead = [place_of(load.end + HOUR * place) for place in range(len(steps))]
    low, high = [step.low for step in steps], [step.high for step in steps]
    percent = f"{100 * curve.forecast.coverage:.0f} %"
    axes.plot(before, known, color=PAST, linewidth=1.8, label="used")
    axes.fill_between(ahead, low, high, color=AHEAD, alpha=0.25, linewidth=0, label=f"{percent} interval")
    axes.plot(
        ahead, [step.value for step in steps], color=AHEAD, linewidth=2.2, linestyle=(0, (3, 1.5)), label="forecast"
    )
    axes.axvline(ahead[0], color=FAINT, linewidth=1.2)
    limit = need.cores * need.limit
    axes.axhline(
        limit,
        color=LIMIT,
        linestyle=(0, (6, 3)),
        linewidth=1.8,
        label=f"{100 * need.limit:.0f} % of the cores: {limit:,.0f}",
    )
    most = max([limit, *high, *(value for value in past if value is not None)])
    axes.set_ylim(0, most * 1.3 or 1.0)
    axes.set_xlim(before[0] if before else ahead[0], ahead[-1])
    span = (len(past) + len(steps)) // DAY
    day_axis(axes.xaxis, None, "%a %d %b", max(1, -(-span // _MOST_DATES)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}" if most >= 10 else "{x:,.2f}"))
    axes.set_ylabel("cores")
    axes.legend(loc="upper left", ncols=4)
