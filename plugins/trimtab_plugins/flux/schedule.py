"""When to look at which FleetArtifact again. Pure: the clock is an argument.

A key is due at most once: many events before its turn are one look. One that fails waits longer each time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

Key: TypeAlias = tuple[str, str]

FIRST_RETRY = 2.0
LONGEST_RETRY = 300.0
GATHER_SECONDS = 0.2
"""Events come in flocks; a look waits this long for the rest of them."""


@dataclass(slots=True)
class Schedule:
    """Due times by key, in seconds of a monotonic clock."""

    _due: dict[Key, float] = field(default_factory=dict)
    _failures: dict[Key, int] = field(default_factory=dict)

    def changed(self, key: Key, now: float) -> None:
        """Something about the key changed: look soon. A later time than one that stands is not taken."""
        due = now + GATHER_SECONDS
        self._due[key] = min(self._due.get(key, due), due)

    def succeeded(self, key: Key, now: float, interval: float) -> None:
        """Look again after the interval, unless a change wants it sooner."""
        self._failures.pop(key, None)
        self._due.setdefault(key, now + interval)

    def failed(self, key: Key, now: float, interval: float) -> None:
        """Look again sooner than the interval, but each time later than the time before."""
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        pause = min(FIRST_RETRY * 2 ** min(count, 16), LONGEST_RETRY, max(interval, FIRST_RETRY))
        self._due.setdefault(key, now + pause)

    def forget(self, key: Key) -> None:
        """The key is gone."""
        self._due.pop(key, None)
        self._failures.pop(key, None)

    def take(self, now: float) -> Key | None:
        """The key that has been due longest; None where none is. It is not due again until something says so."""
        due = [(at, key) for key, at in self._due.items() if at <= now]
        if not due:
            return None
        _, key = min(due)
        del self._due[key]
        return key

    def next_due(self) -> float | None:
        """The earliest due time."""
        return min(self._due.values(), default=None)

    def waiting(self, now: float) -> int:
        """How many are due."""
        return sum(at <= now for at in self._due.values())
