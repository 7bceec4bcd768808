"""Decisions by cohort of the declared sensitive attribute: counts only, rows never leave the request."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from trimtab_edge.serving.tensors import NUMPY_TYPES, Array, Signature, TensorSpec
from trimtab_kernel.problems import InputError, Problem, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from trimtab_kernel.desired import Alignment, Cohort


def _as_held(value: Decimal, dtype: np.dtype[Any]) -> int | float:
    """``value`` as a tensor of ``dtype`` holds it: who writes 0.7 means the single-precision 0.7 of an FP32 column."""
    if dtype.kind == "f":
        return float(dtype.type(float(value)).item())
    return int(value) if value == value.to_integral_value() else float(value)


class _Membership:
    __slots__ = ("_high", "_low", "_value", "name")

    def __init__(self, cohort: Cohort, dtype: np.dtype[Any]) -> None:
        self.name = cohort.name
        self._value = None if cohort.value is None else _as_held(cohort.value, dtype)
        self._low = None if cohort.low is None else _as_held(cohort.low, dtype)
        self._high = None if cohort.high is None else _as_held(cohort.high, dtype)

    def holds(self, x: float) -> bool:
        if self._value is not None:
            return x == self._value
        return (self._low is None or x >= self._low) and (self._high is None or x < self._high)

    def mask(self, column: Array) -> Array:
        if self._value is not None:
            result: Array = column == self._value
            return result
        # A NaN compares false with everything, so it is in no cohort as soon as there is one bound; there always is.
        mask = np.ones(column.shape, dtype=np.bool_)
        if self._low is not None:
            mask &= column >= self._low
        if self._high is not None:
            mask &= column < self._high
        return mask


class CohortCounter:
    """Counts the decisions of one model. One row of the attribute's input is one decision."""

    def __init__(self, alignment: Alignment, signature: Signature, file: str) -> None:
        """Raises :class:`InputError` (E403) where the alignment does not fit the model; ``file`` is for the message."""
        self._input = alignment.attribute_input
        self._column = alignment.attribute_column
        self.output = alignment.outcome_output
        attribute = _numeric(signature.input(self._input), f"input {quoted(self._input)}", signature.inputs, file)
        outcome = _numeric(signature.output(self.output), f"output {quoted(self.output)}", signature.outputs, file)
        # A vector of a fixed size is one row; in every other shape the first size counts rows.
        self._single = len(attribute.shape) == 1 and isinstance(attribute.shape[0], int)
        sizes = attribute.shape if self._single else attribute.shape[1:]
        width = math.prod(size for size in sizes if isinstance(size, int))
        if not attribute.shape or (self._column >= width and all(isinstance(size, int) for size in sizes)):
            raise InputError(
                Problem(
                    "E403", file, 0, "alignment.attribute.column", str(self._column),
                    f"less than {width}: input {quoted(self._input)} has shape {list(attribute.wire_shape)}",
                )
            )  # fmt: skip
        if math.prod(size for size in outcome.shape[1:] if isinstance(size, int)) != 1:
            raise InputError(
                Problem(
                    "E403", file, 0, "alignment.outcome.output", quoted(self.output),
                    f"one value per row; its shape is {list(outcome.wire_shape)}",
                )
            )  # fmt: skip
        self._positive = _as_held(alignment.positive, NUMPY_TYPES[outcome.datatype])
        self._memberships = [_Membership(cohort, NUMPY_TYPES[attribute.datatype]) for cohort in alignment.cohorts]
        self.cohorts = tuple(cohort.name for cohort in alignment.cohorts)

    def count(self, feeds: Mapping[str, Array], outcome: Array) -> list[tuple[str, int, int]]:
        """Cohort, positive outcomes and decisions of one request; cohorts without a row in it are left out.

        A row outside every cohort is not counted, nor is a request whose outcome does not have one value per row.
        """
        column = self._attribute(feeds[self._input])
        if column is None or column.size != outcome.size:
            return []
        if column.size == 1:
            x, positive = column.item(), int(outcome.item() == self._positive)
            return [(membership.name, positive, 1) for membership in self._memberships if membership.holds(x)]
        chosen = outcome.reshape(-1) == self._positive
        counts = []
        for membership in self._memberships:
            mask = membership.mask(column)
            total = int(np.count_nonzero(mask))
            if total:
                counts.append((membership.name, int(np.count_nonzero(mask & chosen)), total))
        return counts

    def positive(self, outcome: Array) -> Array:
        """Whether each value of the outcome is the positive one, in one dimension."""
        chosen: Array = outcome.reshape(-1) == self._positive
        return chosen

    def memberships(self, feeds: Mapping[str, Array], rows: int) -> list[int]:
        """A bit per cohort for each row of one request; empty where the attribute does not have so many rows."""
        column = self._attribute(feeds[self._input])
        if column is None or column.size != rows:
            return []
        if rows == 1:
            x = column.item()
            return [sum(1 << place for place, membership in enumerate(self._memberships) if membership.holds(x))]
        bits = np.zeros(rows, dtype=np.int64)
        for place, membership in enumerate(self._memberships):
            bits |= membership.mask(column).astype(np.int64) << place
        found: list[int] = bits.tolist()
        return found

    def _attribute(self, array: Array) -> Array | None:
        rows = 1 if self._single else array.shape[0]
        width = array.size if self._single else math.prod(array.shape[1:])
        if self._column >= width:
            return None
        column: Array = array.reshape(rows, width)[:, self._column]
        return column


def _numeric(spec: TensorSpec | None, place: str, there: tuple[TensorSpec, ...], file: str) -> TensorSpec:
    if spec is None:
        names = ", ".join(quoted(other.name) for other in there)
        raise InputError(Problem("E403", file, 0, f"alignment: {place}", "no such tensor", f"one of {names}"))
    if spec.datatype in ("BYTES", "BF16"):
        # BF16 arrays hold bits, not numbers.
        raise InputError(Problem("E403", file, 0, f"alignment: {place}", spec.datatype, "a tensor of numbers"))
    return spec
