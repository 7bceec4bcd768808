"""Where a request runs: on the event loop's own thread if it is sure to be short, else in the pool.

Handing a request to another thread and back costs more CPU than a small model takes to answer it. So each model
remembers how long requests of about the same size took, and only a size known to be short runs in place. A size never
seen goes to the pool first.
"""

from __future__ import annotations

IN_PLACE_BELOW = 250e-6
"""CPU seconds. Long enough for small models, short beside the latency of a network."""
_WEIGHT = 0.2


class Pacing:
    """Moving averages of CPU seconds by order of magnitude (power of two) of the number of input elements."""

    __slots__ = ("_estimates",)

    def __init__(self) -> None:
        self._estimates: dict[int, float] = {}

    def in_place(self, elements: int) -> bool:
        """Whether a request of this size is sure to be short."""
        estimate = self._estimates.get(elements.bit_length())
        return estimate is not None and estimate < IN_PLACE_BELOW

    def observe(self, elements: int, cpu_seconds: float) -> None:
        """A request of this size took so long."""
        order = elements.bit_length()
        estimate = self._estimates.get(order)
        self._estimates[order] = cpu_seconds if estimate is None else estimate + _WEIGHT * (cpu_seconds - estimate)
