"""Bills as charts: each line of an estimate or of a measured bill one bar, a chart for each currency."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimtab_config.plots.costs import Bar, Chart
from trimtab_config.text.costs import money_text
from trimtab_kernel.money import HOURS_PER_MONTH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trimtab_config.cost.report import CostReport
    from trimtab_config.cost.slices import Dimension, Slice
    from trimtab_kernel.money import Figure


def charts_of(report: CostReport, by: Dimension | None, cut: Sequence[Slice]) -> tuple[Chart, ...]:
    """The charts of an estimate: its rows, or its slices where it was cut. Their bars add up to the report's totals."""
    found = []
    for total in report.totals:
        if by is None:
            rows = [row for row in report.rows if row.currency == total.currency]
            bars = [
                _bar(f"{row.group}  {row.model} {row.version}", row.parts, row.total, whole=not row.absent)
                for row in rows
            ]
        else:
            own = [each for each in cut if each.total.currency == total.currency]
            bars = [
                _bar(
                    each.key or f"(no {by.value})", each.total.parts, each.total.figure, whole=not each.total.incomplete
                )
                for each in own
            ]
        mark = "≥ " if total.incomplete else ""
        low, high = money_text(total.figure.low), money_text(total.figure.high)
        bounds = f"at least {low}" if total.incomplete else f"{low} to {high}"  # an unknown part has no upper bound
        lines = "" if by is None else f" by {by.value}"
        heading = f"{mark}{money_text(total.figure.value)} {total.currency} a month{lines}"
        about = f"{total.currency} in {HOURS_PER_MONTH} hours; lines from low to high; together {bounds}"
        found.append(Chart(total.currency, heading, about, tuple(bars)))
    return tuple(found)


def _bar(label: str, parts: Mapping[str, Figure], total: Figure, *, whole: bool) -> Bar:
    values = {part: float(figure.value) for part, figure in parts.items()}
    return Bar(label, values, float(total.low), float(total.high), "" if whole else "≥ ")
