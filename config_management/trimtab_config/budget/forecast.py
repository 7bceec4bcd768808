"""A seasonal forecast whose intervals hold what they promise. Pure; numpy is arithmetic here, nothing more.

Point forecast: the value at a phase of the season is the weighted mean of that phase in the last ``SEASONS`` seasons
(weights fall by ``DECAY`` a season), plus what the last value was off that mean, fading as an autoregression of order
one whose coefficient is that of the last two seasons' deviations. One configuration for every series.

Intervals: adaptive conformal inference (Gibbs and Candès, "Adaptive Conformal Inference Under Distribution Shift",
NeurIPS 2021). From every origin in the past the same forecast is made with what was known there; the quantiles of the
last ``WINDOW`` errors at a horizon bound the next one, and the share that is left outside moves by ``STEP`` with every
error that becomes known, so that coverage returns to what was asked when the series changes its ways. The sum over the
horizon has errors of its own, which keeps how the days of a month are off together.

Sums share steps with their neighbours: of a hundred sums over thirty days little more than three are independent. Where
these are too few for an order statistic that far out to exist, the interval is Student's: the root mean square of the sums'
errors times the quantile of t. Two sums over h steps, k steps apart, have the correlation 1 - k/h, and the degrees of
freedom of n of them are n^2 over the sum of the squares of all their correlations (Satterthwaite).

What was never seen cannot be measured: with fewer than ``LEAST_ERRORS`` past errors there is no interval and no guess.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DECAY = 0.6
SEASONS = 6
WINDOW = 336
STEP = 0.02
LEAST_ERRORS = 20
_LEAST_OUTSIDE, _MOST_OUTSIDE = 0.005, 0.6
_MOST_PERSISTENCE = 0.98
_ANGLES = np.linspace(0.0, math.pi / 2, 2001)
MOST_VALUES = 100_000
MOST_HORIZON = 2_000


@dataclass(frozen=True, slots=True)
class Bounds:
    """A forecast value and the interval that holds the share of outcomes that was asked for."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """The steps after the last value, and their sum. ``outcomes`` are sums as past errors would have them, sorted.

    Where independent past sums are few, ``outcomes`` are as many quantiles of their Student distribution.
    """

    steps: tuple[Bounds, ...]
    total: Bounds
    outcomes: tuple[float, ...]
    coverage: float

    def chance_above(self, limit: float) -> float:
        """The chance that the sum is above ``limit``: never 0 or 1, since no number of past errors shows that."""
        above = sum(1 for outcome in self.outcomes if outcome > limit)
        return (above + 1) / (len(self.outcomes) + 2)


@dataclass(frozen=True, slots=True)
class Unknown:
    """There is no forecast; why, and what it would take."""

    reason: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many of the outcomes at one horizon (steps ahead; 0 is the sum over all) were in their intervals."""

    horizon: int
    inside: int
    judged: int

    @property
    def share(self) -> float:
        """0 to 1; NaN where nothing was judged."""
        return self.inside / self.judged if self.judged else math.nan


def forecast(values: Sequence[float | None], season: int, horizon: int, *, coverage: float = 0.8) -> Forecast | Unknown:
    """The next ``horizon`` steps of a series at equal steps; None is a gap. ``season`` is the steps of one season.

    Where no value was ever negative no bound is.
    """
    series = _series(values)
    needed = needed_values(season, horizon)
    if len(series) < needed:
        return Unknown(f"{len(series)} values are too few: {needed} are needed to look {horizon} ahead")
    points = _points(series, season, horizon)
    if np.isnan(points[-1]).any():
        return Unknown("the last seasons have gaps at the same places")
    errors = _errors(series, points)
    floor = 0.0 if np.nanmin(series) >= 0 else -math.inf
    steps = []
    for ahead in range(horizon):
        width = _Adaptive(errors[:, ahead], ahead + 1, coverage).at_end()
        if width is None:
            return Unknown(_few(errors[:, ahead], ahead + 1))
        steps.append(_bounds(float(points[-1, ahead]), width, floor))
    sums = errors.sum(axis=1)
    width = _Adaptive(sums, horizon, coverage, overlap=horizon).at_end()
    if width is None:
        return Unknown(_few(sums, horizon))
    whole = float(points[-1].sum())
    known = sums[~np.isnan(sums)][-WINDOW:]
    outcomes = tuple(sorted(max(whole + error, floor) for error in _spread(known, horizon, 1 - coverage)))
    return Forecast(tuple(steps), _bounds(whole, width, floor), outcomes, coverage)


def backtest(
    values: Sequence[float | None], season: int, horizon: int, *, held_back: float = 0.5, coverage: float = 0.8
) -> tuple[Coverage, ...]:
    """The coverage of every horizon, and of the sum (horizon 0), on the last ``held_back`` of a series.

    Each interval is that of :func:`forecast` at its origin: it knows nothing of what came after.
    """
    series = _series(values)
    points = _points(series, season, horizon)
    errors = _errors(series, points)
    first = int(len(series) * (1 - held_back))
    found = []
    for ahead in range(horizon):
        found.append(Coverage(ahead + 1, *_Adaptive(errors[:, ahead], ahead + 1, coverage).judged_from(first)))
    found.append(Coverage(0, *_Adaptive(errors.sum(axis=1), horizon, coverage, overlap=horizon).judged_from(first)))
    return tuple(found)


def needed_values(season: int, horizon: int) -> int:
    """How many values a forecast takes: two seasons to start from, the horizon, and errors to learn from."""
    return 2 * season + horizon + LEAST_ERRORS


def _few(errors: Floats, ahead: int) -> str:
    count = int((~np.isnan(errors)).sum())
    return f"{count} past errors at {ahead} steps ahead are too few: {LEAST_ERRORS} are needed"


def _bounds(value: float, width: tuple[float, float], floor: float) -> Bounds:
    low, high = width
    return Bounds(max(value, floor), max(value + low, floor), max(value + high, floor))


def _series(values: Sequence[float | None]) -> Floats:
    if len(values) > MOST_VALUES:
        values = values[-MOST_VALUES:]
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def _points(series: Floats, season: int, horizon: int) -> Floats:
    """Forecasts from every origin (rows: the last value known) for every step ahead (columns)."""
    count = len(series)
    if season < 1 or not 1 <= horizon <= MOST_HORIZON:
        raise ValueError(f"expected a season >= 1 and a horizon of 1 to {MOST_HORIZON}, got {season} and {horizon}")
    farthest = -(-horizon // season)
    # phases[f][t]: the mean at t's phase of the seasons that are known f seasons before t.
    phases = [_phase(series, season, ahead, count + horizon) for ahead in range(1, farthest + 1)]
    off = series - phases[0][:count]
    persistence = _persistence(off, 2 * season)
    now = np.where(np.isnan(off), 0.0, off)
    found = np.empty((count, horizon))
    origins = np.arange(count)
    for ahead in range(1, horizon + 1):
        phase = phases[-(-ahead // season) - 1]
        found[:, ahead - 1] = phase[origins + ahead] + now * persistence**ahead
    found[: min(2 * season, count)] = math.nan
    return found


def _phase(series: Floats, season: int, ahead: int, length: int) -> Floats:
    total = np.zeros(length)
    weights = np.zeros(length)
    for back in range(SEASONS):
        shift = season * (ahead + back)
        if shift >= length:
            break
        past = np.full(length, math.nan)
        count = min(len(series), length - shift)
        past[shift : shift + count] = series[:count]
        known = ~np.isnan(past)
        weight = DECAY**back
        total[known] += weight * past[known]
        weights[known] += weight
    mean: Floats = np.divide(total, weights, out=np.full(length, math.nan), where=weights > 0)
    return mean


def _persistence(off: Floats, window: int) -> Floats:
    """The coefficient of an autoregression of order one over the last ``window`` deviations, at every origin."""
    earlier, later = off[:-1], off[1:]
    known = ~(np.isnan(earlier) | np.isnan(later))
    product = np.where(known, earlier * later, 0.0)
    square = np.where(known, earlier * earlier, 0.0)

    def over(terms: Floats) -> Floats:
        summed = np.concatenate(([0.0, 0.0], np.cumsum(terms)))[: len(off) + 1]
        ends = np.arange(1, len(off) + 1)
        windows: Floats = summed[ends] - summed[np.maximum(ends - window, 0)]
        return windows

    products, squares = over(product), over(square)
    ratio = np.divide(products, squares, out=np.zeros(len(off)), where=squares > 1e-12 * max(1.0, float(square.max(initial=0.0))))  # fmt: skip
    found: Floats = np.clip(ratio, 0.0, _MOST_PERSISTENCE)
    return found


def _errors(series: Floats, points: Floats) -> Floats:
    """Outcome minus forecast; NaN where one of them is not known."""
    count, horizon = points.shape
    padded = np.concatenate((series, np.full(horizon, math.nan)))
    places = np.arange(count)[:, None] + np.arange(1, horizon + 1)[None, :]
    found: Floats = padded[places] - points
    return found


class _Adaptive:
    """Intervals at one horizon, one origin after another; an error is known ``ahead`` steps after its origin."""

    def __init__(self, errors: Floats, ahead: int, coverage: float, *, overlap: int = 1) -> None:
        self._overlap = overlap
        self._errors = errors
        self._ahead = ahead
        self._asked = 1 - coverage

    def at_end(self) -> tuple[float, float] | None:
        """The interval around a forecast from the last value; None where too few errors are known."""
        width, _, _ = self._run(len(self._errors))
        return width

    def judged_from(self, first: int) -> tuple[int, int]:
        """How many errors of origins from ``first`` on were inside, and how many there were."""
        _, inside, judged = self._run(first)
        return inside, judged

    def _run(self, first: int) -> tuple[tuple[float, float] | None, int, int]:
        errors = self._errors
        outside = self._asked
        inside: list[bool | None] = []
        hits = judged = 0
        width: tuple[float, float] | None = None
        known: list[float] = []
        for origin in range(len(errors)):
            newest = origin - self._ahead  # the last origin whose outcome is known here
            if newest >= 0:
                error = float(errors[newest])
                if not math.isnan(error):
                    known.append(error)
                was = inside[newest]
                if was is not None:
                    missed = 0.0 if was else 1.0
                    outside = min(max(outside + STEP * (self._asked - missed), _LEAST_OUTSIDE), _MOST_OUTSIDE)
            width = None
            if len(known) >= LEAST_ERRORS and (origin == len(errors) - 1 or not math.isnan(errors[origin])):
                width = _quantiles(known[-WINDOW:], outside, self._overlap)
            now = float(errors[origin])
            if width is None or math.isnan(now):
                inside.append(None)
                continue
            hit = width[0] <= now <= width[1]
            inside.append(hit)
            if origin >= first:
                judged += 1
                hits += hit
        return width, hits, judged


def _quantiles(errors: list[float], outside: float, overlap: int) -> tuple[float, float]:
    """Bounds that leave half of ``outside`` at each end, of finitely many errors (the conformal order statistic).

    Sums over ``overlap`` steps share steps with their neighbours, so so many of them count as one; where there is no such
    order statistic among them, the bounds are Student's.
    """
    count = len(errors)
    rank = math.ceil((1 + overlap / count) * (1 - outside / 2) * count)
    if overlap > 1 and rank > count:
        bound = _student(np.array(errors), overlap, 1 - outside / 2)
        return -bound, bound
    ordered = np.sort(np.array(errors))
    rank = min(rank, count)
    return float(ordered[count - rank]), float(ordered[rank - 1])


def _spread(errors: Floats, overlap: int, outside: float) -> list[float]:
    """The errors that are to be reckoned with: those of the past, or of Student's distribution where these are few."""
    count = len(errors)
    if overlap > 1 and (1 + overlap / count) * (1 - outside / 2) > 1:
        return [_student(errors, overlap, (place + 0.5) / count) for place in range(count)]
    return [float(error) for error in errors]


def _student(errors: Floats, overlap: int, share: float) -> float:
    """What ``share`` of the errors of sums over ``overlap`` steps stay below, were they normal around nothing."""
    scale = math.sqrt(float(np.mean(np.square(errors))))
    freedom = _freedom(len(errors), overlap)
    return math.copysign(scale * _t_quantile(max(share, 1 - share), freedom), share - 0.5)


@lru_cache(maxsize=1024)
def _freedom(count: int, overlap: int) -> float:
    """Degrees of freedom of the mean square of so many overlapping sums."""
    apart = np.arange(1, min(count, overlap))
    shared = float((2 * (count - apart) * (1 - apart / overlap) ** 2).sum())
    return round(count**2 / (count + shared), 1)


@lru_cache(maxsize=1024)
def _t_angles(freedom: float) -> Floats:
    """Student's distribution between 0 and infinity: with x = sqrt(freedom) tan(angle) its density is cos(angle)^(freedom - 1)."""
    density = np.cos(_ANGLES) ** (freedom - 1)
    below = np.concatenate(([0.0], np.cumsum((density[1:] + density[:-1]) / 2)))
    found: Floats = below / below[-1]
    return found


def _t_quantile(share: float, freedom: float) -> float:
    """The quantile of Student's distribution for a share of 0.5 to 1, to about four digits; ``freedom`` at least 1."""
    angle = float(np.interp(2 * share - 1, _t_angles(freedom), _ANGLES))
    return math.sqrt(freedom) * math.tan(angle)
