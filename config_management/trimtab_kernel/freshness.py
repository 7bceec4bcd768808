"""How old a reading is, as part of its value. No data is never "fine" and never "breach"."""

from __future__ import annotations

from typing import TypeAlias

from trimtab_kernel.records import dataclass


@dataclass(frozen=True, slots=True)
class Fresh:
    """The newest sample is recent enough."""

    at: float  # Unix seconds of the newest sample


@dataclass(frozen=True, slots=True)
class Stale:
    """There was data once, but none since this time."""

    since: float  # Unix seconds of the newest sample


@dataclass(frozen=True, slots=True)
class Absent:
    """There is no data at all."""


Freshness: TypeAlias = Fresh | Stale | Absent


def judge_freshness(newest: float | None, now: float, limit: float) -> Freshness:
    """``newest`` and ``now`` in Unix seconds, ``limit`` in seconds.

    A sample from the future by more than ``limit`` is stale too: a clock is wrong, so its age is not known.
    """
    if newest is None:
        return Absent()
    if abs(now - newest) <= limit:
        return Fresh(newest)
    return Stale(newest)
