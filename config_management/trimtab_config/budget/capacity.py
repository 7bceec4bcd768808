"""Capacity: what device groups use hour by hour, against what they have, and the hours in which updates disturb least. Pure.

The history is the cores in use in a group, summed over its devices, once an hour. What a group has is its devices times
the cores of one. Hours are those of the history's clock; update windows are read on the same clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from trimtab_config.budget.forecast import Forecast, Unknown, forecast
from trimtab_config.cost.rates import region_of
from trimtab_config.spec.kinds import EdgeAIDeploymentSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trimtab_config.catalog import Catalog

HOUR = timedelta(hours=1)
DAY = 24
WEEK = 7 * DAY
_WEEKS_FOR_A_WEEK = 5


@dataclass(frozen=True, slots=True)
class Load:
    """The cores in use in a group: one value an hour from ``start`` on, None for an hour without one."""

    start: datetime
    cores: tuple[float | None, ...]

    @property
    def end(self) -> datetime:
        """The hour after the last value."""
        return self.start + HOUR * len(self.cores)


@dataclass(frozen=True, slots=True)
class PeakHour:
    """The hour with the highest forecast."""

    at: datetime
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Need:
    """What a group (or a region: its groups together) will need. ``cores`` are what it has, ``limit`` the share to stay below.

    ``peak`` is None with the ``reason`` where nothing can be said. ``short`` is whether the upper bound of any hour is
    beyond the limit.
    """

    name: str
    region: str
    cores: float
    limit: float
    peak: PeakHour | None
    short: bool | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Curve:
    """What a need was worked out of: the load until now, and the hours after it."""

    need: Need
    load: Load
    forecast: Forecast


@dataclass(frozen=True, slots=True)
class QuietHour:
    """An hour of the day inside a window: the mean forecast of that hour, as a share of the busiest hour's."""

    hour: int
    load: float


@dataclass(frozen=True, slots=True)
class UpdateHours:
    """The hours for updating a deployment on a group, the least busy first; empty with the reason where none is known."""

    group: str
    deployment: str
    window: str
    hours: tuple[QuietHour, ...]
    reason: str = ""


class CapacityPlan:
    """Forecasts for the groups of a catalog; ``loads`` by device group. ``horizon`` in hours."""

    def __init__(self, catalog: Catalog, loads: Mapping[str, Load], horizon: int, limit: float) -> None:
        self._catalog = catalog
        self._loads = loads
        self._horizon = horizon
        self._limit = limit
        self._forecasts = {name: _forecast(load, horizon) for name, load in loads.items()}

    def groups(self) -> tuple[Need, ...]:
        """One need for each group of the tree, by name."""
        return tuple(self._group(name) for name in self._catalog.groups)

    def curves(self) -> tuple[Curve, ...]:
        """Load and forecast of each group that has them, by name."""
        found = []
        for need in self.groups():
            ahead = self._forecasts.get(need.name)
            if isinstance(ahead, Forecast):
                found.append(Curve(need, self._loads[need.name], ahead))
        return tuple(found)

    def regions(self) -> tuple[Need, ...]:
        """One need for each region: the loads of its groups added hour by hour, and forecast as one series."""
        members: dict[str, list[str]] = {}
        for name, group in self._catalog.groups.items():
            members.setdefault(region_of(group), []).append(name)
        return tuple(self._region(region, names) for region, names in sorted(members.items()))

    def updates(self) -> tuple[UpdateHours, ...]:
        """For each deployment of each group, the hours of its update window, the least busy first."""
        found = []
        for name in self._catalog.groups:
            for document in self._catalog.deployments_of(name):
                spec = document.spec
                if not isinstance(spec, EdgeAIDeploymentSpec):
                    continue
                policy = self._catalog.finops_policies.get(spec.finops_policy_ref or "")
                windows = [spec.update.window, None if policy is None else policy.spec.update_window]
                found.append(self._hours(name, document.metadata.name, [each for each in windows if each]))
        return tuple(found)

    def _cores(self, name: str) -> float:
        spec = self._catalog.groups[name].spec
        return float(spec.device_count * spec.hardware.cpu.value)

    def _group(self, name: str) -> Need:
        region = region_of(self._catalog.groups[name])
        load = self._loads.get(name)
        return self._need(name, region, self._cores(name), load, self._forecasts.get(name))

    def _region(self, region: str, names: Sequence[str]) -> Need:
        loads = [self._loads[name] for name in names if name in self._loads]
        cores = sum(self._cores(name) for name in names if name in self._loads)
        if len(loads) < len(names):
            missing = ", ".join(sorted(set(names) - set(self._loads)))
            return Need(
                region, region, sum(map(self._cores, names)), self._limit, None, None, f"no history of {missing}"
            )
        load = added(loads)
        return self._need(region, region, cores, load, _forecast(load, self._horizon))

    def _need(self, name: str, region: str, cores: float, load: Load | None, found: Forecast | Unknown | None) -> Need:
        if load is None or found is None:
            return Need(name, region, cores, self._limit, None, None, "no history")
        if isinstance(found, Unknown):
            return Need(name, region, cores, self._limit, None, None, found.reason.replace("values", "hours"))
        place = max(range(len(found.steps)), key=lambda at: found.steps[at].value)
        step = found.steps[place]
        peak = PeakHour(load.end + HOUR * place, step.value, step.low, step.high)
        short = max(each.high for each in found.steps) > cores * self._limit
        return Need(name, region, cores, self._limit, peak, short)

    def _hours(self, group: str, deployment: str, windows: Sequence[str]) -> UpdateHours:
        window = " and ".join(windows)
        allowed = [hour for hour in range(DAY) if all(covers(each, hour) for each in windows)]
        found = self._forecasts.get(group)
        if not allowed:
            return UpdateHours(group, deployment, window, (), "no whole hour is in all windows")
        if found is None or isinstance(found, Unknown):
            return UpdateHours(group, deployment, window, (), "no history" if found is None else found.reason)
        start = self._loads[group].end
        sums: dict[int, list[float]] = {}
        for place, step in enumerate(found.steps):
            sums.setdefault((start + HOUR * place).hour, []).append(step.value)
        means = {hour: sum(values) / len(values) for hour, values in sums.items()}
        busiest = max(means.values(), default=0.0) or 1.0
        quiet = [QuietHour(hour, means[hour] / busiest) for hour in allowed if hour in means]
        return UpdateHours(group, deployment, window, tuple(sorted(quiet, key=lambda each: (each.load, each.hour))))


def covers(window: str, hour: int) -> bool:
    """Whether the whole hour lies in a window such as ``22:30-05:00``, which may pass midnight."""
    begin, end = ((int(text[:2]) * 60 + int(text[3:])) for text in window.split("-"))
    length = (end - begin) % (DAY * 60)
    return (hour * 60 - begin) % (DAY * 60) + 60 <= length


def added(loads: Sequence[Load]) -> Load:
    """Loads added hour by hour over the time that all of them have; an hour that one lacks is lacking."""
    start = max(load.start for load in loads)
    end = min(load.end for load in loads)
    count = max(int((end - start) / HOUR), 0)
    cut = [load.cores[int((start - load.start) / HOUR) :][:count] for load in loads]
    sums = []
    for values in zip(*cut, strict=True):
        known = [value for value in values if value is not None]
        sums.append(sum(known) if len(known) == len(values) else None)
    return Load(start, tuple(sums))


def _forecast(load: Load, horizon: int) -> Forecast | Unknown:
    """With five weeks of history a season is a week, so that weekends are seen; with less it is a day."""
    season = WEEK if len(load.cores) >= _WEEKS_FOR_A_WEEK * WEEK else DAY
    return forecast(load.cores, season, horizon)
