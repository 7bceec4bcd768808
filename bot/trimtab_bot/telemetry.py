"""The bot's own figures, for a Prometheus: does it look, does anybody lead, what waits. Computed when they are asked for."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from trimtab_bot.approvals.machine import Phase
from trimtab_bot.records import IncidentPhase
from trimtab_kernel.problems import OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from prometheus_client.core import Metric

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
    ) -> None:
        """``looks``: when the last look ended (Unix seconds) and how many ended how (``done``, ``failed``)."""
        self._workspaces = tuple(workspaces)
        self._store = store
        self._looks = looks
        self._leads = leads

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
        ended = [each for each in incidents if each.recovered_at is not None]
        yield CounterMetricFamily("trimtab_bot_recoveries", "Incidents that ended in a recovery.", len(ended))
        spent = sum((each.recovered_at or 0.0) - each.detected_at for each in ended)
        yield CounterMetricFamily("trimtab_bot_recovery_seconds", "Seconds from detection to recovery, in all.", spent)
        escalated = sum(each.escalated_at is not None for each in incidents)
        yield CounterMetricFamily("trimtab_bot_escalations", "Incidents for which the bot called for help.", escalated)


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
