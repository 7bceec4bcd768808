"""Where a request runs: on the event loop's own thread if it is sure to be short, else in the pool.

Handing a request to another thread and back costs more CPU than a small model takes to answer it. So each model
remembers how long requests of about the same size took, and only a size known to be short runs in place. A size never
seen goes to the pool first. Where the time depends on the values rather than on their count, experience deceives: a run
that surprises is ended by the :mod:`watchdog`, and a model that does so a few times is not run in place any more.
"""

from __future__ import annotations

IN_PLACE_BELOW = 250e-6
"""CPU seconds. Long enough for small models, short beside the latency of a network."""
_WEIGHT = 0.2
_SURPRISES = 3


class Pacing:
    """Moving averages of CPU seconds by order of magnitude (power of two) of the number of input elements."""

    __slots__ = ("_estimates", "_surprises")

    def __init__(self) -> None:
        self._estimates: dict[int, float] = {}
        self._surprises = 0

    def in_place(self, elements: int) -> bool:
        """Whether a request of this size is sure to be short."""
        if self._surprises >= _SURPRISES:
            return False
        estimate = self._estimates.get(elements.bit_length())
        return estimate is not None and estimate < IN_PLACE_BELOW

    def surprised(self) -> None:
        """A request that was sure to be short was not: what was learned means little, and after a few times nothing."""
        self._surprises += 1
        self._estimates.clear()

    def observe(self, elements: int, cpu_seconds: float) -> None:
        """A request of this size took so long."""
        order = elements.bit_length()
        estimate = self._estimates.get(order)
        self._estimates[order] = cpu_seconds if estimate is None else estimate + _WEIGHT * (cpu_seconds - estimate)
