"""The verdict rule: one for bot, gates and device.

Breach = the whole interval is beyond the limit; fine = the whole interval is within it; anything else (the interval
straddles the limit, the sample is below the minimum, the data are stale or absent) is unknown. Unknown never rolls
anything back and never lets anything pass.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from trimtab_kernel.freshness import Fresh, Freshness
from trimtab_kernel.records import dataclass

if TYPE_CHECKING:
    from trimtab_kernel.intervals import Interval


class Verdict(Enum):
    """What the evidence says of a limit."""

    BREACH = "breach"
    FINE = "fine"
    UNKNOWN = "unknown"


class Side(Enum):
    """On which side of the limit good values lie."""

    AT_LEAST = "at least"
    AT_MOST = "at most"


@dataclass(frozen=True, slots=True)
class Limit:
    """A bound from a policy. ``minimum_n`` is the least sample that may decide anything."""

    side: Side
    bound: float
    minimum_n: int


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with its reason in one lowercase phrase."""

    verdict: Verdict
    reason: str


def judge(interval: Interval | None, limit: Limit, freshness: Freshness, n: int | None = None) -> Judgement:
    """Judge ``interval`` against ``limit``. ``n`` is the sample compared with the minimum; the interval's own unless given.

    A value exactly on the limit is within it.
    """
    if not isinstance(freshness, Fresh):
        return Judgement(Verdict.UNKNOWN, "no data" if interval is None else "data are stale")
    if interval is None:
        return Judgement(Verdict.UNKNOWN, "no data")
    sample = interval.n if n is None else n
    if sample < limit.minimum_n:
        return Judgement(Verdict.UNKNOWN, f"sample of {sample} is below the minimum of {limit.minimum_n}")
    at_least = limit.side is Side.AT_LEAST
    if not (interval.low <= interval.high):  # also catches NaN, which compares false with everything
        return Judgement(Verdict.UNKNOWN, "the interval is not a number")
    beyond = interval.high < limit.bound if at_least else interval.low > limit.bound
    within = interval.low >= limit.bound if at_least else interval.high <= limit.bound
    if beyond:
        return Judgement(Verdict.BREACH, "the whole interval is beyond the limit")
    if within:
        return Judgement(Verdict.FINE, "the whole interval is within the limit")
    return Judgement(Verdict.UNKNOWN, "the interval straddles the limit")
