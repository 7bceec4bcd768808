"""The core of the server, neutral of any protocol: transports decode, ask, and encode."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from trimtab_edge.serving.failure import Fault, RequestError
from trimtab_edge.serving.repository import Standing, State
from trimtab_kernel import vocabulary
from trimtab_kernel.problems import quoted

if TYPE_CHECKING:
    from trimtab_edge.serving.model import Answer, ServedModel
    from trimtab_edge.serving.repository import IndexEntry, ModelRepository, Slot
    from trimtab_edge.serving.tensors import InferRequest
    from trimtab_edge.telemetry.inference import InferenceCounts

_REASONS = {
    Fault.OVERLOADED: vocabulary.FAILURE_OVERLOADED,
    Fault.UNAVAILABLE: vocabulary.FAILURE_OVERLOADED,
    Fault.INTERNAL: vocabulary.FAILURE_INTERNAL,
}


class DataPlane:
    """Answers questions about models, and runs them. Used on one event loop."""

    def __init__(
        self,
        repository: ModelRepository,
        counts: InferenceCounts,
        *,
        threads: int,
        queue: int,
        model_control: bool = True,
    ) -> None:
        """``threads`` requests run at a time beside the event loop; ``queue`` more may wait for them.

        Without ``model_control`` nobody may load or unload by request.
        """
        self._repository = repository
        self._counts = counts
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="infer")
        self._room = threads + queue
        self._model_control = model_control
        self.draining = False

    def close(self) -> None:
        """End the threads once they are idle."""
        self._pool.shutdown(wait=True)

    @property
    def ready(self) -> bool:
        """Every model answers, be it in the version before the one that is to answer, and the server does not drain."""
        slots = self._repository.slots.values()
        return not self.draining and all(
            slot.current is not None for slot in slots if slot.standing.state is not State.UNLOADED
        )

    def standing(self, model: str, version: str | None) -> Standing:
        """How a model stands, or one version of it. Raises :class:`RequestError` for what is not known here."""
        slot = self._slot(model)
        current = slot.current
        if current is not None and version in (None, current.version) and slot.standing.version != current.version:
            # It answers on while its successor is loaded or has failed.
            return Standing(current.version, str(current.digest), State.READY)
        if version in (None, slot.standing.version):
            return slot.standing
        raise _other_version(model, version or "", slot)

    def model(self, model: str, version: str | None) -> ServedModel:
        """What answers now. Raises :class:`RequestError`."""
        slot = self._slot(model)
        current = slot.current
        if current is None:
            reason = slot.standing.reason or "it is being loaded"
            raise RequestError(Fault.UNAVAILABLE, f"model {quoted(model)} does not answer: {reason}")
        if version is not None and version != current.version:
            raise _other_version(model, version, slot)
        return current

    async def infer(self, model: str, version: str | None, request: InferRequest) -> Answer:
        """Run one request. Raises :class:`RequestError`."""
        served = self.model(model, version)
        prepared = served.prepare(request)
        if served.pacing.in_place(prepared.elements):
            answer = served.run(request, prepared)
        else:
            if self._room <= 0:
                raise RequestError(Fault.OVERLOADED, "too many requests wait already; try again later")
            self._room -= 1
            try:
                loop = asyncio.get_running_loop()
                answer = await loop.run_in_executor(self._pool, served.run, request, prepared)
            finally:
                self._room += 1
        served.pacing.observe(prepared.elements, answer.cpu_seconds)
        return answer

    async def index(self, *, ready_only: bool) -> list[IndexEntry]:
        """The versions of the repository."""
        return [entry for entry in await self._repository.index() if not ready_only or entry.state == "READY"]

    async def load(self, model: str) -> None:
        """Return once the version that is to answer does. Raises :class:`RequestError`."""
        self._check_control()
        await self._repository.load(model)

    async def unload(self, model: str) -> None:
        """Let a model go that no order holds. Raises :class:`RequestError`."""
        self._check_control()
        await self._repository.unload(model)

    def _check_control(self) -> None:
        if not self._model_control:
            raise RequestError(Fault.FORBIDDEN, "load and unload by request are switched off here")

    def answered(self, answer: Answer, duration: float) -> None:
        """Count a request whose response is about to be sent, ``duration`` seconds after its last byte came in."""
        versions = self._counts.models[answer.response.model].versions
        counts = versions.get(answer.response.version)
        if counts is None:  # replaced so long ago that its series are gone
            return
        counts.answered(duration, answer.cpu_seconds)
        for cohort, positive, total in answer.decisions:
            counts.decided(cohort, positive, total)

    def failed(self, model: str, fault: Fault) -> None:
        """Count a request that got an error."""
        if model in self._counts.models:
            self._counts.failed(model, _REASONS.get(fault, vocabulary.FAILURE_BAD_REQUEST))

    def _slot(self, model: str) -> Slot:
        slot = self._repository.slots.get(model)
        if slot is None:
            known = ", ".join(quoted(name) for name in sorted(self._repository.slots)[:10]) or "no model"
            raise RequestError(Fault.NOT_FOUND, f"model {quoted(model)}: no such model; here: {known}")
        return slot


def _other_version(model: str, version: str, slot: Slot) -> RequestError:
    here = f"here: {quoted(slot.current.version)}" if slot.current else "no version answers"
    return RequestError(Fault.NOT_FOUND, f"model {quoted(model)}: version {quoted(version)} is not served; {here}")
