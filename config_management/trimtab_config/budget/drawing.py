"""A drawing of budgets: what was spent day by day, where the month is heading, and the line that is the budget. Pure SVG."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from trimtab_config.budget.forecast import Unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trimtab_config.budget.spending import Standing

_WIDTH, _HEIGHT = 720, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 96, 24, 44, 34
_INK, _FAINT, _SPENT, _AHEAD, _LIMIT = "#1f2933", "#cbd2d9", "#1c6ea4", "#8ab8d8", "#b42318"


def budgets_svg(standings: Sequence[Standing]) -> str:
    """One panel for each budget, below each other. Every panel says in words what it shows."""
    height = _HEIGHT * max(len(standings), 1)
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}"'
            ' font-family="sans-serif" font-size="12" role="img">'
        ),
        f"<title>{escape(_title(standings))}</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    for place, standing in enumerate(standings):
        parts += [f'<g transform="translate(0 {_HEIGHT * place})">', *_panel(standing), "</g>"]
    if not standings:
        parts.append(f'<text x="{_LEFT}" y="{_TOP}" fill="{_INK}">No FinOpsPolicy has a budget.</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _title(standings: Sequence[Standing]) -> str:
    return "; ".join(f"{each.policy}: {each.outlook.value}" for each in standings) or "no budgets"


def _panel(standing: Standing) -> list[str]:
    days = (standing.month_end - standing.month).days
    budget = float(standing.budget)
    spent = [0.0, *accumulate(float(day) for day in standing.days)] if standing.spent is not None else []
    rest = standing.rest
    middle: list[float] = []
    low = high = None
    if spent and not isinstance(rest, Unknown):
        middle = [spent[-1], *(spent[-1] + each for each in accumulate(step.value for step in rest.steps))]
        low, high = spent[-1] + rest.total.low, spent[-1] + rest.total.high
    most = max([budget, *spent, *middle, *([] if high is None else [high])]) * 1.08 or 1.0
    least = min([0.0, *spent, *middle, *([] if low is None else [low])])

    def at(day: float, value: float) -> str:
        x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * day / days
        y = _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * (value - least) / (most - least)
        return f"{x:.1f},{y:.1f}"

    def height(value: float) -> str:
        return at(0, value).split(",")[1]

    chance = "" if standing.chance is None else f", chance of overrun {100 * standing.chance:.0f} %"
    heading = f"{standing.policy} {standing.month:%Y-%m}: {standing.outlook.value}{chance}"
    found = [
        f'<text x="{_LEFT}" y="20" fill="{_INK}" font-size="14" font-weight="bold">{escape(heading)}</text>',
        f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{height(0)}" y2="{height(0)}" stroke="{_FAINT}"/>',
        (
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{height(budget)}" y2="{height(budget)}" stroke="{_LIMIT}"'
            ' stroke-dasharray="6 4"/>'
        ),
        f'<text x="{_LEFT - 8}" y="{height(budget)}" text-anchor="end" fill="{_LIMIT}">{budget:,.0f}</text>',
        f'<text x="{_LEFT - 8}" y="{height(0)}" text-anchor="end" fill="{_INK}">0 {escape(standing.currency)}</text>',
        *(
            f'<text x="{at(day, 0).split(",")[0]}" y="{_HEIGHT - 12}" text-anchor="middle" fill="{_INK}">{day + 1}</text>'
            for day in range(0, days, 5)
        ),
    ]
    if isinstance(rest, Unknown):
        found.append(f'<text x="{_LEFT}" y="36" fill="{_INK}">no forecast: {escape(rest.reason)}</text>')
    if middle and low is not None and high is not None:
        begin = len(spent) - 1
        fan = f"{at(begin, spent[-1])} {at(days, high)} {at(days, low)}"
        found.append(f'<polygon points="{fan}" fill="{_AHEAD}" fill-opacity="0.35"/>')
        points = " ".join(at(begin + place, value) for place, value in enumerate(middle))
        found.append(f'<polyline points="{points}" fill="none" stroke="{_AHEAD}" stroke-width="2"/>')
    if spent:
        points = " ".join(at(place, value) for place, value in enumerate(spent))
        found.append(f'<polyline points="{points}" fill="none" stroke="{_SPENT}" stroke-width="2.5"/>')
    return found
