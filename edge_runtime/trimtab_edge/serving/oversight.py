"""What is watched of one loaded version beside its decisions: scores, rows that wait for a label, sketches of features.

The version's counts outlive this object (a description may change while the version stays), so they are handed in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimtab_edge.alignment.features import Modality, watched
from trimtab_edge.alignment.pending import NO_SCORE, Row
from trimtab_edge.alignment.sketches import FeatureSketches
from trimtab_edge.alignment.version import VersionAlignment, score_column
from trimtab_kernel.problems import InputError, Problem, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trimtab_edge.alignment.pending import PendingDecisions
    from trimtab_edge.serving.decisions import CohortCounter
    from trimtab_edge.serving.tensors import Array, Signature
    from trimtab_kernel.desired import Alignment


class Oversight:
    """Watches one version. Used by the event loop alone."""

    def __init__(
        self, alignment: Alignment | None, signature: Signature, counter: CohortCounter | None, file: str
    ) -> None:
        """Raises :class:`InputError` (E403) where the declared score does not fit the model; ``file`` is for the message."""
        self._counter = counter
        self.score = alignment.score_output if alignment else None
        self._column = alignment.score_column if alignment else None
        if self.score is not None:
            _check_score(self.score, self._column, signature, file)
        # BF16 arrays hold bits, not numbers.
        tensors = [spec for spec in (*signature.inputs, *signature.outputs) if spec.datatype != "BF16"]
        self._tensors = tuple(watched(spec) for spec in tensors)
        inputs = {spec.name for spec in signature.inputs}
        self.tables = tuple(
            tensor.tensor for tensor in self._tensors if tensor.modality is Modality.TABULAR and tensor.tensor in inputs
        )
        """The inputs that are tables."""

    def counts(self, before: VersionAlignment | None) -> VersionAlignment:
        """What to count into: what was there before, where it fits still."""
        cohorts = self._counter.cohorts if self._counter else ()
        if (
            before is not None
            and (before.cohorts, before.scored) == (cohorts, self.score is not None)
            and before.sketches is not None
            and before.sketches.tensors == self._tensors
        ):
            return before
        return VersionAlignment(cohorts, scored=self.score is not None, sketches=FeatureSketches(self._tensors))

    def observe(
        self,
        into: VersionAlignment,
        feeds: Mapping[str, Array],
        outputs: Mapping[str, Array],
        *,
        pending: PendingDecisions,
        name: tuple[str, str, str | None],
    ) -> None:
        """One answered request; ``name`` is model, version and the request's id."""
        if into.sketches is not None:
            into.sketches.observe({**feeds, **outputs})
        model, version, request_id = name
        if self._counter is None or (self.score is None and request_id is None):
            return
        positive = self._counter.positive(outputs[self._counter.output])
        bins: list[int] = []
        if self.score is not None:
            scores = score_column(outputs[self.score], positive.size, self._column)
            if scores is not None:
                bins = into.decided(positive, scores)
        if request_id is not None:
            members = self._counter.memberships(feeds, positive.size)
            rows = [
                Row(cohorts, up, bins[place] if bins else NO_SCORE)
                for place, (cohorts, up) in enumerate(zip(members, positive.tolist(), strict=False))
            ]
            pending.keep(model, version, request_id, rows)


def _check_score(output: str, column: int | None, signature: Signature, file: str) -> None:
    spec = signature.output(output)
    place = "alignment.outcome.score"
    if spec is None:
        names = ", ".join(quoted(other.name) for other in signature.outputs)
        raise InputError(Problem("E403", file, 0, f"{place}.output", quoted(output), f"one of {names}"))
    if spec.datatype not in ("FP16", "FP32", "FP64"):
        raise InputError(
            Problem("E403", file, 0, f"{place}.output", spec.datatype, "FP16, FP32 or FP64: a probability")
        )
    width = 1
    for size in spec.shape[1:]:
        if not isinstance(size, int):
            return  # the request decides; a row without such a column has no score
        width *= size
    if (column is None and width != 1) or (column is not None and column >= width):
        got = "none" if column is None else str(column)
        raise InputError(Problem("E403", file, 0, f"{place}.column", got, f"a column below {width}"))
