"""How long requests took: counted at fine bounds, shown at as many of them as the other series of the model leave room for.

Every bound is a series for each model of each device, and a model has :data:`SERIES_PER_MODEL` at most. One that declares
all that can be watched has the bounds of :data:`DURATION_BUCKETS`, one that declares nothing has all, and every set holds the
smaller ones. Bounds that are shown later, since a version declares less, have counted all along.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left

from trimtab_kernel.vocabulary import DURATION_BUCKETS, FURTHER_DURATION_BUCKETS, SERIES_PER_MODEL

BOUNDS = tuple(sorted((*DURATION_BUCKETS, *FURTHER_DURATION_BUCKETS)))
"""All bounds, in seconds."""


class Latency:
    """Durations of one model's requests, whichever version answered: by bucket, and their sum in seconds."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0

    def observe(self, duration: float) -> None:
        """One request took so many seconds."""
        self.seconds += duration
        self.buckets[bisect_left(BOUNDS, duration)] += 1

    def cumulative(self, bounds: tuple[float, ...]) -> list[tuple[str, float]]:
        """How many requests took no longer than each of ``bounds``, some of :data:`BOUNDS`, and how many there were."""
        upto = dict(zip(BOUNDS, itertools.accumulate(self.buckets), strict=False))
        return [*((str(bound), float(upto[bound])) for bound in bounds), ("+Inf", float(sum(self.buckets)))]


def shown_bounds(others: int) -> tuple[float, ...]:
    """The bounds of a model that has so many series beside those of its bounds."""
    room = max(0, SERIES_PER_MODEL - others - len(DURATION_BUCKETS))
    return tuple(sorted((*DURATION_BUCKETS, *FURTHER_DURATION_BUCKETS[:room])))
