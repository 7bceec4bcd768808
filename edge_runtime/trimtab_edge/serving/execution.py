"""How a request gets its answer: whether it may run now, where it runs, for how long, and with whom.

In order: the declared ranges, the budgets (beyond them the fleet's other endpoint is asked, where it names one), the
memory, and then the event loop's own thread if the run is sure to be short, a batch where the model has one, or the pool.
Whoever has to wait is told when to come back by how fast requests have really been answered.
"""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from trimtab_edge.serving import usage
from trimtab_edge.serving.batching import Batcher, can_batch, rows_of
from trimtab_edge.serving.budget import Budget
from trimtab_edge.serving.failure import Fault, RequestError
from trimtab_edge.serving.model import Answer
from trimtab_edge.serving.offload import SECONDS as OFFLOAD_SECONDS
from trimtab_edge.serving.offload import OffloadError
from trimtab_edge.serving.session import Cancellation
from trimtab_edge.serving.watchdog import LIMIT, Watchdog
from trimtab_kernel import vocabulary
from trimtab_kernel.problems import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from trimtab_edge.conduct import Batching
    from trimtab_edge.serving.headroom import Headroom
    from trimtab_edge.serving.model import Prepared, ServedModel
    from trimtab_edge.serving.offload import OffloadClient
    from trimtab_edge.serving.tensors import Array, InferRequest
    from trimtab_edge.telemetry.conduct import ConductCounts
    from trimtab_edge.telemetry.inference import InferenceCounts
    from trimtab_kernel.desired import OffloadTarget

_T = TypeVar("_T")
_log = logging.getLogger("trimtab.serve")
_WEIGHT = 0.1
_MAX_RETRY_AFTER = 60.0


class _Place:
    """What belongs to a model whatever its version: its budgets, and its turns at the pool."""

    __slots__ = ("batching", "budget", "concurrency", "served", "turns")

    def __init__(self) -> None:
        self.served: ServedModel | None = None
        self.budget: Budget | None = None
        self.turns: asyncio.Semaphore | None = None
        self.concurrency: int | None = None
        self.batching: Batching | None = None


class Execution:
    """Used on one event loop."""

    def __init__(
        self,
        counts: InferenceCounts,
        *,
        threads: int,
        queue: int,
        timeout: float | None = None,
        headroom: Headroom | None = None,
        offload: OffloadClient | None = None,
        conduct: ConductCounts | None = None,
        state: Path | None = None,
    ) -> None:
        """``threads`` requests run at a time beside the event loop; ``queue`` more may wait for them.

        ``timeout``: seconds for requests that name none. ``state``: directory that keeps what was used today.
        """
        self._counts = counts
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="infer")
        self._threads = threads
        self._most = threads + queue
        self._inside = 0
        self._seconds = 0.0
        self._timeout = timeout
        self._headroom = headroom
        self._offload = offload
        self._conduct = conduct
        self._state = state
        self._watchdog = Watchdog()
        self._places: dict[str, _Place] = {}
        self._batchers: dict[int, tuple[ServedModel, Batcher]] = {}

    def close(self) -> None:
        """End the threads once they are idle, and write down what was used."""
        self.pool.shutdown(wait=True)
        self._watchdog.close()
        if self._offload is not None:
            self._offload.close()
        for place in self._places.values():
            if place.budget is not None:
                place.budget.close()

    async def answer(self, served: ServedModel, request: InferRequest, prepared: Prepared) -> Answer:
        """Run one request. Raises :class:`RequestError`."""
        started = self.start(served, request, prepared)
        return started if isinstance(started, Answer) else await started

    def start(
        self, served: ServedModel, request: InferRequest, prepared: Prepared
    ) -> Answer | Coroutine[Any, Any, Answer]:
        """The answer of a request that is sure to be short; else what is to be awaited. Raises :class:`RequestError`."""
        place = self._places.get(served.name)
        if place is None or place.served is not served:
            place = self.settle(served)
        guard = served.guard
        if guard is not None and guard.watches_ranges:
            self._signal(served.name, vocabulary.SIGNAL_OUT_OF_RANGE, guard.check(prepared.feeds))
        budget = place.budget
        if budget is not None:
            constraint = budget.check(usage.now(), prepared.size)
            if constraint is not None:
                problem = RequestError(
                    Fault.LIMITED,
                    f"model {quoted(served.name)}: its budget ({constraint.reason}) is used up for now",
                    constraint.retry_after,
                )
                return self._elsewhere(served, request, place, constraint.reason, problem)
        try:
            self._check_memory(prepared)
            if place.batching is not None or not served.pacing.in_place(prepared.elements):
                return self._later(served, request, prepared, place)
            answer = self._in_place(served, request, prepared)
            if answer is None:
                return self._later(served, request, prepared, place)
        except RequestError as error:
            if budget is None or error.fault is not Fault.OVERLOADED:
                raise
            return self._elsewhere(served, request, place, "overload", error)
        served.pacing.observe(prepared.elements, answer.cpu_seconds)
        if budget is not None or guard is not None:
            self._settled(served, prepared, answer, place)
        return answer

    def _in_place(self, served: ServedModel, request: InferRequest, prepared: Prepared) -> Answer | None:
        """Run it on this thread; None where it took so long that it was ended, and has to be run beside the others."""
        began = time.monotonic()
        try:
            return served.run(request, prepared, self._watchdog.begin())
        except RequestError as error:
            if error.fault is not Fault.DEADLINE:
                raise
            if time.monotonic() - began >= LIMIT:
                served.pacing.surprised()
            return None
        finally:
            self._watchdog.end()

    def _check_memory(self, prepared: Prepared) -> None:
        if self._headroom is not None and self._headroom.refuses_request(prepared.size):
            raise RequestError(Fault.OVERLOADED, "too little memory is left for this request", 1.0)

    async def _later(self, served: ServedModel, request: InferRequest, prepared: Prepared, place: _Place) -> Answer:
        try:
            answer = await self._here(served, request, prepared, place)
        except RequestError as error:
            if place.budget is None or error.fault is not Fault.OVERLOADED:
                raise
            return await self._elsewhere(served, request, place, "overload", error)
        self._settled(served, prepared, answer, place)
        return answer

    def _settled(self, served: ServedModel, prepared: Prepared, answer: Answer, place: _Place) -> None:
        """What an answer counts for beside itself."""
        if place.budget is not None:
            place.budget.use(answer.cpu_seconds, prepared.size + _bytes(answer.outputs))
        guard = served.guard
        if guard is not None and guard.output is not None:
            self._signal(served.name, vocabulary.SIGNAL_NEAR_BOUNDARY, guard.near(answer.outputs[guard.output]))

    def explained(self, model: str) -> None:
        """An answer was explained that nobody had asked about."""
        if self._conduct is not None:
            self._conduct.sampled(model)

    def _signal(self, model: str, name: str, rows: int) -> None:
        if rows and self._conduct is not None:
            self._conduct.signal(model, name, rows)

    def settle(self, served: ServedModel) -> _Place:
        """Make room for a version that is about to answer; what its model has used and counted stays."""
        place = self._places.setdefault(served.name, _Place())
        conduct, rules = served.description.conduct, served.description.inference
        if place.turns is None or conduct.concurrency != place.concurrency:
            place.turns = asyncio.Semaphore(conduct.concurrency or self._most)
            place.concurrency = conduct.concurrency
        moment = usage.now()
        if rules is None:
            if place.budget is not None:
                place.budget.close()
            place.budget = None
        elif place.budget is None:
            path = None if self._state is None else self._state / "usage" / f"{served.name}.json"
            place.budget = Budget(rules, path, moment)
        else:
            place.budget = place.budget.changed(rules, moment)
        if place.budget is not None and place.budget.usage is not None and place.budget.usage.problem:
            _log.warning("%s: use of today: %s; counted from here", served.name, place.budget.usage.problem)
        if self._conduct is not None:
            self._conduct.declare(
                served.name,
                signals=served.signals,
                budgeted=rules is not None,
                batched=conduct.batching is not None,
                sampled=conduct.sampling is not None,
            )
        place.served, place.batching = served, conduct.batching
        return place

    async def _elsewhere(
        self, served: ServedModel, request: InferRequest, place: _Place, reason: str, problem: RequestError
    ) -> Answer:
        """Ask the fleet's other endpoint, where it may be asked for this reason; else raise ``problem``."""
        target = served.description.inference.offload if served.description.inference else None
        if target is not None and self._offload is not None and _may_ask(target, reason, self._offload):
            try:
                seconds = min(request.timeout or OFFLOAD_SECONDS, OFFLOAD_SECONDS)
                response = await self._offload.ask(target.endpoint, served.name, request, served.signature, seconds)
            except OffloadError as error:
                _log.warning("%s: offload failed: %s", served.name, error)
            else:
                if place.budget is not None:
                    moved = sum(tensor.array.nbytes for tensor in (*request.inputs, *response.outputs))
                    place.budget.use(0.0, moved)
                self._decided(served.name, vocabulary.DECISION_OFFLOADED)
                return Answer(response, 0.0, [], served, {}, {}, offloaded=True)
        self._decided(served.name, vocabulary.DECISION_REFUSED)
        raise problem

    def _decided(self, model: str, decision: str) -> None:
        if self._conduct is not None:
            self._conduct.decided(model, decision)

    async def _here(self, served: ServedModel, request: InferRequest, prepared: Prepared, place: _Place) -> Answer:
        batching = place.batching
        if self._inside >= self._most:
            raise RequestError(Fault.OVERLOADED, "too many requests wait already; try again later", self._retry_after())
        self._inside += 1
        try:
            async with asyncio.timeout(request.timeout or served.description.conduct.timeout or self._timeout):
                if batching is not None and (rows := rows_of(prepared.feeds)) and can_batch(served.signature):
                    return await self._batched(served, request, prepared, rows, batching)
                assert place.turns is not None
                async with place.turns:
                    answer, seconds = await self._pooled(lambda stop: served.run(request, prepared, stop))
                served.pacing.observe(prepared.elements, answer.cpu_seconds if served.session.threads == 1 else seconds)
                return answer
        except TimeoutError:
            raise RequestError(Fault.DEADLINE, "the deadline passed before there was an answer") from None
        finally:
            self._inside -= 1

    async def _pooled(self, work: Callable[[Cancellation], _T]) -> tuple[_T, float]:
        """Do it in a thread; whoever gives up stops it at the next node of its graph."""
        stop = Cancellation()
        queued = time.perf_counter()

        def timed() -> tuple[float, float, _T]:
            started = time.perf_counter()
            result = work(stop)
            return started, time.perf_counter(), result

        try:
            started, ended, result = await asyncio.get_running_loop().run_in_executor(self.pool, timed)
        except asyncio.CancelledError:
            stop.ask()
            raise
        self._counts.queue_seconds += max(0.0, started - queued)
        seconds = ended - started
        self._seconds = seconds if self._seconds == 0 else self._seconds + _WEIGHT * (seconds - self._seconds)
        return result, seconds

    def _retry_after(self) -> float:
        """When half of those inside will have been answered, at the rate of late."""
        return min(_MAX_RETRY_AFTER, self._inside / 2 * self._seconds / self._threads)

    async def _batched(
        self, served: ServedModel, request: InferRequest, prepared: Prepared, rows: int, rules: Batching
    ) -> Answer:
        batcher = self._batcher(served, rules)
        outputs, cpu = await batcher.infer(prepared.feeds, rows)
        return served.answer(request, prepared, [outputs[name] for name in prepared.names], cpu)

    def _batcher(self, served: ServedModel, rules: Batching) -> Batcher:
        kept = self._batchers.get(id(served))
        if kept is not None:
            return kept[1]
        names = [spec.name for spec in served.signature.outputs]

        async def run(feeds: dict[str, Array]) -> tuple[dict[str, Array], float, float]:
            (arrays, cpu), seconds = await self._pooled(lambda stop: served.session.run(names, feeds, stop))
            if self._conduct is not None:
                self._conduct.ran(served.name)
            return dict(zip(names, arrays, strict=True)), cpu, seconds

        # Of each model the version that answers now keeps its batcher; one before it ends with its requests.
        self._batchers = {key: one for key, one in self._batchers.items() if one[0].name != served.name}
        batcher = Batcher(rules, run)
        self._batchers[id(served)] = (served, batcher)
        return batcher


def _may_ask(target: OffloadTarget, reason: str, client: OffloadClient) -> bool:
    # Out of data, an offload would move more of it.
    return reason != "data" and (not target.when or reason in target.when) and client.is_open(target.endpoint)


def _bytes(arrays: dict[str, Array]) -> int:
    return sum(array.nbytes for array in arrays.values())
