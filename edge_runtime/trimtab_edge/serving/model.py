"""A model that answers: its session, what is watched about it, and what it has counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

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


MAX_CHOICES = 64
"""Choices of outputs that a model remembers the meaning of."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a choice of outputs means: what to run, and what of it to send as (name, datatype)."""

    names: tuple[str, ...]
    sent: tuple[tuple[str, str], ...]
    """The first of ``names`` were asked for; more may be run to be counted."""
    outcome: int
    """Where the outcome that is counted stands in ``names``; -1 where none is."""


class Prepared(msgspec.Struct, frozen=True):
    """A request that fits its model: what to feed and how much that is, what to run, what to send."""

    feeds: dict[str, Array]
    choice: Choice
    elements: int
    size: int
    """Bytes of the feeds."""

    @property
    def names(self) -> tuple[str, ...]:
        """The outputs to run."""
        return self.choice.names


class Answer(msgspec.Struct, frozen=True):
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
    choices: dict[tuple[str, ...] | None, Choice] = field(default_factory=dict)

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
        feeds = self.session.signature.feeds(request)
        choice = self.choices.get(request.outputs)
        if choice is None:
            choice = self._choice(request.outputs)
        elements = size = 0
        for array in feeds.values():
            elements += array.size
            size += array.nbytes
        return Prepared(feeds, choice, elements, size)

    def _choice(self, outputs: tuple[str, ...] | None) -> Choice:
        chosen = self.signature.chosen_outputs(outputs)
        names = tuple(spec.name for spec in chosen)
        watched = (
            self.counter.output if self.counter is not None else None,
            self.oversight.score,
            self.guard.output if self.guard is not None else None,
        )
        for output in watched:
            if output is not None and output not in names:
                names = (*names, output)
        outcome = -1 if self.counter is None else names.index(self.counter.output)
        choice = Choice(names, tuple((spec.name, spec.datatype) for spec in chosen), outcome)
        if len(self.choices) < MAX_CHOICES:
            self.choices[outputs] = choice
        return choice

    def run(self, request: InferRequest, prepared: Prepared, cancellation: Cancellation | None = None) -> Answer:
        """Run and count. Any thread may call it. Raises :class:`RequestError`."""
        arrays, cpu = self.session.run(prepared.choice.names, prepared.feeds, cancellation)
        return self.answer(request, prepared, arrays, cpu)

    def answer(self, request: InferRequest, prepared: Prepared, arrays: list[Array], cpu: float) -> Answer:
        """Count what was run, and make the answer. Any thread may call it."""
        choice = prepared.choice
        decisions: list[tuple[str, int, int]] = []
        if self.counter is not None:
            decisions = self.counter.count(prepared.feeds, arrays[choice.outcome])
        outputs = tuple(
            [Tensor(name, datatype, array) for (name, datatype), array in zip(choice.sent, arrays, strict=False)]
        )
        response = InferResponse(self.name, self.version, request.id, outputs)
        return Answer(response, cpu, decisions, self, prepared.feeds, dict(zip(choice.names, arrays, strict=True)))
