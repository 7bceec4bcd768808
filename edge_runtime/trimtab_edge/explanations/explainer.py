"""Explains one answer of one model: Shapley values over all columns of its tables, occlusion for its other inputs.

What is explained is one number: one column of one output, for one row. Inputs that are not being explained stay as they
are, so a contribution says what matters given the rest.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trimtab_edge.alignment.features import Modality, modality_of
from trimtab_edge.explanations.game import DeadlineError
from trimtab_edge.explanations.occlusion import occlusion
from trimtab_edge.explanations.parts import parts_of
from trimtab_edge.explanations.shapley import shapley_values
from trimtab_kernel.problems import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from trimtab_edge.alignment.features import TensorShape
    from trimtab_edge.explanations.game import Contributions, Expired
    from trimtab_edge.explanations.parts import Parts, Words

    Run = Callable[[Mapping[str, NDArray[Any]]], NDArray[Any]]
    """Runs the model on arrays by input name; the array of the output that is explained."""

MAX_BUDGET = 16_384
MAX_BATCH_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Explanation:
    """The contributions of the parts of one or more inputs, found by one method."""

    method: str
    modality: Modality
    inputs: tuple[str, ...]
    labels: tuple[Mapping[str, Any], ...]
    """For each contribution: ``input``, and which part of it."""
    contributions: Contributions


class Explainer:
    """One request: the model's inputs as declared, the arrays of one row, how to run, and which column is explained."""

    def __init__(
        self,
        tensors: Sequence[TensorShape],
        arrays: Mapping[str, NDArray[Any]],
        run: Run,
        column: int | None,
        *,
        inputs: Sequence[str] | None = None,
        shapes: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        """``inputs`` are to be explained, all where it is None; ``shapes`` say of which sizes an input is a picture.

        Raises ValueError where an input holds more than one row, where there is no input of a name or it can be no
        picture, or where the output has no such column.
        """
        self._tensors = {tensor.name: tensor for tensor in tensors}
        self._arrays = dict(arrays)
        self._run = run
        # The batch size is open in every input, or rows go one by one.
        self._batched = all(bool(tensor.shape) and not isinstance(tensor.shape[0], int) for tensor in tensors)
        for name, array in self._arrays.items():
            if self._batched and array.shape[0] != 1:
                raise ValueError(
                    f"input {name} holds {array.shape[0]} rows, expected one: an explanation is of one answer"
                )
            if array.size == 0:
                raise ValueError(f"input {name} is empty")
        self._shapes = shapes or {}
        for name in (*(inputs or ()), *self._shapes):
            if name not in self._arrays:
                raise ValueError(f"no input {quoted(name)}, expected one of {', '.join(map(quoted, self._arrays))}")
        self._inputs = tuple(name for name in self._arrays if inputs is None or name in inputs)
        kinds = {name: modality_of(self._tensors[name]) for name in self._inputs}
        for name in self._shapes:
            if kinds.get(name) is Modality.TEXT:
                raise ValueError(f"input {name} is text, so it has no shape of a picture")
        self._kinds = {name: Modality.IMAGE if name in self._shapes else kind for name, kind in kinds.items()}
        answer = run(self._arrays)
        if answer.size == 0 or answer.dtype.kind not in "fiub":
            raise ValueError("the output holds no numbers")
        self._width = answer.size
        if column is None:
            column = int(np.argmax(answer.reshape(-1)))
        if not 0 <= column < self._width:
            raise ValueError(f"column {column}, expected 0 to {self._width - 1}")
        self.column = column
        self.cut_short = False
        """Whether there was no time left for one of the inputs."""

    def explain(
        self,
        *,
        budget: int,
        seed: int,
        most: int,
        references: Mapping[str, Sequence[float]],
        expired: Expired,
    ) -> list[Explanation]:
        """One explanation for all tables, one for each other input; those that the deadline left no time for are not there.

        ``budget`` evaluations are shared out evenly among them; ``most`` bounds the parts of an input that is no table;
        ``references`` are the values that stand for an absent column. The same arguments give the same answer unless the
        deadline cuts it short. Raises ValueError (BudgetError is one), and DeadlineError where there was no time for any.
        """
        tables = [name for name, kind in self._kinds.items() if kind is Modality.TABULAR]
        others = [name for name, kind in self._kinds.items() if kind is not Modality.TABULAR]
        groups = [tables] * bool(tables) + [[name] for name in others]
        share = budget // max(1, len(groups))
        found: list[Explanation] = []
        for names in groups:
            try:
                one = self._explained(names, share, seed, most, references, expired)
            except DeadlineError:
                if not found:
                    raise
                self.cut_short = True
                break
            if one is not None:
                found.append(one)
        return found

    def _explained(
        self,
        names: Sequence[str],
        budget: int,
        seed: int,
        most: int,
        references: Mapping[str, Sequence[float]],
        expired: Expired,
    ) -> Explanation | None:
        """All tables, or one other input; None for a text without a word."""
        kind = self._kinds[names[0]]
        table = kind is Modality.TABULAR
        parts = {
            name: parts_of(
                kind,
                name,
                self._arrays[name],
                most=max(1, most if table else min(most, budget - 2)),
                reference=references.get(name),
                sizes=self._shapes.get(name),
            )
            for name in names
        }
        count = sum(len(part.labels) for part in parts.values())
        if count == 0:
            return None
        if table:
            random = np.random.Generator(np.random.PCG64(seed))
            result = shapley_values(self._game(parts), count, budget=budget, random=random, expired=expired)
        else:
            result = occlusion(self._game(parts), count, budget=budget, expired=expired)
        return _explanation("shapley" if table else "occlusion", kind, parts, result)

    def _game(self, parts: Mapping[str, Parts | Words]) -> Callable[[NDArray[np.bool_]], NDArray[np.float64]]:
        bounds = [0, *itertools.accumulate(len(part.labels) for part in parts.values())]
        places = dict(zip(parts, itertools.pairwise(bounds), strict=True))
        row_bytes = max(1, sum(array.nbytes for array in self._arrays.values()))
        at_once = max(1, MAX_BATCH_BYTES // row_bytes) if self._batched else 1

        def value(present: NDArray[np.bool_]) -> NDArray[np.float64]:
            values = []
            for start in range(0, len(present), at_once):
                some = present[start : start + at_once]
                made = {name: part.made(some[:, slice(*places[name])]) for name, part in parts.items()}
                feeds = {
                    name: np.concatenate(made.get(name) or [array] * len(some))
                    if self._batched
                    else made.get(name, [array])[0]
                    for name, array in self._arrays.items()
                }
                values.append(self._answers(feeds, len(some)))
            return np.concatenate(values)

        return value

    def _answers(self, feeds: Mapping[str, NDArray[Any]], rows: int) -> NDArray[np.float64]:
        answer = self._run(feeds)
        if answer.size != rows * self._width:
            raise ValueError("the output does not have one answer for each row of the input")
        found: NDArray[np.float64] = answer.reshape(rows, self._width)[:, self.column].astype(np.float64)
        return found


def _explanation(
    method: str, modality: Modality, parts: Mapping[str, Parts | Words], result: Contributions
) -> Explanation:
    labels = tuple({"input": name, **label} for name, part in parts.items() for label in part.labels)
    return Explanation(method, modality, tuple(parts), labels, result)
