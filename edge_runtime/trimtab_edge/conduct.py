"""How one model is to be served, as ``model.yaml`` declares it: limits, batching, and what its inputs may be.

::

    limits: {concurrency: 2, timeoutMs: 500}
    batching: {maxSize: 16, targetMs: 20}
    guards:
      ranges:
        - {input: features, column: 3, low: 0, high: 300}
        - {input: image, low: 0, high: 1, enforce: true}
      typical: {input: features, means: [48.5, 1.5, 26.4], deviations: [13.1, 0.5, 4.4], within: 3}
      boundary: {output: probability, column: 1, at: 0.5, within: 0.05}
    explanations: {oneIn: 1000, perHour: 60, budget: 256, deadlineMs: 500}    # for a model marked high-stakes

Nothing is learned and nothing is guessed: what is not declared is not checked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trimtab_kernel.problems import InputError, Problem, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

FIELDS = ("batching", "explanations", "guards", "limits")
_MAX_RANGES, _MAX_COLUMNS = 256, 65_536
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Range:
    """Values of an input, or of one column of its rows, lie in ``low`` to ``high``, both included. NaN lies outside.

    With ``enforce`` a request with a value outside is refused; without, its rows are counted.
    """

    input: str
    column: int | None
    low: float
    high: float
    enforce: bool = False


@dataclass(frozen=True, slots=True)
class Typical:
    """Where the rows that a model was made from lie: means and standard deviations of an input's columns.

    A row is outside where the root of the mean of its squared standardised values exceeds ``within``: Mahalanobis'
    distance with a diagonal covariance, by the number of columns, so that 1 is what a row of training has on average.
    It finds rows that no single column gives away.
    """

    input: str
    means: tuple[float, ...]
    deviations: tuple[float, ...]
    within: float


@dataclass(frozen=True, slots=True)
class Boundary:
    """Where the model decides: rows whose output lies within ``within`` of ``at`` are near it."""

    output: str
    column: int | None
    at: float
    within: float


@dataclass(frozen=True, slots=True)
class Batching:
    """At most ``max_size`` rows together, for as long as a request is likely answered within ``target`` seconds."""

    max_size: int
    target: float


@dataclass(frozen=True, slots=True)
class Sampling:
    """One answer in ``one_in`` is explained, at most ``per_hour`` an hour.

    An explanation takes at most ``budget`` evaluations of the model and ``deadline`` seconds.
    """

    one_in: int
    per_hour: int
    budget: int
    deadline: float


@dataclass(frozen=True, slots=True)
class Conduct:
    """``concurrency``: requests of this model that run at a time. ``timeout``: seconds, where a request names none."""

    concurrency: int | None = None
    timeout: float | None = None
    batching: Batching | None = None
    ranges: tuple[Range, ...] = ()
    typical: Typical | None = None
    boundary: Boundary | None = None
    sampling: Sampling | None = None


def read_conduct(data: Mapping[str, object], file: str) -> Conduct:
    """Read the fields :data:`FIELDS` of a model description. Raises :class:`InputError` (E401) that names the field."""
    reader = _Reader(file)
    limits = reader.obj(data.get("limits"), "limits", "concurrency", "timeoutMs")
    batching = reader.obj(data.get("batching"), "batching", "maxSize", "targetMs")
    guards = reader.obj(data.get("guards"), "guards", "ranges", "typical", "boundary")
    sampling = reader.obj(data.get("explanations"), "explanations", "oneIn", "perHour", "budget", "deadlineMs")
    ranges = guards.get("ranges") or []
    if not isinstance(ranges, list) or len(ranges) > _MAX_RANGES:
        raise reader.refused("guards.ranges", type(ranges).__name__, f"a list of at most {_MAX_RANGES} ranges")
    timeout = reader.number(limits, "limits", "timeoutMs", 1, 86_400_000, None)
    return Conduct(
        concurrency=reader.whole(limits, "limits", "concurrency", 1, 1024, None),
        timeout=None if timeout is None else timeout / 1e3,
        batching=reader.batching(batching) if batching else None,
        ranges=tuple(reader.range(item, f"guards.ranges[{place}]") for place, item in enumerate(ranges)),
        typical=None if guards.get("typical") is None else reader.typical(guards["typical"]),
        boundary=None if guards.get("boundary") is None else reader.boundary(guards["boundary"]),
        sampling=None if data.get("explanations") is None else reader.sampling(sampling),
    )


class _Reader:
    def __init__(self, file: str) -> None:
        self._file = file

    def refused(self, place: str, got: object, expected: str) -> InputError:
        return InputError(Problem("E401", self._file, 0, place, quoted(got), expected))

    def obj(self, value: object, place: str, *fields: str) -> dict[str, Any]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self.refused(place, type(value).__name__, f"an object with {', '.join(fields)}")
        for key in value:
            if key not in fields:
                raise self.refused(f"{place}.{key}", "an unknown field", f"one of {', '.join(fields)}")
        return value

    def number(
        self, data: Mapping[str, Any], place: str, key: str, low: float, high: float, default: object = _MISSING
    ) -> Any:  # noqa: ANN401 - the number, or the default
        value = data.get(key)
        if value is None and default is not _MISSING:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise self.refused(f"{place}.{key}", value, f"a number from {low:g} to {high:g}")
        try:
            return float(value)
        except OverflowError:  # a whole number beyond every float
            raise self.refused(f"{place}.{key}", "a larger number", f"a number from {low:g} to {high:g}") from None

    def whole(
        self, data: Mapping[str, Any], place: str, key: str, low: int, high: int, default: object = _MISSING
    ) -> Any:  # noqa: ANN401 - the number, or the default
        value = data.get(key)
        if value is None and default is not _MISSING:
            return default
        if type(value) is not int or not low <= value <= high:
            raise self.refused(f"{place}.{key}", value, f"a whole number from {low} to {high}")
        return value

    def name(self, data: Mapping[str, Any], place: str, key: str) -> str:
        value = data.get(key)
        if not isinstance(value, str) or not 0 < len(value) <= 256:
            raise self.refused(f"{place}.{key}", value, "a name of at most 256 characters")
        return value

    def batching(self, data: Mapping[str, Any]) -> Batching:
        return Batching(
            self.whole(data, "batching", "maxSize", 2, 4096),
            self.number(data, "batching", "targetMs", 1, 60_000) / 1e3,
        )

    def sampling(self, data: Mapping[str, Any]) -> Sampling:
        place = "explanations"
        return Sampling(
            self.whole(data, place, "oneIn", 1, 10**9, 1000),
            self.whole(data, place, "perHour", 1, 100_000, 60),
            self.whole(data, place, "budget", 8, 16_384, 256),
            self.number(data, place, "deadlineMs", 1, 10_000, 500.0) / 1e3,
        )

    def range(self, value: object, place: str) -> Range:
        data = self.obj(value, place, "input", "column", "low", "high", "enforce")
        enforce = data.get("enforce", False)
        if not isinstance(enforce, bool):
            raise self.refused(f"{place}.enforce", enforce, "true or false")
        low = self.number(data, place, "low", -math.inf, math.inf, -math.inf)
        high = self.number(data, place, "high", -math.inf, math.inf, math.inf)
        if low > high or (low == -math.inf and high == math.inf):
            raise self.refused(place, f"{low:g} to {high:g}", "low, high or both, the lower one first")
        return Range(
            self.name(data, place, "input"), self.whole(data, place, "column", 0, 2**31 - 1, None), low, high, enforce
        )

    def typical(self, value: object) -> Typical:
        place = "guards.typical"
        data = self.obj(value, place, "input", "means", "deviations", "within")
        columns = {}
        for key, low in (("means", -1e30), ("deviations", 1e-30)):
            values = data.get(key)
            if not isinstance(values, list) or not 0 < len(values) <= _MAX_COLUMNS:
                raise self.refused(f"{place}.{key}", type(values).__name__, f"a list of 1 to {_MAX_COLUMNS} numbers")
            named = {f"{key}[{index}]": one for index, one in enumerate(values)}
            columns[key] = tuple(self.number(named, place, name, low, 1e30) for name in named)
        if len(columns["means"]) != len(columns["deviations"]):
            raise self.refused(
                f"{place}.deviations", len(columns["deviations"]), f"as many as means, {len(columns['means'])}"
            )
        within = self.number(data, place, "within", 0, 1e6)
        return Typical(self.name(data, place, "input"), columns["means"], columns["deviations"], within)

    def boundary(self, value: object) -> Boundary:
        place = "guards.boundary"
        data = self.obj(value, place, "output", "column", "at", "within")
        return Boundary(
            self.name(data, place, "output"),
            self.whole(data, place, "column", 0, 2**31 - 1, None),
            self.number(data, place, "at", -1e30, 1e30),
            self.number(data, place, "within", 0, 1e30),
        )
