"""Counts as Prometheus text. Names, types, help and labels come from the kernel's vocabulary only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest, start_http_server
from prometheus_client.registry import Collector

from trimtab_kernel import vocabulary as v

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

    from trimtab_edge.telemetry.inference import InferenceCounts
    from trimtab_edge.telemetry.updates import UpdateCounts

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def _counter(metric: v.Metric) -> CounterMetricFamily:
    return CounterMetricFamily(metric.name.removesuffix("_total"), metric.help, labels=metric.labels)


def _gauge(metric: v.Metric) -> GaugeMetricFamily:
    return GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)


class InferenceCollector(Collector):
    """The server's series."""

    def __init__(self, counts: InferenceCounts) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """Every family, also one without series, so that its name and help can be found."""
        requests, cpu, squared = (
            _counter(v.INFERENCE_REQUESTS),
            _counter(v.INFERENCE_CPU),
            _counter(v.INFERENCE_CPU_SQUARED),
        )
        failures, decisions, ready = _counter(v.INFERENCE_FAILURES), _counter(v.DECISIONS), _gauge(v.MODEL_READY)
        duration = HistogramMetricFamily(
            v.INFERENCE_DURATION.name, v.INFERENCE_DURATION.help, labels=v.INFERENCE_DURATION.labels
        )
        for model, counts in sorted(self._counts.models.items()):
            for reason, count in counts.failures.items():
                failures.add_metric((model, reason), count)
            for version, counted in sorted(counts.versions.items()):
                labels = (model, version)
                requests.add_metric(labels, counted.requests)
                cpu.add_metric(labels, counted.cpu_seconds)
                squared.add_metric(labels, counted.cpu_squared)
                ready.add_metric(labels, 1 if version == counts.ready else 0)
                duration.add_metric(labels, _cumulative(counted.buckets), counted.duration_seconds)
                for (cohort, outcome), count in counted.decisions.items():
                    decisions.add_metric((model, version, cohort, outcome), count)
        yield from (requests, failures, duration, cpu, squared, decisions, ready)


def _cumulative(buckets: list[int]) -> list[tuple[str, float]]:
    bounds = [*(str(bound) for bound in v.DURATION_BUCKETS), "+Inf"]
    total, result = 0, []
    for bound, count in zip(bounds, buckets, strict=True):
        total += count
        result.append((bound, float(total)))
    return result


class UpdateCollector(Collector):
    """The agent's series."""

    def __init__(self, counts: UpdateCounts) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """Every family, also one without series."""
        fetched, ended = _counter(v.UPDATE_BYTES), _counter(v.UPDATES)
        active, desired, quarantined = _gauge(v.AGENT_ACTIVE), _gauge(v.AGENT_DESIRED), _gauge(v.AGENT_QUARANTINED)
        synced, valid = _gauge(v.AGENT_SYNCED), _gauge(v.AGENT_DOCUMENT_VALID)
        models, synced_at, document_valid = self._counts.snapshot()
        for model, counts in sorted(models.items()):
            for version, count in sorted(counts.bytes_by_version.items()):
                fetched.add_metric((model, version), count)
            for result, count in counts.results.items():
                ended.add_metric((model, result), count)
            if counts.active is not None:
                active.add_metric((model, counts.active), 1)
            if counts.desired is not None:
                desired.add_metric((model, counts.desired), 1)
            quarantined.add_metric((model,), counts.quarantined)
        if synced_at:
            synced.add_metric((), synced_at)
        valid.add_metric((), int(document_valid))
        yield from (fetched, ended, active, desired, quarantined, synced, valid)


def registry_of(collector: Collector) -> CollectorRegistry:
    """A registry of its own: nothing global, so two servers in one process do not meet."""
    registry = CollectorRegistry()
    registry.register(collector)
    return registry


def metrics_text(registry: CollectorRegistry) -> bytes:
    """The text format 0.0.4 of everything in ``registry``."""
    return generate_latest(registry)


class MetricsListener:
    """An HTTP listener that answers ``/metrics`` from threads of its own. Raises OSError where the port is taken."""

    def __init__(self, registry: CollectorRegistry, host: str, port: int) -> None:
        self._server, self._thread = start_http_server(port, addr=host, registry=registry)
        self.port: int = self._server.server_port

    def close(self) -> None:
        """Stop listening and wait for the thread."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
