"""A model that answers: its session, what is watched about it, and what it has counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trimtab_edge.serving.pacing import Pacing
from trimtab_edge.serving.tensors import InferResponse, Tensor
from trimtab_kernel import vocabulary

if TYPE_CHECKING:
    from trimtab_edge.serving.decisions import CohortCounter
    from trimtab_edge.serving.guards import Guard
    from trimtab_edge.serving.oversight import Oversight
    from trimtab_edge.serving.session import Cancellation, OnnxSession
    from trimtab_edge.serving.tensors import Array, InferRequest, Signature
    from trimtab_edge.settings import ModelDescription
    from trimtab_kernel.identity import Digest


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that fits its model: what to feed, what to run, what to send."""

    feeds: dict[str, Array]
    names: tuple[str, ...]
    sent: int
    """The first so many of ``names`` were asked for; more may be run to be counted."""
    elements: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, its CPU seconds, its decisions as (cohort, positive, total), and what it was made of.

    ``outputs`` holds every output that was run, also those that nobody asked for.
    """

    response: InferResponse
    cpu_seconds: float
    decisions: list[tuple[str, int, int]]
    model: ServedModel
    feeds: dict[str, Array]
    outputs: dict[str, Array]
    offloaded: bool = False
    """Another server made it: it is no decision of this model, and took no CPU here."""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class ServedModel:
    """One version, loaded and warm. Requests hold on to it, so it outlives its replacement by as long as they last."""

    name: str
    version: str
    digest: Digest
    session: OnnxSession
    description: ModelDescription
    counter: CohortCounter | None
    oversight: Oversight
    pacing: Pacing = field(default_factory=Pacing)
    guard: Guard | None = None

    @property
    def signature(self) -> Signature:
        """Inputs and outputs."""
        return self.session.signature

    @property
    def properties(self) -> dict[str, str]:
        """What V2 metadata says of how it runs."""
        return {
            "execution_providers": ",".join(self.session.providers),
            "threads_per_request": str(self.session.threads),
        }

    @property
    def signals(self) -> tuple[str, ...]:
        """The signals that its guard may give."""
        if self.guard is None:
            return ()
        ranges = (vocabulary.SIGNAL_OUT_OF_RANGE,) if self.guard.watches_ranges else ()
        return (*ranges, vocabulary.SIGNAL_NEAR_BOUNDARY) if self.guard.output is not None else ranges

    def prepare(self, request: InferRequest) -> Prepared:
        """Hold the request against the signature. Raises :class:`RequestError`."""
        feeds = self.signature.feeds(request)
        names = tuple(spec.name for spec in self.signature.chosen_outputs(request.outputs))
        sent = len(names)
        if self.counter is not None and self.counter.output not in names:
            names = (*names, self.counter.output)
        if self.oversight.score is not None and self.oversight.score not in names:
            names = (*names, self.oversight.score)
        if self.guard is not None and self.guard.output is not None and self.guard.output not in names:
            names = (*names, self.guard.output)
        return Prepared(feeds, names, sent, sum(array.size for array in feeds.values()))

    def run(self, request: InferRequest, prepared: Prepared, cancellation: Cancellation | None = None) -> Answer:
        """Run and count. Any thread may call it. Raises :class:`RequestError`."""
        arrays, cpu = self.session.run(prepared.names, prepared.feeds, cancellation)
        return self.answer(request, prepared, arrays, cpu)

    def answer(self, request: InferRequest, prepared: Prepared, arrays: list[Array], cpu: float) -> Answer:
        """Count what was run, and make the answer. Any thread may call it."""
        decisions: list[tuple[str, int, int]] = []
        if self.counter is not None:
            decisions = self.counter.count(prepared.feeds, arrays[prepared.names.index(self.counter.output)])
        outputs = tuple(
            Tensor(name, self.signature.output(name).datatype, array)  # type: ignore[union-attr] # names come from it
            for name, array in zip(prepared.names[: prepared.sent], arrays, strict=False)
        )
        response = InferResponse(self.name, self.version, request.id, outputs)
        return Answer(response, cpu, decisions, self, prepared.feeds, dict(zip(prepared.names, arrays, strict=True)))
