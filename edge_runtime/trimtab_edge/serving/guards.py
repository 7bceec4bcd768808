"""Checks of what goes into a model and of where its answers fall: counts, and a refusal only where it was declared.

Rows outside of declared ranges, or far from where the declared typical rows lie, tell of inputs that the model was not
made for. A large share of rows near the decision
boundary tells of somebody who maps it (extraction) or looks for a way across it (evasion): honest inputs seldom crowd
there. Both are signals about many requests, so neither blocks one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from trimtab_edge.serving.tensors import Array, Signature, TensorSpec, invalid
from trimtab_kernel.problems import InputError, Problem, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trimtab_edge.conduct import Boundary, Conduct, Range, Typical


class _Table:
    """All ranges of one input, so that they are held against its rows at once. ``columns`` None: one range for all."""

    __slots__ = ("columns", "highs", "input", "lows", "rules")

    def __init__(self, rules: tuple[Range, ...]) -> None:
        self.rules = rules
        self.input = rules[0].input
        columns = [rule.column for rule in rules if rule.column is not None]
        self.columns = np.array(columns, np.intp) if columns else None
        self.lows = np.array([rule.low for rule in rules])
        self.highs = np.array([rule.high for rule in rules])

    def inside(self, array: Array) -> Array:
        """By row, and by range or, where there is one for all columns, by column."""
        values = _columns(array, None)
        if self.columns is not None:
            values = values[:, self.columns]
        return np.logical_and(values >= self.lows, values <= self.highs)


class _Distance:
    """How far the rows of one input lie from the typical ones."""

    __slots__ = ("_deviations", "_means", "_within", "input")

    def __init__(self, typical: Typical) -> None:
        self.input = typical.input
        self._means = np.array(typical.means)
        self._deviations = np.array(typical.deviations)
        self._within = typical.within

    def outside(self, array: Array) -> Array:
        """By row. One with a NaN, or of another width than declared, is outside."""
        values = _columns(array, None).astype(np.float64, copy=False)
        if values.shape[1] != self._means.size:
            return np.ones(values.shape[0], bool)
        with np.errstate(all="ignore"):
            distance = np.sqrt(np.mean(np.square((values - self._means) / self._deviations), axis=1))
        outside: Array = np.logical_not(distance <= self._within)
        return outside


class Guard:
    """The declared checks of one version. Any thread may use it."""

    __slots__ = ("_boundary", "_distance", "_tables")

    def __init__(self, conduct: Conduct, signature: Signature, file: str) -> None:
        """Raises :class:`InputError` (E407) where a declaration names what the model does not have."""
        by_input: dict[str, list[Range]] = {}
        tables = []
        for rule in conduct.ranges:
            _check(signature.input(rule.input), rule.column, f"guards: input {quoted(rule.input)}", file)
            if rule.column is None:
                tables.append(_Table((rule,)))
            else:
                by_input.setdefault(rule.input, []).append(rule)
        self._tables = (*tables, *(_Table(tuple(rules)) for rules in by_input.values()))
        self._distance = None if conduct.typical is None else _Distance(conduct.typical)
        if conduct.typical is not None:
            name, last = conduct.typical.input, len(conduct.typical.means) - 1
            _check(signature.input(name), last, f"guards: typical {quoted(name)}", file)
        self._boundary = conduct.boundary
        if conduct.boundary is not None:
            name = conduct.boundary.output
            _check(signature.output(name), conduct.boundary.column, f"guards: output {quoted(name)}", file)

    @property
    def output(self) -> str | None:
        """The output that has to be run for it."""
        return None if self._boundary is None else self._boundary.output

    @property
    def watches_ranges(self) -> bool:
        """Whether anything is declared of the inputs."""
        return bool(self._tables) or self._distance is not None

    def check(self, feeds: Mapping[str, Array]) -> int:
        """How many rows have a value outside, or are far from the typical ones. Raises :class:`RequestError` (INVALID) for one in an enforced range."""
        outside: Array | None = None
        for table in self._tables:
            inside = table.inside(feeds[table.input])
            if inside.all():
                continue
            for place, rule in enumerate(table.rules):
                if rule.enforce and not (inside if rule.column is None else inside[:, place]).all():
                    column = "" if rule.column is None else f" column {rule.column}"
                    raise invalid(
                        f"input {quoted(rule.input)}{column}: a value outside of {rule.low:g} to {rule.high:g}, "
                        "which this model declares"
                    )
            outside = _either(outside, np.logical_not(inside.all(axis=1, keepdims=True)).reshape(-1))
        if self._distance is not None:
            outside = _either(outside, self._distance.outside(feeds[self._distance.input]))
        return 0 if outside is None else int(np.count_nonzero(outside))

    def near(self, output: Array) -> int:
        """How many rows of the output lie near the boundary."""
        assert self._boundary is not None
        return _near(self._boundary, output)


def _either(outside: Array | None, found: Array) -> Array:
    """Rows of either. Inputs with different numbers of rows are not of the same rows: then the larger count is told."""
    if outside is None:
        return found
    if outside.shape != found.shape:
        return found if found.sum() > outside.sum() else outside
    either: Array = np.logical_or(outside, found)
    return either


def _columns(array: Array, column: int | None) -> Array:
    """Two dimensions: a row per row, and the columns that count."""
    rows = array.shape[0] if array.ndim else 1
    width = math.prod(array.shape[1:]) if array.ndim else 1
    flat = array.reshape(rows, width)
    return flat if column is None else flat[:, column : column + 1]


def _near(boundary: Boundary, array: Array) -> int:
    if array.size == 1:
        return int(abs(float(array.item()) - boundary.at) <= boundary.within)
    values = _columns(array, boundary.column).astype(np.float64, copy=False)
    return int(np.count_nonzero((np.abs(values - boundary.at) <= boundary.within).any(axis=1)))


def _check(spec: TensorSpec | None, column: int | None, place: str, file: str) -> None:
    if spec is None:
        raise InputError(Problem("E407", file, 0, place, "no such tensor", "a tensor of this model"))
    if spec.datatype in ("BYTES", "BF16"):
        raise InputError(Problem("E407", file, 0, place, spec.datatype, "a tensor of numbers"))
    sizes = spec.shape[1:]
    if column is not None and all(isinstance(size, int) for size in sizes):
        width = math.prod(size for size in sizes if isinstance(size, int))
        if column >= width:
            raise InputError(Problem("E407", file, 0, place, f"column {column}", f"a column below {width}"))
