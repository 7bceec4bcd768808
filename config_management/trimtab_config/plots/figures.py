"""Figures: one look for every plot, and the one place where a plot becomes the bytes of a PNG or an SVG.

Same data, same bytes on one machine: no date and no chance gets into a file. Names from a fleet are drawn as they are:
nothing in them is a formula, and control characters are escaped. The fonts are those that matplotlib brings, which have
Latin, Greek and Cyrillic; an SVG keeps text as text, so a viewer's own fonts show the other scripts.
"""

from __future__ import annotations

import io
import math
import textwrap
import warnings
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.dates import DateFormatter, DayLocator, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from trimtab_kernel.problems import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import date

    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

T = TypeVar("T")

INK, FAINT, PAST, AHEAD, LIMIT = "#1f2933", "#d5dbe1", "#1c5d99", "#e08a00", "#b42318"
"""Text; grid; what was; what is forecast; what should not be passed. Told apart without colour too, by their dashes."""
WIDTH = 9.0
_DPI = 150
_WORDS = 78
_LOOK = {
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlepad": 10.0,
    "axes.titlesize": 12.5,
    "axes.titleweight": "bold",
    "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "grid.color": FAINT,
    "grid.linewidth": 0.8,
    "legend.edgecolor": FAINT,
    "legend.fontsize": 9.5,
    "legend.framealpha": 0.92,
    "svg.fonttype": "none",
    "svg.hashsalt": "trimtab",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
}
_SCALES = ((1e12, "trillion "), (1e9, "billion "), (1e6, "million "))


class PlotForm(StrEnum):
    """What a plot is written as."""

    PNG = "png"
    SVG = "svg"


@dataclass(frozen=True, slots=True)
class Plot:
    """Something to draw: panels below each other, each so many inches high, and ``title`` for who cannot see it."""

    title: str
    heights: tuple[float, ...]
    draw: Callable[[Sequence[Axes]], None]


def panels(
    worst: Sequence[T],
    most: int,
    height: float,
    panel: Callable[[Axes, T], None],
    *,
    title: Callable[[Sequence[T]], str],
    none: str,
    left_out: str,
) -> Plot:
    """A panel for each of ``worst`` (the worst first), at most ``most``; the last one says how many are ``left_out``.

    ``title`` gets those that are drawn; ``none`` stands where there is nothing to draw.
    """
    shown = worst[:most]
    others = len(worst) - len(shown)

    def draw(drawn: Sequence[Axes]) -> None:
        for axes, each in zip(drawn, shown, strict=False):
            panel(axes, each)
        if not shown:
            said(drawn[0], none)
            drawn[0].set_axis_off()
        if others:
            drawn[-1].set_xlabel(f"{others} {left_out}")

    return Plot(printable(title(shown), 1000), (height,) * max(len(shown), 1), draw)


def plotted(plot: Plot, form: PlotForm) -> bytes:
    """The plot as a file. A name in a script that the fonts lack is drawn as boxes in a PNG."""
    with warnings.catch_warnings(), style.context(["default", _LOOK]):
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        figure = Figure(figsize=(WIDTH, sum(plot.heights)), dpi=_DPI)
        grid = figure.subplots(len(plot.heights), 1, squeeze=False, gridspec_kw={"height_ratios": plot.heights})
        plot.draw([row[0] for row in grid])
        file = io.BytesIO()
        if form is PlotForm.SVG:
            FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None, "Title": plot.title})  # type: ignore[no-untyped-call] # matplotlib has no types here
        else:
            FigureCanvasAgg(figure).print_png(file, metadata={"Software": None, "Title": _latin(plot.title)})  # type: ignore[no-untyped-call] # matplotlib has no types here
    return file.getvalue()


def money_axis(axis: Axis, most: float, currency: str) -> None:
    """Ticks of an axis that reaches ``most``: thousands apart, and beyond a million in words of its label."""
    scale, word = next(((size, word) for size, word in _SCALES if most >= size), (1.0, ""))
    places = max(0, 1 - math.floor(math.log10(most / scale))) if most > 0 else 1

    def shown(value: float, _place: int) -> str:
        text = f"{value / scale:,.{places}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text

    axis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10], min_n_ticks=3))
    axis.set_major_formatter(FuncFormatter(shown))
    axis.set_label_text(f"{word}{currency}")


def amount(value: float) -> str:
    """An amount in words of a legend: as short as it can be without becoming another one, or nothing."""
    scale, word = next(((size, word) for size, word in _SCALES if abs(value) >= size), (1.0, ""))
    if word:
        return f"{value / scale:,.2f} {word.rstrip()}"
    if abs(value) >= 100 or not value:
        return f"{value:,.0f}"
    return f"{value:,.2f}" if abs(value) >= 0.1 else f"{value:.2g}"


def day_axis(axis: Axis, days: Sequence[int] | None, pattern: str, apart: int = 1) -> None:
    """Ticks at these days of the month, or so many days ``apart``, written by ``pattern`` (as of strftime)."""
    locator = DayLocator(interval=apart) if days is None else DayLocator(bymonthday=days)  # type: ignore[no-untyped-call] # matplotlib has no types here
    axis.set_major_locator(locator)
    axis.set_major_formatter(DateFormatter(pattern))  # type: ignore[no-untyped-call] # matplotlib has no types here


def place_of(when: date) -> float:
    """Where a day or an hour stands on an axis of days."""
    return float(date2num(when))  # type: ignore[no-untyped-call] # matplotlib has no types here


def said(axes: Axes, text: str) -> None:
    """Words in the middle of a panel that has nothing to draw."""
    shown = "\n".join(textwrap.wrap(text, _WORDS))
    paper = {"facecolor": "white", "edgecolor": "none", "alpha": 0.9}
    axes.text(0.5, 0.5, shown, transform=axes.transAxes, ha="center", va="center", color=INK, fontsize=11, bbox=paper)


def _latin(text: str) -> str:
    """Text of a PNG is Latin-1."""
    return text.encode("latin-1", "replace").decode("latin-1")
