"""The controller's own Prometheus metrics."""

from __future__ import annotations

from contextlib import suppress

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST


class ControllerMetrics:
    """One process's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.reconciles = Counter(
            "trimtab_flux_reconciles_total",
            "Looks at a FleetArtifact, by outcome (a reason of its condition Ready, or suspended, gone, error).",
            ["outcome"],
            registry=self._registry,
        )
        self.reconcile_seconds = Histogram(
            "trimtab_flux_reconcile_seconds",
            "Time of one look: fetch, compile, store and writes to the cluster.",
            buckets=(0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 60),
            registry=self._registry,
        )
        self.published = Counter(
            "trimtab_flux_published_total", "Artifacts that got a new revision.", registry=self._registry
        )
        self.artifacts = Gauge(
            "trimtab_flux_artifacts",
            "Artifacts of a FleetArtifact that the last good look gave.",
            ["namespace", "fleet_artifact"],
            registry=self._registry,
        )
        self.requests = Counter(
            "trimtab_flux_archive_requests_total",
            "Answers of the archive server, by status.",
            ["code"],
            registry=self._registry,
        )
        self.stored_bytes = Gauge("trimtab_flux_stored_bytes", "Bytes of all archives.", registry=self._registry)
        self.stored_archives = Gauge("trimtab_flux_stored_archives", "How many archives.", registry=self._registry)
        self.swept = Counter(
            "trimtab_flux_swept_total", "Folders of archives removed with their artifact.", registry=self._registry
        )
        self.leader = Gauge("trimtab_flux_leader", "1 while this process writes.", registry=self._registry)
        self.waiting = Gauge("trimtab_flux_waiting", "FleetArtifacts that are due for a look.", registry=self._registry)

    def forget(self, namespace: str, name: str) -> None:
        """A FleetArtifact is gone, and with it its series."""
        with suppress(KeyError):
            self.artifacts.remove(namespace, name)

    def text(self) -> tuple[bytes, str]:
        """The exposition and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST
