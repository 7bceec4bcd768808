"""The service's own Prometheus metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

if TYPE_CHECKING:
    from trimtab_plugins.fleet_service.following import Standing


class ServiceMetrics:
    """One process's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "trimtab_fleet_service_requests_total",
            "Answers by door (generator, inputs) and HTTP status.",
            ["door", "status"],
            registry=self._registry,
        )
        self.seconds = Histogram(
            "trimtab_fleet_service_request_seconds",
            "Time of an answer, from the last byte of the request.",
            ["door"],
            buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 2),
            registry=self._registry,
        )
        self.looks = Counter(
            "trimtab_fleet_service_looks_total",
            "Looks at the source by what they found: new, same, broken (a tree) or unreachable.",
            ["found"],
            registry=self._registry,
        )
        self._groups = Gauge(
            "trimtab_fleet_service_groups", "Device groups that are answered with.", registry=self._registry
        )
        self._stale = Gauge(
            "trimtab_fleet_service_stale",
            "1 while the newest state of the source cannot be read and an older one answers.",
            registry=self._registry,
        )
        self._read = Gauge(
            "trimtab_fleet_service_read_timestamp_seconds",
            "When the tree that answers was read.",
            registry=self._registry,
        )
        self._looked = Gauge(
            "trimtab_fleet_service_looked_timestamp_seconds",
            "When the source was last reached.",
            registry=self._registry,
        )

    def show(self, standing: Standing) -> None:
        """Take up what answers now."""
        self._groups.set(len(standing.inventory.entries) if standing.inventory else 0)
        self._stale.set(1 if standing.trouble else 0)
        self._read.set(standing.read_at)
        self._looked.set(standing.looked_at)

    def text(self) -> tuple[bytes, str]:
        """The exposition and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST
