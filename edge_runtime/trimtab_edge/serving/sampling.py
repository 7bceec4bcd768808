"""Explanations that nobody asked for: of a model marked high-stakes one answer in so many is explained.

There is an allowance for each hour. What mattered is added up: no row, no answer and no text is kept, sums over features only.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from trimtab_edge.serving.oversight_codec import ExplainOptions
from trimtab_edge.serving.tensors import InferRequest, Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trimtab_edge.conduct import Sampling
    from trimtab_edge.serving.oversight_codec import Explained
    from trimtab_edge.serving.tensors import Array, Signature

_HOUR = 3600.0


class Samples:
    """What was explained of one version. Used on one event loop."""

    def __init__(self, rules: Sampling) -> None:
        self.rules = rules
        self.answers = 0
        self.explained = 0
        self.failed = 0
        """Samples that could not be explained, mostly since there was no time."""
        self._output = ""
        self._begin = float("-inf")
        self._used = 0
        self._sums: defaultdict[tuple[str, int | None], list[float]] = defaultdict(lambda: [0.0, 0.0])

    def due(self, now: float) -> bool:
        """Whether the answer that was just given, at ``now`` on a steady clock in seconds, is to be explained."""
        self.answers += 1
        if (self.answers - 1) % self.rules.one_in:
            return False
        if now - self._begin >= _HOUR:
            self._begin, self._used = now, 0
        if self._used >= self.rules.per_hour:
            return False
        self._used += 1
        return True

    def options(self) -> ExplainOptions:
        """What one explanation may cost; each sample draws anew."""
        return ExplainOptions(budget=self.rules.budget, deadline=self.rules.deadline, seed=self.answers)

    def add(self, found: Explained) -> None:
        """One answer was explained. Columns of tables are told apart; of a picture, text or sound the whole counts."""
        self.explained += 1
        self._output = found.output
        whole: defaultdict[tuple[str, int | None], float] = defaultdict(float)
        size: defaultdict[tuple[str, int | None], float] = defaultdict(float)
        for explanation in found.explanations:
            for label, value in zip(explanation.labels, explanation.contributions.values, strict=True):
                key = (str(label["input"]), label.get("column"))
                if value is not None:  # a part that there was no time for
                    whole[key] += value
                    size[key] += abs(value)
        for key, value in whole.items():
            self._sums[key][0] += value
            self._sums[key][1] += size[key]

    def summary(self) -> dict[str, Any]:
        """Mean contribution and mean absolute contribution of each feature, the one that mattered most first."""
        features: list[dict[str, Any]] = [
            {"input": name, **({} if column is None else {"column": column}),
             "mean": total / self.explained, "mean_absolute": size / self.explained}
            for (name, column), (total, size) in self._sums.items()
        ]  # fmt: skip
        features.sort(key=lambda feature: -feature["mean_absolute"])
        return {
            "answers": self.answers, "explained": self.explained, "failed": self.failed, "one_in": self.rules.one_in,
            "per_hour": self.rules.per_hour, "output": self._output, "features": features,
        }  # fmt: skip


def one_row(signature: Signature, feeds: Mapping[str, Array], place: int) -> InferRequest:
    """A request for one row of what was fed, number ``place`` modulo their count: one row is what can be explained."""
    tensors = []
    for spec in signature.inputs:
        array = feeds[spec.name]
        if spec.shape and not isinstance(spec.shape[0], int) and array.shape[0] > 1:
            row = place % array.shape[0]
            array = array[row : row + 1]
        tensors.append(Tensor(spec.name, spec.datatype, array))
    return InferRequest(tuple(tensors))
