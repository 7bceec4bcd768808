"""Counts of the agent. The agent's thread writes; the thread that answers a scrape reads, so there is a lock."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from trimtab_kernel.vocabulary import UPDATE_RESULTS


@dataclass(slots=True)
class ModelUpdates:
    """What was counted for one model."""

    results: dict[str, int] = field(default_factory=lambda: dict.fromkeys(UPDATE_RESULTS, 0))
    bytes_by_version: dict[str, int] = field(default_factory=dict)
    active: str | None = None
    desired: str | None = None
    quarantined: int = 0
    deferred: bool = False


class UpdateCounts:
    """All counts of one agent."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._models: dict[str, ModelUpdates] = {}
        self._synced_at = 0.0
        self._document_valid = False

    def document(self, *, valid: bool, at: float) -> None:
        """The desired document was looked at, at Unix time ``at``."""
        with self._lock:
            self._document_valid = valid
            if valid:
                self._synced_at = at

    def fetched(self, model: str, version: str, count: int) -> None:
        """``count`` more bytes came in for this version; 0 starts its series."""
        with self._lock:
            by_version = self._models.setdefault(model, ModelUpdates()).bytes_by_version
            by_version[version] = by_version.get(version, 0) + count

    def ended(self, model: str, result: str) -> None:
        """An update ended; ``result`` is one of the vocabulary's."""
        with self._lock:
            self._models.setdefault(model, ModelUpdates()).results[result] += 1

    def stands(
        self, model: str, *, active: str | None, desired: str | None, quarantined: int, deferred: bool = False
    ) -> None:
        """How this model stands now. Series of bytes are kept for the active and the desired version only."""
        with self._lock:
            counts = self._models.setdefault(model, ModelUpdates())
            counts.active, counts.desired, counts.quarantined = active, desired, quarantined
            counts.deferred = deferred
            kept = [version for version in (active, desired) if version is not None]
            counts.bytes_by_version = {version: counts.bytes_by_version.get(version, 0) for version in kept}

    def snapshot(self) -> tuple[dict[str, ModelUpdates], float, bool]:
        """A copy: models, Unix time of the last valid document (0: none yet), whether the last one seen was valid."""
        with self._lock:
            models = {
                name: ModelUpdates(
                    dict(counts.results),
                    dict(counts.bytes_by_version),
                    counts.active,
                    counts.desired,
                    counts.quarantined,
                    counts.deferred,
                )
                for name, counts in self._models.items()
            }
            return models, self._synced_at, self._document_valid
