"""The reporter's own Prometheus metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

if TYPE_CHECKING:
    from trimtab_plugins.reporting.reporter import Look


class ReporterMetrics:
    """One process's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._looks = Counter("trimtab_reporter_looks_total", "Looks, by outcome: done or failed.", ["outcome"], registry=registry)  # fmt: skip
        self._written = Counter("trimtab_reporter_statuses_written_total", "Statuses that changed.", registry=registry)
        self._failed = Counter("trimtab_reporter_statuses_failed_total", "Statuses that the API server did not take.", registry=registry)  # fmt: skip
        self._devices = Gauge("trimtab_reporter_devices", "Devices at the last look, by answer: reporting or silent.", ["answer"], registry=registry)  # fmt: skip
        self._deployments = Gauge("trimtab_reporter_deployments", "Deployments at the last look.", registry=registry)
        self._seconds = Histogram(
            "trimtab_reporter_look_seconds",
            "Time of one look.",
            buckets=(0.1, 0.5, 1, 2, 5, 10, 30, 60),
            registry=registry,
        )

    def done(self, look: Look) -> None:
        """A look ended."""
        self._looks.labels("done").inc()
        self._written.inc(look.written)
        self._failed.inc(look.failed)
        self._devices.labels("reporting").set(look.reporting)
        self._devices.labels("silent").set(look.devices - look.reporting)
        self._deployments.set(look.deployments)
        self._seconds.observe(look.seconds)

    def failed(self) -> None:
        """A look could not be had."""
        self._looks.labels("failed").inc()

    def text(self) -> tuple[bytes, str]:
        """The exposition and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST
