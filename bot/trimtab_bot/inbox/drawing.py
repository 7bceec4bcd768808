"""The evidence as a picture: an interval against its limit, as inline SVG made of numbers only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trimtab_bot.inbox.interface import Gauge

WIDTH = 640.0
MARGIN = 24.0


@dataclass(frozen=True, slots=True)
class Drawing:
    """Positions (SVG user units, x to the right) of everything in the picture, and its scale's ticks."""

    low: float
    high: float
    value: float
    limit: float
    good_from: float
    good_width: float
    bad_from: float
    bad_width: float
    ticks: tuple[tuple[float, str], ...]


def draw(gauge: Gauge) -> Drawing | None:
    """Lay out ``gauge`` on a linear scale that shows interval and limit. None where a number is not finite."""
    numbers = (gauge.value, gauge.low, gauge.high, gauge.limit)
    if not all(math.isfinite(number) for number in numbers):
        return None
    top = max(numbers) * 1.15 or 1.0
    bottom = min(0.0, min(numbers) * 1.15)
    scale = (WIDTH - 2 * MARGIN) / (top - bottom)

    def x(number: float) -> float:
        return round(MARGIN + (number - bottom) * scale, 1)

    limit, left, right = x(gauge.limit), MARGIN, WIDTH - MARGIN
    good = (limit, right) if gauge.good_is_high else (left, limit)
    bad = (left, limit) if gauge.good_is_high else (limit, right)
    step = _nice_step((top - bottom) / 5)
    first = math.ceil(bottom / step)
    ticks = tuple((x(i * step), _tick_text(i * step, step)) for i in range(first, math.floor(top / step) + 1))
    return Drawing(
        low=x(gauge.low),
        high=x(gauge.high),
        value=x(gauge.value),
        limit=limit,
        good_from=good[0],
        good_width=round(good[1] - good[0], 1),
        bad_from=bad[0],
        bad_width=round(bad[1] - bad[0], 1),
        ticks=ticks,
    )


def _nice_step(raw: float) -> float:
    """1, 2 or 5 times a power of ten, at least ``raw``."""
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= raw * (1 - 1e-9))


def _tick_text(value: float, step: float) -> str:
    places = max(0, -math.floor(math.log10(step)))
    return f"{value:.{places}f}" if places <= 6 else f"{value:.1e}"
