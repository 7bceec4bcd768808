"""The bot's own figures, for a Prometheus: does it look, does anybody lead, what waits. Computed when they are asked for."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from trimtab_bot.approvals.machine import Phase
from trimtab_bot.delivery.interface import State
from trimtab_bot.records import IncidentPhase
from trimtab_kernel.problems import OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from prometheus_client.core import Metric

    from trimtab_bot.delivery.watch import DeliveryWatch
    from trimtab_bot.records import Incident
    from trimtab_bot.store.interface import Store

_OPEN = (Phase.PENDING, Phase.APPROVED)


class BotFigures:
    """A collector. Scrapes come from any thread."""

    def __init__(
        self,
        store: Store,
        looks: Callable[[], tuple[float | None, Mapping[str, int]]],
        leads: Callable[[], bool],
        workspaces: Sequence[str] = ("",),
        delivery: DeliveryWatch | None = None,
    ) -> None:
        """``delivery``: what watches changes on their way to clusters, if anything. ``looks``: when the last look ended (Unix seconds) and how many ended how (``done``, ``failed``)."""
        self._workspaces = tuple(workspaces)
        self._store = store
        self._looks = looks
        self._leads = leads
        self._delivery = delivery

    def collect(self) -> Iterator[Metric]:
        """Everything; what the store holds is left out where it does not answer, which ``trimtab_bot_store_up`` says."""
        last, counts = self._looks()
        if last is not None:
            yield GaugeMetricFamily("trimtab_bot_last_look_timestamp_seconds", "When the last look ended.", last)
        looks = CounterMetricFamily("trimtab_bot_looks", "Looks that ended, by result.", labels=["result"])
        for result in ("done", "failed"):
            looks.add_metric([result], counts.get(result, 0))
        yield looks
        yield GaugeMetricFamily("trimtab_bot_leader", "1 for the replica that acts.", float(self._leads()))
        if self._delivery is not None:
            yield from _of_deliveries(self._delivery)
        try:
            with self._store.reading() as view:
                incidents, proposals = view.incidents(), view.proposals(unsettled_only=True)
                waiting = {
                    "ledger": len(view.pending_records()),
                    "chat": sum(len(view.unsaid(each)) for each in self._workspaces),
                    "outputs": len(view.pending_notices()),
                }
        except OutsideError:
            yield GaugeMetricFamily("trimtab_bot_store_up", "1 where the store answers.", 0)
            return
        yield GaugeMetricFamily("trimtab_bot_store_up", "1 where the store answers.", 1)
        phases = Counter(each.phase for each in incidents)
        by_phase = GaugeMetricFamily("trimtab_bot_incidents", "Incidents by phase.", labels=["phase"])
        for phase in IncidentPhase:
            by_phase.add_metric([phase.value], phases[phase])
        yield by_phase
        undecided = sum(each.ballot.phase in _OPEN for each in proposals)
        yield GaugeMetricFamily("trimtab_bot_proposals_undecided", "Proposals that wait for people.", undecided)
        queues = GaugeMetricFamily("trimtab_bot_waiting", "What is to be written or said, by queue.", labels=["queue"])
        for queue, count in waiting.items():
            queues.add_metric([queue], count)
        yield queues
        yield from _of_stages(incidents)
        ended = [each for each in incidents if each.recovered_at is not None]
        yield CounterMetricFamily("trimtab_bot_recoveries", "Incidents that ended in a recovery.", len(ended))
        spent = sum((each.recovered_at or 0.0) - each.detected_at for each in ended)
        yield CounterMetricFamily("trimtab_bot_recovery_seconds", "Seconds from detection to recovery, in all.", spent)
        escalated = sum(each.escalated_at is not None for each in incidents)
        yield CounterMetricFamily("trimtab_bot_escalations", "Incidents for which the bot called for help.", escalated)


def _of_deliveries(delivery: DeliveryWatch) -> Iterator[Metric]:
    """Whether Argo CD's or Flux's objects can be read, and what they said when they last were: while a change is on its way."""
    reads = CounterMetricFamily(
        "trimtab_bot_delivery_reads", "Readings of what delivers to clusters, by result.", labels=["result"]
    )
    for result, count in delivery.reads().items():
        reads.add_metric([result], count)
    yield reads
    last = delivery.last
    yield GaugeMetricFamily(
        "trimtab_bot_delivery_up", "0 where the last reading failed.", float(last is None or not last.fault)
    )
    if last is not None:
        yield GaugeMetricFamily("trimtab_bot_delivery_read_timestamp_seconds", "When it was last tried.", last.at)
    by_state = GaugeMetricFamily(
        "trimtab_bot_deliveries", "Objects by state, when they were last read.", labels=["state"]
    )
    states = delivery.states()
    for state in State:
        by_state.add_metric([state.value], states.get(state, 0))
    yield by_state


def _of_stages(incidents: Iterable[Incident]) -> Iterator[Metric]:
    """How long changes took from their merge to each stage, in all, and how many came so far."""
    seconds = CounterMetricFamily(
        "trimtab_bot_stage_seconds", "Seconds from merges to each stage, in all.", labels=["stage"]
    )
    counts = CounterMetricFamily("trimtab_bot_stages", "Changes that came to each stage.", labels=["stage"])
    for stage in ("seen", "synced", "healthy", "converged", "recovered"):
        spans = [
            at - each.merged_at
            for each in incidents
            if each.merged_at is not None and (at := getattr(each, f"{stage}_at")) is not None
        ]
        seconds.add_metric([stage], max(0.0, sum(spans)))
        counts.add_metric([stage], len(spans))
    yield seconds
    yield counts


@contextmanager
def serving(figures: BotFigures, host: str, port: int) -> Iterator[str]:
    """Serves them as long as the block lasts; gives the address. Raises OutsideError where it cannot be bound."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(figures)
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise OutsideError(
            f"cannot listen on {host}:{port} ({error.strerror}); choose another telemetry.port"
        ) from error
    try:
        yield f"http://{host}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        thread.join(30)
        server.server_close()
