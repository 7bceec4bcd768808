"""The core of the server, neutral of any protocol: transports decode, ask, and encode."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import TYPE_CHECKING, Any

from trimtab_edge.alignment.labels import positives
from trimtab_edge.alignment.pending import LabelConflictError, PendingDecisions, UnknownDecisionError
from trimtab_edge.serving.execution import Execution
from trimtab_edge.serving.explanation import explain, late
from trimtab_edge.serving.failure import Fault, RequestError
from trimtab_edge.serving.model import Answer
from trimtab_edge.serving.release import Release, by_outcome
from trimtab_edge.serving.repository import Standing, State
from trimtab_edge.serving.sampling import Samples, one_row
from trimtab_edge.serving.session import Cancellation
from trimtab_kernel import vocabulary
from trimtab_kernel.problems import quoted

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from trimtab_edge.conduct import Sampling
    from trimtab_edge.serving.model import ServedModel
    from trimtab_edge.serving.oversight_codec import Explained, ExplainOptions
    from trimtab_edge.serving.repository import IndexEntry, ModelRepository, Slot
    from trimtab_edge.serving.tensors import InferRequest
    from trimtab_edge.telemetry.inference import InferenceCounts, VersionCounts
    from trimtab_kernel.evidence import Evidence

_REASONS = {
    Fault.OVERLOADED: vocabulary.FAILURE_OVERLOADED,
    Fault.LIMITED: vocabulary.FAILURE_OVERLOADED,
    Fault.DEADLINE: vocabulary.FAILURE_OVERLOADED,
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
        release: Release | None = None,
        execution: Execution | None = None,
    ) -> None:
        """``threads`` requests run at a time beside the event loop; ``queue`` more may wait for them.

        Without ``model_control`` nobody may load or unload by request. ``release`` adds noise to counts that leave.
        """
        self._repository = repository
        self._counts = counts
        self._execution = execution or Execution(counts, threads=threads, queue=queue)
        repository.on_change = self._execution.settle
        self._model_control = model_control
        self._pending = PendingDecisions(secrets.token_bytes(16))
        self._release = release
        self._explaining = False
        self._samples: dict[str, tuple[str, Samples]] = {}
        self._sampling: set[asyncio.Task[None]] = set()
        self.draining = False

    def close(self) -> None:
        """End the threads once they are idle."""
        self._execution.close()

    @property
    def ready(self) -> bool:
        """Every model of the disk answers, be it in the version before the one that is to, and the server does not drain."""
        slots = self._repository.slots.values()
        answering = (slot.current is not None for slot in slots if slot.standing.state is not State.UNLOADED)
        return self._repository.looked and not self.draining and all(answering)

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
        started = self.start(model, version, request)
        return started if isinstance(started, Answer) else await started

    def start(self, model: str, version: str | None, request: InferRequest) -> Answer | Coroutine[Any, Any, Answer]:
        """The same: the answer where it can be had at once, else what is to be awaited for it."""
        served = self.model(model, version)
        return self._execution.start(served, request, served.prepare(request))

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

    async def explain(
        self, model: str, version: str | None, request: InferRequest, options: ExplainOptions
    ) -> Explained:
        """What one answer rests on. One explanation is made at a time. Raises :class:`RequestError`."""
        served = self.model(model, version)
        if self._explaining:
            raise RequestError(Fault.OVERLOADED, "an explanation is being made already; try again later")
        self._explaining = True
        try:
            return await self._explained(served, request, options)
        finally:
            self._explaining = False

    async def _explained(self, served: ServedModel, request: InferRequest, options: ExplainOptions) -> Explained:
        """In a thread, which ends at the next node of the model's graph when the deadline passes. Raises RequestError."""
        stop = Cancellation()
        work = self._execution.pool.submit(explain, served, request, options, self._references(served, options), stop)

        def expire() -> None:
            stop.ask()
            work.cancel()  # where it waits for a thread still

        timer = asyncio.get_running_loop().call_later(options.deadline, expire)
        try:
            return await asyncio.wrap_future(work)
        except asyncio.CancelledError:
            if stop.is_asked:
                raise late(options) from None
            raise
        finally:
            timer.cancel()
            stop.ask()

    def _references(self, served: ServedModel, options: ExplainOptions) -> dict[str, list[float]]:
        """What stands for an absent column: as asked for, else the median that this box saw, else 0."""
        counts = self._version_counts(served.name, served.version)
        # Medians are values of rows, which must not leave where counts get noise.
        sketches = counts.alignment.sketches if counts and counts.alignment and counts.shown is None else None
        found = dict(options.reference)
        for tensor in served.oversight.tables:
            if tensor in options.shapes or (options.inputs is not None and tensor not in options.inputs):
                continue
            if tensor not in found and sketches is not None and (medians := sketches.medians(tensor)) is not None:
                found[tensor] = medians
        return found

    def label(self, model: str, version: str | None, request_id: str, label: object) -> tuple[str, int]:
        """The label of an earlier request has come: its version, and how many of its rows were counted now.

        Raises :class:`RequestError`: NOT_FOUND where the decision is not known any more, CONFLICT where it was labelled
        otherwise, INVALID for what is no label.
        """
        slot = self._slot(model)
        served = slot.current
        alignment = served.description.alignment if served is not None else None
        if alignment is None:
            raise RequestError(
                Fault.INVALID, f"model {quoted(model)} declares no outcome, so labels mean nothing to it"
            )
        try:
            labels = positives(label, alignment.positive)
            made_by, rows = self._pending.label(model, version, request_id, labels)
        except UnknownDecisionError:
            raise RequestError(
                Fault.NOT_FOUND, f"id {quoted(request_id)}: no decision of this id is kept; it may have been pushed out"
            ) from None
        except LabelConflictError as error:
            raise RequestError(Fault.CONFLICT, f"id {quoted(request_id)}: {error}") from None
        except ValueError as error:
            raise RequestError(Fault.INVALID, f"label: {error}") from None
        counts = self._version_counts(model, made_by)
        if counts is None or counts.alignment is None:
            raise RequestError(Fault.NOT_FOUND, f"version {quoted(made_by)} was replaced, and its counts are gone")
        for row, positive in rows:
            counts.alignment.label(row, positive)
        return made_by, len(rows)

    def evidence(self, model: str, version: str | None) -> Evidence:
        """What this box knows about the alignment of one version. Raises :class:`RequestError`."""
        version = version or self.model(model, None).version
        self._slot(model)
        counts = self._version_counts(model, version)
        if counts is None or counts.alignment is None:
            raise RequestError(Fault.NOT_FOUND, f"model {quoted(model)}: version {quoted(version)} has no counts here")
        if self._release is not None:
            return self._release.evidence(model, version, counts)
        return counts.alignment.evidence(model, version, by_outcome(counts.decisions))

    def _version_counts(self, model: str, version: str) -> VersionCounts | None:
        counts = self._counts.models.get(model)
        return counts.versions.get(version) if counts else None

    def answered(self, answer: Answer, duration: float, received: int = 0, sent: int = 0) -> None:
        """Count a request whose response is about to be sent, ``duration`` seconds after its last byte came in.

        ``received`` and ``sent`` are the bytes of both bodies.
        """
        if answer.offloaded:
            return
        versions = self._counts.models[answer.response.model].versions
        counts = versions.get(answer.response.version)
        if counts is None:  # replaced so long ago that its series are gone
            return
        counts.answered(duration, answer.cpu_seconds)
        counts.moved(received, sent)
        if counts.alignment is not None:
            name = (answer.response.model, answer.response.version, answer.response.id)
            answer.model.oversight.observe(
                counts.alignment, answer.feeds, answer.outputs, pending=self._pending, name=name
            )
        for cohort, positive, total in answer.decisions:
            counts.decided(cohort, positive, total)
        if (rules := answer.model.description.conduct.sampling) is not None:
            self._sample(answer, rules)

    def samples(self, model: str, version: str | None) -> dict[str, Any]:
        """What sampled explanations add up to. Raises :class:`RequestError`."""
        served = self.model(model, version)
        rules = served.description.conduct.sampling
        if rules is None:
            raise RequestError(Fault.NOT_FOUND, f"model {quoted(model)} declares no sampling of explanations")
        if self._release is not None:
            # Sums over a few rows would tell of the rows.
            raise RequestError(Fault.FORBIDDEN, "explanations do not leave a server whose counts get noise")
        return {"model_name": model, "model_version": served.version, **self._samples_of(served, rules).summary()}

    def _samples_of(self, served: ServedModel, rules: Sampling) -> Samples:
        kept = self._samples.get(served.name)
        if kept is None or kept[0] != served.version or kept[1].rules != rules:
            kept = self._samples[served.name] = (served.version, Samples(rules))
        return kept[1]

    def _sample(self, answer: Answer, rules: Sampling) -> None:
        served = answer.model
        samples = self._samples_of(served, rules)
        if not samples.due(time.monotonic()) or self._explaining or self.draining:
            return
        self._explaining = True
        request = one_row(served.signature, answer.feeds, samples.answers)
        task = asyncio.get_running_loop().create_task(self._explain_sample(served, request, samples))
        self._sampling.add(task)
        task.add_done_callback(self._sampling.discard)

    async def _explain_sample(self, served: ServedModel, request: InferRequest, samples: Samples) -> None:
        try:
            samples.add(await self._explained(served, request, samples.options()))
            self._execution.explained(served.name)
        except (RequestError, RuntimeError):  # no time, or the server ends
            samples.failed += 1
        finally:
            self._explaining = False

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
