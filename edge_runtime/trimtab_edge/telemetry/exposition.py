"""Counts as Prometheus text. Names, types, help and labels come from the kernel's vocabulary only."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest, start_http_server
from prometheus_client.registry import Collector

from trimtab_edge.telemetry.energy.meter import Grade
from trimtab_kernel import vocabulary as v

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric

    from trimtab_edge.telemetry.conduct import ConductCounts
    from trimtab_edge.telemetry.inference import InferenceCounts, VersionCounts
    from trimtab_edge.telemetry.resources import Resources
    from trimtab_edge.telemetry.updates import UpdateCounts

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def _counter(metric: v.Metric) -> CounterMetricFamily:
    return CounterMetricFamily(metric.name.removesuffix("_total"), metric.help, labels=metric.labels)


def _gauge(metric: v.Metric) -> GaugeMetricFamily:
    return GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)


class InferenceCollector(Collector):
    """The server's series."""

    def __init__(
        self,
        counts: InferenceCounts,
        clock: Callable[[], float] = time.monotonic,
        *,
        conduct: ConductCounts | None = None,
    ) -> None:
        """``clock``: the one that ``counts`` was told the times by. ``conduct`` has series of the same models."""
        self._counts, self._clock, self._conduct = counts, clock, conduct

    def collect(self) -> Iterator[Metric]:
        """Every family, also one without series, so that its name and help can be found."""
        requests, cpu, squared = (
            _counter(v.INFERENCE_REQUESTS),
            _counter(v.INFERENCE_CPU),
            _counter(v.INFERENCE_CPU_SQUARED),
        )
        failures, decisions, ready = _counter(v.INFERENCE_FAILURES), _counter(v.DECISIONS), _gauge(v.MODEL_READY)
        moved, queued = _counter(v.INFERENCE_BYTES), _counter(v.INFERENCE_QUEUE)
        duration = HistogramMetricFamily(
            v.INFERENCE_DURATION.name, v.INFERENCE_DURATION.help, labels=v.INFERENCE_DURATION.labels
        )
        now = self._clock()
        for model, counts in sorted(self._counts.models.items()):
            for reason, count in counts.failures.items():
                failures.add_metric((model, reason), count)
            bounds = counts.bounds(self._conduct.series(model) if self._conduct is not None else 0)
            duration.add_metric((model,), counts.latency.cumulative(bounds), counts.latency.seconds)
            for version, counted in counts.told(self._counts.turn(counts, now)):
                labels = (model, version)
                requests.add_metric(labels, counted.requests)
                cpu.add_metric(labels, counted.cpu_seconds)
                squared.add_metric(labels, counted.cpu_squared)
                for (cohort, outcome), count in counted.decisions.items():
                    shown = _shown(counted, ("decision", cohort, outcome == v.OUTCOME_POSITIVE), count)
                    decisions.add_metric((*labels, cohort, outcome), shown)
                moved.add_metric((*labels, v.DIRECTION_IN), counted.bytes_in)
                moved.add_metric((*labels, v.DIRECTION_OUT), counted.bytes_out)
                if counted.retired_at is None:
                    info = tuple(counted.info.get(name, "") for name in v.MODEL_READY.labels[2:])
                    ready.add_metric((*labels, *info), 1 if version == counts.ready else 0)
        queued.add_metric((), self._counts.queue_seconds)
        yield from (requests, failures, duration, cpu, squared, decisions, moved, queued, ready)


def _shown(counted: VersionCounts, name: Hashable, exact: int) -> int:
    return exact if counted.shown is None else counted.shown.get(name, 0)


class AlignmentCollector(Collector):
    """What comes with labels and scores."""

    def __init__(self, counts: InferenceCounts, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock``: the one that ``counts`` was told the times by."""
        self._counts, self._clock = counts, clock

    def collect(self) -> Iterator[Metric]:
        """Every family, also one without series."""
        labelled = _counter(v.LABELLED_DECISIONS)
        scored, right = _counter(v.SCORED_DECISIONS), _counter(v.EXPECTED_RIGHT_DECISIONS)
        word = {True: v.OUTCOME_POSITIVE, False: v.OUTCOME_NEGATIVE}
        now = self._clock()
        for model, counts in sorted(self._counts.models.items()):
            if (judged := counts.judged(self._counts.turn(counts, now))) is None:
                continue
            version, found = judged
            for (cohort, outcome, label), count in found.labelled.items():
                labelled.add_metric((model, version, cohort, word[outcome], word[label]), count)
            if found.scored is not None:
                n, expected = found.scored
                scored.add_metric((model, version), n)
                right.add_metric((model, version), expected)
        yield from (labelled, scored, right)


class ResourceCollector(Collector):
    """What the box spends. A figure that nothing told is not there; the info series says so."""

    def __init__(
        self,
        counts: InferenceCounts,
        resources: Resources,
        system: Mapping[str, str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``system`` holds ``os``, ``os_version`` and ``architecture``; ``clock`` as for :class:`InferenceCollector`."""
        self._clock = clock
        self._counts = counts
        self._resources = resources
        self._system = dict(system)

    def collect(self) -> Iterator[Metric]:
        """Every family, also one without series."""
        resources = self._resources
        joules, total, battery = _counter(v.INFERENCE_JOULES), _counter(v.ENERGY), _counter(v.BATTERY_USED)
        spent, peak = _counter(v.MEMORY_BYTE_SECONDS), _gauge(v.MEMORY_PEAK)
        source = resources.energy
        if source.grade is not Grade.ABSENT:
            total.add_metric((source.name, source.grade.value), resources.account.total / 1e6)
            now = self._clock()
            for model, counts in sorted(self._counts.models.items()):
                for version, _ in counts.told(self._counts.turn(counts, now)):
                    part = resources.account.parts.get((model, version), 0)
                    joules.add_metric((model, version, source.name, source.grade.value), part / 1e6)
        if (used := resources.battery_used) is not None:
            battery.add_metric((), used)
        if (memory := resources.memory) is not None:
            spent.add_metric((), memory.byte_seconds)
            peak.add_metric((), memory.peak_bytes)
        yield from (joules, total, battery, spent, peak, *self._gpus(), self._info())

    def _gpus(self) -> Iterator[Metric]:
        joules, busy, memory = _counter(v.GPU_JOULES), _counter(v.GPU_SECONDS), _gauge(v.GPU_MEMORY)
        for place, figures in enumerate(self._resources.gpus):
            labels = (f"{place} {figures.name}",)
            for family, figure in (
                (joules, figures.joules),
                (busy, figures.busy_seconds),
                (memory, figures.memory_bytes),
            ):
                if figure is not None:
                    family.add_metric(labels, figure)
        yield from (joules, busy, memory)

    def _info(self) -> Metric:
        resources = self._resources
        values = {
            **self._system,
            **resources.options.info,
            "energy_source": resources.energy.name,
            "energy_grade": resources.energy.grade.value,
            "gpu_grade": resources.gpu_grade.value,
            "memory_source": resources.memory_source.name,
            "battery_grade": resources.battery_grade.value,
        }
        info = _gauge(v.DEVICE_INFO)
        info.add_metric(tuple(values.get(name, "") for name in v.DEVICE_INFO.labels), 1)
        return info


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
                desired.add_metric((model, counts.desired), int(not counts.deferred))
            quarantined.add_metric((model,), counts.quarantined)
        if synced_at:
            synced.add_metric((), synced_at)
        valid.add_metric((), int(document_valid))
        yield from (fetched, ended, active, desired, quarantined, synced, valid)


def registry_of(*collectors: Collector) -> CollectorRegistry:
    """A registry of its own: nothing global, so two servers in one process do not meet."""
    registry = CollectorRegistry()
    for collector in collectors:
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
