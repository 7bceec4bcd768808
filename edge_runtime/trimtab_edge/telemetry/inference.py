"""Counts of the server, by model and version. Plain numbers: counting costs a request a few hundred nanoseconds.

Everything here is touched by one thread only, the server's event loop, so no lock is needed.

A version's series are all there, at 0, from the moment it is loaded, so that ``increase()`` sees the first count. After
a swap those of the replaced version's series that money and fairness are judged by stay for a while (its last counts must
be scraped) and are then dropped; the others go at once. At most one replaced version is kept per model: the number of
series is bounded whatever happens.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trimtab_kernel.vocabulary import DURATION_BUCKETS, FAILURE_REASONS, OUTCOME_NEGATIVE, OUTCOME_POSITIVE

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from trimtab_edge.alignment.version import VersionAlignment

RETIRED_FOR = 900.0
"""Seconds that a replaced version's series stay: far longer than any scrape interval."""


class VersionCounts:
    """What was counted for one version of one model."""

    __slots__ = (
        "__weakref__", "alignment", "buckets", "bytes_in", "bytes_out", "cpu_seconds", "cpu_squared", "decisions",
        "duration_seconds", "info", "requests", "retired_at", "shown",
    )  # fmt: skip

    def __init__(self, *, private: bool = False) -> None:
        """``private``: counts must not leave as they are."""
        self.requests = 0
        self.cpu_seconds = 0.0
        self.cpu_squared = 0.0
        self.duration_seconds = 0.0
        self.buckets = [0] * (len(DURATION_BUCKETS) + 1)
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
        self.duration_seconds += duration
        self.buckets[bisect_left(DURATION_BUCKETS, duration)] += 1

    def moved(self, received: int, sent: int) -> None:
        """Bytes of the bodies of one request and its response."""
        self.bytes_in += received
        self.bytes_out += sent

    def decided(self, cohort: str, positive: int, total: int) -> None:
        """``total`` decisions about members of ``cohort``, of which ``positive`` had the positive outcome."""
        self.decisions[(cohort, OUTCOME_POSITIVE)] += positive
        self.decisions[(cohort, OUTCOME_NEGATIVE)] += total - positive


@dataclass(slots=True)
class ModelCounts:
    """What was counted for one model."""

    versions: dict[str, VersionCounts] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FAILURE_REASONS, 0))
    ready: str | None = None


class InferenceCounts:
    """All counts of one server."""

    def __init__(self, retired_for: float = RETIRED_FOR, *, private: bool = False) -> None:
        """``private``: counts about people must not leave as they are; another part shows noisy ones instead."""
        self.models: dict[str, ModelCounts] = {}
        self.queue_seconds = 0.0
        self._retired_for = retired_for
        self._private = private

    def answers(self, model: str, version: str, cohorts: tuple[str, ...], now: float) -> VersionCounts:
        """From now on (steady seconds) ``version`` answers for ``model``; the counts it goes on with."""
        counts = self.models.setdefault(model, ModelCounts())
        for name, other in counts.versions.items():
            if name != version and other.retired_at is None:
                other.retired_at = now
        current = counts.versions.setdefault(version, VersionCounts(private=self._private))
        current.retired_at = None
        current.declare_cohorts(cohorts)
        counts.ready = version
        self.expire(now)
        return current

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
