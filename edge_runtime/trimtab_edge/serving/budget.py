"""What a model may do on this device: how often in a minute, and how much CPU time and data in a day."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab_edge.serving.usage import DAY, RESERVE, UsageFile

if TYPE_CHECKING:
    from pathlib import Path

    from trimtab_edge.serving.usage import Moment
    from trimtab_kernel.desired import InferenceRules

_SECONDS = 60


class MinuteWindow:
    """At most ``limit`` requests in any 60 seconds, whole seconds of a steady clock being what is counted by."""

    __slots__ = ("_counts", "_second", "_sum", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        # One more than a minute has, so that any 60 seconds lie within what is counted.
        self._counts = [0] * (_SECONDS + 1)
        self._second = 0
        self._sum = 0

    def take(self, now: float) -> float:
        """0 where one more may run now, which is then counted; else the seconds until one may."""
        second = int(now)
        passed = min(second - self._second, len(self._counts))
        for step in range(1, passed + 1):
            place = (self._second + step) % len(self._counts)
            self._sum -= self._counts[place]
            self._counts[place] = 0
        self._second = max(second, self._second)
        if self._sum < self.limit:
            self._counts[self._second % len(self._counts)] += 1
            self._sum += 1
            return 0.0
        for age in range(_SECONDS, -1, -1):
            if self._counts[(self._second - age) % len(self._counts)]:
                return max(self._second - age + len(self._counts) - now, 0.001)
        return 1.0  # unreachable: the limit is at least 1, so something was counted


@dataclass(frozen=True, slots=True)
class Constraint:
    """Why a request is not run here now, and the seconds until it may be. ``reason``: see OFFLOAD_REASONS, and data."""

    reason: str
    retry_after: float


class Budget:
    """One model's budgets, whatever its version. Used on one event loop."""

    def __init__(self, rules: InferenceRules, path: Path | None, moment: Moment) -> None:
        """``path``: the file that keeps what was used today; None keeps it in memory only."""
        self.rules = rules
        self._path = path
        self._minute = MinuteWindow(rules.maximum_per_minute) if rules.maximum_per_minute is not None else None
        self._cpu = math.inf if rules.daily_cpu_seconds is None else float(rules.daily_cpu_seconds)
        self._data = math.inf if rules.daily_data is None else float(rules.daily_data)
        self.usage: UsageFile | None = None
        if rules.daily_cpu_seconds is not None or rules.daily_data is not None:
            self.usage = UsageFile(
                path,
                moment,
                cpu_reserve=RESERVE * self._cpu if self._cpu < math.inf else 0.0,
                data_reserve=RESERVE * self._data if self._data < math.inf else 0.0,
            )

    def changed(self, rules: InferenceRules, moment: Moment) -> Budget:
        """The budget after the fleet changed its mind; what was used today stays used."""
        if rules == self.rules:
            return self
        self.close()
        return Budget(rules, self._path, moment)

    def check(self, moment: Moment, data: int) -> Constraint | None:
        """Whether a request whose inputs have ``data`` bytes may run now; one that may is counted for the minute.

        A request is let in while any of the day's budget is left, so the last one may exceed it by what it takes.
        """
        if self.usage is not None:
            self.usage.at(moment)
            used = self.usage
            if used.data + data > self._data or used.data >= self._data:
                return Constraint("data", DAY - moment.wall % DAY)
            if used.cpu_seconds >= self._cpu:
                return Constraint("cpu", DAY - moment.wall % DAY)
        if self._minute is not None:
            wait = self._minute.take(moment.steady)
            if wait > 0:
                return Constraint("frequency", wait)
        return None

    def use(self, cpu_seconds: float, data: int) -> None:
        """A request took so much, its output included in ``data``."""
        if self.usage is not None:
            self.usage.use(cpu_seconds, data)

    def close(self) -> None:
        """Write down exactly what was used."""
        if self.usage is not None:
            self.usage.close()
