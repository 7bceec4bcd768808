"""Counts of the server, by model and version. Plain numbers: counting costs a request a few hundred nanoseconds.

Everything here is touched by one thread only, the server's event loop, so no lock is needed.

A version's series are there, at 0, from the moment it is loaded, so that ``increase()`` sees the first count. After a swap
every counter of the replaced version must be scraped once more, and yet a device must not have more series than its
budget. So they take turns (:meth:`ModelCounts.told`, :meth:`ModelCounts.judged`), each turn :data:`TURN` long:

1. Requests, CPU, decisions, bytes and joules of both versions; no labels and no scores of either.
2. Those of the version that answers; labels and scores of the replaced one, with what labels brought meanwhile.
3. Those of the version that answers, labels and scores as they were when it began.
4. All of the version that answers.

Counting never waits: a series that comes back has counted on, and ``increase()`` sees it over the gap. Latency is counted
by model, so a swap does not touch it. At most one replaced version is kept per model: the number of series is bounded
whatever happens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trimtab_edge.telemetry.latency import Latency, shown_bounds
from trimtab_kernel.vocabulary import FAILURE_REASONS, OUTCOME_NEGATIVE, OUTCOME_POSITIVE

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from trimtab_edge.alignment.version import VersionAlignment

TURN = 180.0
"""Seconds of a turn: three scrapes of the longest interval in use, and less than the shortest window that rules read."""
RETIRED_FOR = 900.0
"""Seconds that a replaced version's counts are kept, for labels that come late and for its evidence."""
_SERIES_OF_A_VERSION = 6
"""Requests, CPU time and its squares, bytes both ways, joules; decisions by cohort come on top."""
_SERIES_OF_A_MODEL = 16
"""Failures by reason, the version that answers, +Inf, sum and count of the latency; the agent's: its results, what is
active, desired, quarantined and deferred, bytes fetched of two versions."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What labels and scores say of one version: labelled decisions by cohort, outcome and label, and the scores' two sums."""

    labelled: Mapping[tuple[str, bool, bool], int]
    scored: tuple[int, float] | None


class VersionCounts:
    """What was counted for one version of one model."""

    __slots__ = (
        "__weakref__", "alignment", "bytes_in", "bytes_out", "cpu_seconds", "cpu_squared", "decisions", "held", "info",
        "latency", "requests", "retired_at", "shown",
    )  # fmt: skip

    def __init__(self, latency: Latency | None = None, *, private: bool = False) -> None:
        """``latency``: the model's. ``private``: counts must not leave as they are."""
        self.requests = 0
        self.cpu_seconds = 0.0
        self.cpu_squared = 0.0
        self.latency = latency or Latency()
        self.held: Judged | None = None
        """What labels and scores said when it last began to answer; None: it had no alignment then."""
        self.decisions: dict[tuple[str, str], int] = {}
        self.retired_at: float | None = None
        self.bytes_in = 0
        self.bytes_out = 0
        self.alignment: VersionAlignment | None = None
        self.shown: Mapping[Hashable, int] | None = {} if private else None
        """Where counts must not leave as they are: the noisy ones that are shown instead, 0 where there is none yet."""
        self.info: Mapping[str, str] = {}
        """Values of the labels that describe the model; a label without one stays empty."""

    def declare_cohorts(self, cohorts: tuple[str, ...]) -> None:
        """Start every series of these cohorts at 0; one that has counted goes on."""
        for cohort in cohorts:
            for outcome in (OUTCOME_NEGATIVE, OUTCOME_POSITIVE):
                self.decisions.setdefault((cohort, outcome), 0)

    def answered(self, duration: float, cpu: float) -> None:
        """One request was answered: wall time from last request byte to first response byte, and CPU time, in seconds."""
        self.requests += 1
        self.cpu_seconds += cpu
        self.cpu_squared += cpu * cpu
        self.latency.observe(duration)

    def moved(self, received: int, sent: int) -> None:
        """Bytes of the bodies of one request and its response."""
        self.bytes_in += received
        self.bytes_out += sent

    def judged(self) -> Judged | None:
        """What labels and scores say now, as it may leave. None without a declared alignment."""
        if self.alignment is None:
            return None
        labelled = {
            cell: exact if self.shown is None else self.shown.get(("labelled", *cell), 0)
            for cell, exact in self.alignment.labelled.items()
        }
        return Judged(labelled, self.alignment.scored_figures(self.shown) if self.alignment.scored else None)

    def begun(self) -> Judged | None:
        """What they said when it began to answer: 0 of all that it has now and had not then."""
        now = self.judged()
        if now is None:
            return None
        before = self.held or Judged({}, None)
        labelled = {cell: before.labelled.get(cell, 0) for cell in now.labelled}
        return Judged(labelled, None if now.scored is None else before.scored or (0, 0.0))

    def decided(self, cohort: str, positive: int, total: int) -> None:
        """``total`` decisions about members of ``cohort``, of which ``positive`` had the positive outcome."""
        self.decisions[(cohort, OUTCOME_POSITIVE)] += positive
        self.decisions[(cohort, OUTCOME_NEGATIVE)] += total - positive


@dataclass(slots=True)
class ModelCounts:
    """What was counted for one model."""

    versions: dict[str, VersionCounts] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FAILURE_REASONS, 0))
    latency: Latency = field(default_factory=Latency)
    ready: str | None = None

    def told(self, turn: float) -> list[tuple[str, VersionCounts]]:
        """The versions whose counts are shown, ``turn`` turns after the last swap."""
        return sorted((name, one) for name, one in self.versions.items() if one.retired_at is None or turn < 1)

    def bounds(self, declared: int) -> tuple[float, ...]:
        """The bounds of its latency that are shown; ``declared``: its series for what else it declares.

        They do not follow the turns: counted is the most that the versions which are kept may show at any time.
        """
        versions = self.versions.values()
        decided = max((len(one.decisions) for one in versions), default=0)
        labelled = max((len(one.alignment.labelled) for one in versions if one.alignment), default=0)
        scored = 2 * any(one.alignment is not None and one.alignment.scored for one in versions)
        told = _SERIES_OF_A_VERSION + decided
        return shown_bounds(_SERIES_OF_A_MODEL + declared + max(2 * told, told + labelled + scored))

    def judged(self, turn: float) -> tuple[str, Judged] | None:
        """The version whose labels and scores are shown then, and what they say."""
        for name, one in self.versions.items():
            if turn >= 1 and (turn < 2) == (one.retired_at is not None):
                found = one.begun() if turn < 3 and one.retired_at is None else one.judged()
                if found is not None:
                    return name, found
        return None


class InferenceCounts:
    """All counts of one server."""

    def __init__(self, retired_for: float = RETIRED_FOR, *, turn: float = TURN, private: bool = False) -> None:
        """``retired_for`` is at least three times ``turn``. ``private``: counts about people must not leave as they are; another part shows noisy ones instead."""
        self.models: dict[str, ModelCounts] = {}
        self.queue_seconds = 0.0
        self._retired_for = retired_for
        self._private = private
        self._turn = turn

    def answers(self, model: str, version: str, cohorts: tuple[str, ...], now: float) -> VersionCounts:
        """From now on (steady seconds) ``version`` answers for ``model``; the counts it goes on with."""
        counts = self.models.setdefault(model, ModelCounts())
        for name, other in counts.versions.items():
            if name != version and other.retired_at is None:
                other.retired_at = now
        current = counts.versions.setdefault(version, VersionCounts(counts.latency, private=self._private))
        if current.retired_at is not None:
            current.held, current.retired_at = current.judged(), None
        current.declare_cohorts(cohorts)
        counts.ready = version
        self.expire(now)
        return current

    def turn(self, model: ModelCounts, now: float) -> float:
        """How many turns ago this model's version was swapped; infinite where nothing of an earlier one is kept."""
        swaps = [one.retired_at for one in model.versions.values() if one.retired_at is not None]
        return (now - max(swaps)) / self._turn if swaps else math.inf

    def cpu_ns(self) -> dict[tuple[str, str], int]:
        """CPU time of every version's inferences since its first, in nanoseconds."""
        return {
            (model, version): round(counted.cpu_seconds * 1e9)
            for model, counts in self.models.items()
            for version, counted in counts.versions.items()
        }

    def failed(self, model: str, reason: str) -> None:
        """A request for a model that is served failed; ``reason`` is one of the vocabulary's."""
        self.models[model].failures[reason] += 1

    def expire(self, now: float) -> None:
        """Drop what was replaced long ago, and all but the newest replaced version of each model."""
        for counts in self.models.values():
            retired = sorted(
                ((at, name) for name, other in counts.versions.items() if (at := other.retired_at) is not None),
                reverse=True,
            )
            for place, (at, name) in enumerate(retired):
                if place > 0 or now - at > self._retired_for:
                    del counts.versions[name]
