"""Samples in memory, and the kernel's rules evaluated over them. Pure: times come in with the samples and the questions.

Means what the recording rules mean in Prometheus, so that a verdict does not depend on the source:

- The increase of a counter adds up its rises within the window, a fall being a restart from 0, and extends the result
  to the edges of the window as Prometheus does (documentation of ``rate``, "extrapolation"; the arithmetic is described
  at :func:`increase`). A series with one sample in the window gives nothing: what a counter was before it was first
  seen cannot be known.
- "Now" is the newest sample of a series that its target still shows, at most five minutes old.

Memory is bounded. A series keeps the rises of its counter already added up, so that older samples may be thinned out
(to 720 a window) without losing a restart.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trimtab_kernel.freshness import judge_freshness
from trimtab_kernel.rules import RULES, Dropped, Operation, Reading, Sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trimtab_kernel.rules import Query, Rule

LOOKBACK = 300.0
"""Seconds after which a sample is no longer "now" (Prometheus: ``--query.lookback-delta``)."""
MAX_SERIES = 50_000
FUTURE_LIMIT = 600.0
"""Seconds by which a sample may be ahead of its arrival; one further ahead is refused, as in Prometheus."""
_KEPT_PER_WINDOW = 720
_METRICS = frozenset(rule.metric.name for rule in RULES)

SeriesKey = tuple[str, tuple[tuple[str, str], ...]]
"""Metric name, and labels sorted by name, the target's included."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One sample of one series. ``at`` is None where the exporter gave no time of its own."""

    metric: str
    labels: Mapping[str, str]
    value: float
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Points:
    """What the increase of a counter is made of: its first value within the window, and its rise since then."""

    first_at: float
    last_at: float
    count: int
    first_value: float
    rise: float


def increase(points: Points, start: float, end: float) -> float:
    """The increase between ``start`` and ``end``, extended from the samples to the edges as Prometheus does.

    The rise between the first and the last sample is stretched to each edge that is nearer than 1.1 times the average
    distance of the samples; to a farther one by half that distance, since the series seems to begin or end there. At
    the start it is stretched no further than to where the counter would have been 0. ``points.count`` must be at
    least 2.
    """
    sampled = points.last_at - points.first_at
    average = sampled / (points.count - 1)
    before, after = points.first_at - start, end - points.last_at
    if points.rise > 0 and points.first_value >= 0:
        before = min(before, sampled * points.first_value / points.rise)
    near = average * 1.1
    stretched = sampled + (before if before < near else average / 2) + (after if after < near else average / 2)
    return points.rise * stretched / sampled


@dataclass(slots=True)
class _Series:
    labels: dict[str, str]
    current: bool = False
    times: array[float] = field(default_factory=lambda: array("d"))
    values: array[float] = field(default_factory=lambda: array("d"))
    risen: array[float] = field(default_factory=lambda: array("d"))  # rises added up since the series was first seen
    _before: float = math.nan  # the last value that was a number

    def add(self, at: float, value: float, spacing: float) -> None:
        """Take a sample that is newer than the last one; others are ignored."""
        if self.times and at <= self.times[-1]:
            return
        risen = self.risen[-1] if self.risen else 0.0
        if math.isfinite(value):
            if not math.isnan(self._before):
                risen += value - self._before if value >= self._before else value
            self._before = value
        if len(self.times) >= 2 and at - self.times[-2] < spacing:
            self.times[-1], self.values[-1], self.risen[-1] = at, value, risen
        else:
            self.times.append(at)
            self.values.append(value)
            self.risen.append(risen)

    def within(self, start: float, end: float) -> Points | None:
        """The points of a window, both edges included. None where there are fewer than two."""
        low, high = bisect_left(self.times, start), bisect_right(self.times, end) - 1
        if high - low < 1:
            return None
        ends = (self.values[low], self.values[high])
        rise = self.risen[high] - self.risen[low] if all(math.isfinite(value) for value in ends) else math.nan
        return Points(self.times[low], self.times[high], high - low + 1, self.values[low], rise)

    def now(self, at: float) -> float | None:
        """The value that the target shows now."""
        if not self.current or not self.times or not at - LOOKBACK <= self.times[-1] <= at + FUTURE_LIMIT:
            return None
        return self.values[-1]

    def forget(self, before: float) -> None:
        """Drop what no window needs any more."""
        count = bisect_left(self.times, before)
        del self.times[:count], self.values[:count], self.risen[:count]


class SeriesStore:
    """The samples of all targets, as far back as ``longest`` seconds. Not safe for two threads at once."""

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._spacing = longest / _KEPT_PER_WINDOW
        self._series: dict[str, dict[SeriesKey, _Series]] = {name: {} for name in _METRICS}
        self._current: dict[str, list[_Series]] = {}
        self._count = 0
        self._refused = 0

    def __len__(self) -> int:
        """How many series are held."""
        return self._count

    def observe(self, target: str, at: float, observations: Iterable[Observation]) -> None:
        """Take what one scrape of ``target`` at ``at`` brought. Its other series are no longer current.

        ``Observation.labels`` include those of the target. Metrics that no rule is about are ignored.
        """
        self.lose(target)
        current = self._current[target] = []
        for seen in observations:
            table = self._series.get(seen.metric)
            when = at if seen.at is None else seen.at
            if table is None or not at - self._longest <= when <= at + FUTURE_LIMIT:
                continue
            key = (target, tuple(sorted(seen.labels.items())))
            series = table.get(key)
            if series is None:
                if self._count >= MAX_SERIES:
                    self._refused += 1
                    continue
                series = table[key] = _Series(dict(seen.labels))
                self._count += 1
            series.current = True
            current.append(series)
            series.add(when, seen.value, self._spacing)

    def lose(self, target: str) -> None:
        """The target did not answer, or is no longer one: nothing that it showed is "now", what it sent still counts."""
        for series in self._current.pop(target, ()):
            series.current = False

    def forget(self, at: float) -> None:
        """Drop samples that no window reaches at ``at`` or later, and series without any. Call it before each round."""
        self._refused = 0
        for table in self._series.values():
            for key, series in list(table.items()):
                series.forget(at - max(self._longest, LOOKBACK))
                if not series.times:
                    del table[key]
                    self._count -= 1

    def read(self, query: Query, at: float, freshness_limit: float) -> Reading:
        """Evaluate a query at ``at``. Raises ValueError for a window longer than what is kept."""
        rule, window = query.rule, float(query.window.value)
        if rule.operation is Operation.INCREASE and window > self._longest:
            raise ValueError(f"expected a window of at most {self._longest:g} s, got {query.window.text}")
        sums: dict[tuple[str, ...], float] = {}
        newest: dict[tuple[str, ...], float] = {}
        for series in self._series[rule.metric.name].values():
            labels = tuple(series.labels.get(name, "") for name in rule.by)
            if any(series.labels.get(name, "") != wanted for name, wanted in query.match):
                continue
            newest[labels] = max(series.times[-1], newest.get(labels, series.times[-1]))
            value = _value_of(series, rule, at - window, at)
            if value is not None:
                before = sums.get(labels)
                sums[labels] = value if before is None else _combined(rule, before, value)
        samples, dropped = [], []
        for labels, value in sums.items():
            named = dict(zip(rule.by, labels, strict=True))
            if not math.isfinite(value):
                dropped.append(Dropped(named, f"{rule.metric.name} is not a finite number"))
                continue
            freshness = judge_freshness(newest[labels], at, freshness_limit)
            samples.append(Sample(named, value, rule.observations(value), freshness))
        warnings = (f"{self._refused} series beyond {MAX_SERIES} were not kept",) if self._refused else ()
        return Reading(tuple(samples), at, warnings, tuple(dropped))


def _value_of(series: _Series, rule: Rule, start: float, end: float) -> float | None:
    """What one series adds to its rule. None: nothing."""
    match rule.operation:
        case Operation.INCREASE:
            points = series.within(start, end)
            return None if points is None else increase(points, start, end)
        case Operation.COUNT:
            return 1.0 if series.now(end) == 1 else None
        case Operation.MAX:
            return series.now(end)


def _combined(rule: Rule, one: float, other: float) -> float:
    if rule.operation is not Operation.MAX:
        return one + other
    return other if math.isnan(one) else one if math.isnan(other) else max(one, other)
