"""Costs: a bar for each line of a bill, made of its parts, with the bounds of the whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab_config.plots.figures import INK, Plot, money_axis, said
from trimtab_kernel.problems import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

MOST_BARS = 25
_BAR, _AROUND = 0.42, 1.7
_LEGEND_ROOM = 1.6
_COLOURS = (
    "#1c5d99", "#8fb8de", "#e08a00", "#f6c667", "#2a7f62", "#8ccfb1", "#7a4b94", "#c9a7d8", "#8a5a44", "#d3b8a5",
    "#5f6b76", "#c3cad1",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of a bill: its parts by name, the bounds of their sum, and a mark before the sum (``≥``) where some is absent."""

    label: str
    parts: Mapping[str, float]
    low: float
    high: float
    mark: str = ""

    @property
    def value(self) -> float:
        """The sum of the parts."""
        return sum(self.parts.values())


@dataclass(frozen=True, slots=True)
class Chart:
    """The bars of one currency. ``heading`` says what they come to, ``about`` what stands below them."""

    currency: str
    heading: str
    about: str
    bars: tuple[Bar, ...]


def costs_plot(charts: Sequence[Chart], parts: Sequence[str]) -> Plot:
    """A panel for each currency, dearest bar first; what is beyond ``MOST_BARS`` is one bar, so that bars add up to the bill.

    ``parts`` is every part there can be, in the order in which bars are made of them.
    """
    colours = {part: _COLOURS[place % len(_COLOURS)] for place, part in enumerate(parts)}
    cut = [(chart, _cut(chart.bars)) for chart in charts]

    def draw(panels: Sequence[Axes]) -> None:
        for axes, (chart, bars) in zip(panels, cut, strict=False):
            _panel(axes, chart, bars, colours)
        if not cut:
            said(panels[0], "Nothing runs, nothing costs.")
            panels[0].set_axis_off()

    title = "; ".join(chart.heading for chart in charts) or "no costs"
    heights = tuple(_AROUND + _BAR * max(len(bars), 3) for _, bars in cut) or (_AROUND,)
    return Plot(printable(title, 1000), heights, draw)


def _cut(bars: Sequence[Bar]) -> list[Bar]:
    dearest = sorted(bars, key=lambda bar: (-bar.value, bar.label))
    if len(dearest) <= MOST_BARS:
        return dearest
    shown, rest = dearest[: MOST_BARS - 1], dearest[MOST_BARS - 1 :]
    together: dict[str, float] = {}
    for bar in rest:
        for part, value in bar.parts.items():
            together[part] = together.get(part, 0.0) + value
    mark = next((bar.mark for bar in rest if bar.mark), "")
    low, high = sum(bar.low for bar in rest), sum(bar.high for bar in rest)
    return [*shown, Bar(f"{len(rest)} others together", together, low, high, mark)]


def _panel(axes: Axes, chart: Chart, bars: Sequence[Bar], colours: Mapping[str, str]) -> None:
    places = list(range(len(bars)))
    starts = [0.0] * len(bars)
    for part, colour in colours.items():
        widths = [bar.parts.get(part, 0.0) for bar in bars]
        if any(widths):
            axes.barh(places, widths, left=starts, height=0.62, color=colour, label=part)
            starts = [start + width for start, width in zip(starts, widths, strict=True)]
    most = max((bar.high for bar in bars), default=0.0) or 1.0
    for place, bar in enumerate(bars):
        if bar.high > bar.low:
            axes.plot([bar.low, bar.high], [place, place], color=INK, linewidth=1.4, marker="|", markersize=9)
        axes.annotate(
            f"{bar.mark}{bar.value:,.2f}" if bar.value >= 0.01 or not bar.value else f"{bar.mark}{bar.value:.2g}",
            (max(bar.value, bar.high), place),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            fontsize=9.5,
        )
    axes.set_title(chart.heading)
    axes.set_yticks(places, [printable(bar.label, 48) for bar in bars])
    # Where the last bar is long, the legend has room of its own below it.
    room = _LEGEND_ROOM if bars and bars[-1].high > most / 2 else 0.0
    axes.set_ylim(len(bars) - 0.4 + room, -0.6)
    axes.set_xlim(0, most * 1.17)
    axes.grid(visible=False, axis="y")
    money_axis(axes.xaxis, most, chart.about)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right", ncols=2)
