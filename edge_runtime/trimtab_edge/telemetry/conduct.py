"""Counts of guards, budgets, batches and sampled explanations, by model. Only what a model declares has series, from 0 on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from trimtab_kernel import vocabulary as v

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric


class ConductCounts:
    """Touched by the server's event loop only."""

    def __init__(self) -> None:
        self.signals: dict[tuple[str, str], int] = {}
        self.decisions: dict[tuple[str, str], int] = {}
        self.batches: dict[str, int] = {}
        self.sampling: set[str] = set()
        """The models whose answers are explained now and then."""
        self.explained = 0

    def declare(
        self, model: str, *, signals: tuple[str, ...], budgeted: bool, batched: bool = False, sampled: bool = False
    ) -> None:
        """From now on the model has these; what it has counted goes on, and what it has no more goes away."""
        for name in v.GUARD_SIGNALS:
            if name in signals:
                self.signals.setdefault((model, name), 0)
            else:
                self.signals.pop((model, name), None)
        for name in v.BUDGET_DECISIONS:
            if budgeted:
                self.decisions.setdefault((model, name), 0)
            else:
                self.decisions.pop((model, name), None)

        if batched:
            self.batches.setdefault(model, 0)
        else:
            self.batches.pop(model, None)
        if sampled:
            self.sampling.add(model)
        else:
            self.sampling.discard(model)

    def series(self, model: str) -> int:
        """How many a model has."""
        return sum(one == model for one, _ in (*self.signals, *self.decisions)) + (model in self.batches)

    def ran(self, model: str) -> None:
        """A batch was run."""
        if model in self.batches:
            self.batches[model] += 1

    def sampled(self, model: str) -> None:
        """An answer was explained that nobody had asked about."""
        if model in self.sampling:
            self.explained += 1

    def signal(self, model: str, name: str, rows: int) -> None:
        """So many rows gave a signal."""
        if (model, name) in self.signals:
            self.signals[(model, name)] += rows

    def decided(self, model: str, decision: str) -> None:
        """A request beyond a budget was decided on."""
        if (model, decision) in self.decisions:
            self.decisions[(model, decision)] += 1


class ConductCollector(Collector):
    """Their series."""

    def __init__(self, counts: ConductCounts) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """Every family, also without series."""
        for metric, counted in ((v.GUARD_ROWS, self._counts.signals), (v.BUDGET_REQUESTS, self._counts.decisions)):
            family = CounterMetricFamily(metric.name.removesuffix("_total"), metric.help, labels=metric.labels)
            for labels, count in sorted(counted.items()):
                family.add_metric(labels, count)
            yield family
        batches = CounterMetricFamily(
            v.INFERENCE_BATCHES.name.removesuffix("_total"), v.INFERENCE_BATCHES.help, labels=v.INFERENCE_BATCHES.labels
        )
        for model, runs in sorted(self._counts.batches.items()):
            batches.add_metric((model,), runs)
        yield batches
        explained = CounterMetricFamily(v.EXPLANATIONS.name.removesuffix("_total"), v.EXPLANATIONS.help, labels=())
        if self._counts.sampling:
            explained.add_metric((), self._counts.explained)
        yield explained
