"""Asks the source of deliveries, not more often than it needs to be, and counts how that went."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab_bot.delivery.carrying import Carrying
from trimtab_bot.delivery.journey import Journey, trace
from trimtab_kernel.problems import OutsideError, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trimtab_bot.changes.history import History
    from trimtab_bot.delivery.interface import Delivery, DeliverySource, State
    from trimtab_bot.moments import Clock


@dataclass(frozen=True, slots=True)
class Readings:
    """What was read last; ``fault`` is why nothing could be, and then there is nothing. ``at`` in Unix seconds."""

    at: float
    deliveries: tuple[Delivery, ...] = ()
    fault: str = ""


class DeliveryWatch:
    """Used by the loop; figures may be asked for from any thread. Nothing is asked of a cluster while no change is on its way."""

    def __init__(
        self,
        source: DeliverySource,
        history: History,
        clock: Clock,
        limit: float,
        clusters: frozenset[str] = frozenset(),
    ) -> None:
        """``limit``: seconds within which a change should arrive. ``clusters``: those that the source covers, empty for all."""
        self.limit = limit
        self._source = source
        self._clock = clock
        self._clusters = clusters
        self._history = history
        self._carrying = Carrying(history)
        self._last: Readings | None = None
        self._is_old = True
        self._counts = {"done": 0, "failed": 0}

    @property
    def last(self) -> Readings | None:
        """What was read last, None before the first time."""
        return self._last

    def reads(self) -> Mapping[str, int]:
        """How many readings ended with an answer (``done``) and without (``failed``)."""
        return dict(self._counts)

    def states(self) -> Mapping[State, int]:
        """Objects by state, as they were read last."""
        last = self._last
        return Counter(each.state for each in last.deliveries) if last is not None else {}

    def expire(self) -> None:
        """What was read is old from now on."""
        self._is_old = True

    def journey(self, commit: str, groups: Iterable[str], model: str, version: str) -> Journey | None:
        """How far ``commit``, which takes ``version`` of ``model`` back, has come. None where no group is covered.

        One reading serves everything that is asked for until the next :meth:`expire`.
        """
        known = self._history.fleet(commit).catalog.groups
        covered = [
            group
            for group in groups
            if group in known and (not self._clusters or known[group].spec.cluster in self._clusters)
        ]
        if not covered:
            return None
        readings = self._last
        if readings is None or self._is_old:
            readings = self._last = self._read(self._clock())
            self._is_old = False
        if readings.fault:
            return Journey(commit, self._source.kind, fault=readings.fault)

        def carries(other: str, group: str) -> bool:
            return self._carrying.carries(commit, other, group, model, version)

        return trace(commit, self._source.kind, covered, readings.deliveries, carries)

    def _read(self, now: float) -> Readings:
        try:
            found = Readings(now, self._source.read())
        except OutsideError as error:
            self._counts["failed"] += 1
            return Readings(now, fault=printable(f"{self._source.name}: {error}", 300))
        self._counts["done"] += 1
        return found
