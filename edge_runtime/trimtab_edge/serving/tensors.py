"""Tensors as the Open Inference Protocol V2 names them, and how a request is held against a model's signature."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import numpy as np

from trimtab_edge.serving.failure import Fault, RequestError
from trimtab_kernel.problems import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[Any]"
Dimension: TypeAlias = "int | str | None"
"""A size, the name of a size that the request chooses, or any size at all."""

NUMPY_TYPES: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "BF16": np.dtype(np.uint16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BYTES": np.dtype(object),
}
"""V2 datatypes, and how an array holds them. BF16 has no numpy type: an array holds its bits, the upper half of FP32."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a model."""

    name: str
    datatype: str
    shape: tuple[Dimension, ...]
    ranked: bool = True
    """Whether a shape is declared: without one, ``shape`` is empty and a request may choose any."""

    @property
    def wire_shape(self) -> tuple[int, ...]:
        """The shape as V2 metadata writes it: -1 for a size that the request chooses."""
        return tuple(size if isinstance(size, int) else -1 for size in self.shape)


# One of each is made for every request: a Struct takes a fifth of the time that a frozen dataclass does.
class Tensor(msgspec.Struct, frozen=True, gc=False):
    """A tensor of a request or a response; ``datatype`` is a key of :data:`NUMPY_TYPES`, and ``array`` has that type."""

    name: str
    datatype: str
    array: Array


class InferRequest(msgspec.Struct, frozen=True, gc=False):
    """A decoded request. ``outputs`` None means: all of them."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[str, ...] | None = None
    id: str | None = None
    timeout: float | None = None
    """Seconds within which an answer is of use; None where the request does not say."""


class InferResponse(msgspec.Struct, frozen=True, gc=False):
    """A result, ready for any encoding."""

    model: str
    version: str
    id: str | None
    outputs: tuple[Tensor, ...]


def invalid(message: str) -> RequestError:
    """The client's fault."""
    return RequestError(Fault.INVALID, message)


MAX_RANK = 16
MAX_ID = 1024


def check_head(datatype: str, shape: Sequence[int], place: str) -> np.dtype[Any]:
    """The array type of a tensor whose datatype and shape can be. Raises :class:`RequestError`."""
    dtype = NUMPY_TYPES.get(datatype)
    if dtype is None:
        raise invalid(f"{place}: datatype {quoted(datatype)}, expected one of {', '.join(NUMPY_TYPES)}")
    if len(shape) > MAX_RANK:
        raise invalid(f"{place}: shape of {len(shape)} dimensions, expected at most {MAX_RANK}")
    if shape and min(shape) < 0:
        raise invalid(f"{place}: shape {quoted(list(shape))} has a negative size")
    return dtype


def shaped(array: Array, shape: Sequence[int], place: str) -> Array:
    """``array`` in that shape, which holds as many elements. Raises :class:`RequestError` for a shape beyond memory."""
    try:
        return array.reshape(shape)
    except (ValueError, OverflowError):  # a size of 0 beside sizes that no machine can address
        raise invalid(f"{place}: shape {quoted(list(shape))} is beyond any memory") from None


@dataclass(frozen=True, slots=True)
class Signature:
    """A model's inputs and outputs, in the model's order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    _inputs: dict[str, TensorSpec] = field(init=False, repr=False, compare=False)
    _outputs: dict[str, TensorSpec] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_inputs", {spec.name: spec for spec in self.inputs})
        object.__setattr__(self, "_outputs", {spec.name: spec for spec in self.outputs})

    def input(self, name: str) -> TensorSpec | None:
        """The input of that name."""
        return self._inputs.get(name)

    def output(self, name: str) -> TensorSpec | None:
        """The output of that name."""
        return self._outputs.get(name)

    def feeds(self, request: InferRequest) -> dict[str, Array]:
        """The request's arrays by input name, once names, datatypes and shapes fit. Raises :class:`RequestError`."""
        feeds: dict[str, Array] = {}
        sizes: dict[str, tuple[int, str]] = {}
        for tensor in request.inputs:
            spec = self._inputs.get(tensor.name)
            if spec is None:
                raise invalid(f"input {quoted(tensor.name)}: no such input; expected {_names(self.inputs)}")
            if tensor.name in feeds:
                raise invalid(f"input {quoted(tensor.name)}: given twice")
            if tensor.datatype != spec.datatype:
                raise invalid(
                    f"input {quoted(tensor.name)}: datatype {tensor.datatype}, expected {spec.datatype} "
                    f"of shape {_shown(spec.wire_shape)}"
                )
            self._check_shape(tensor, spec, sizes)
            feeds[tensor.name] = tensor.array
        if len(feeds) != len(self.inputs):
            missing = next(spec for spec in self.inputs if spec.name not in feeds)
            raise invalid(
                f"input {quoted(missing.name)}: missing; expected {missing.datatype} of shape {_shown(missing.wire_shape)}"
            )
        return feeds

    def _check_shape(self, tensor: Tensor, spec: TensorSpec, sizes: dict[str, tuple[int, str]]) -> None:
        if not spec.ranked:
            return
        shape = tensor.array.shape
        fits = len(shape) == len(spec.shape)
        if fits:
            for got, expected in zip(shape, spec.shape, strict=True):
                if got == expected:
                    continue
                if isinstance(expected, int):
                    fits = False
                elif expected is not None:
                    size, where = sizes.setdefault(expected, (got, tensor.name))
                    if size != got:
                        raise invalid(
                            f"input {quoted(tensor.name)}: shape {_shown(shape)}, expected {size} for {quoted(expected)} "
                            f"as in input {quoted(where)}"
                        )
        if not fits:
            raise invalid(
                f"input {quoted(tensor.name)}: shape {_shown(shape)}, expected {_shown(spec.wire_shape)} ({spec.datatype})"
            )

    def chosen_outputs(self, requested: tuple[str, ...] | None) -> tuple[TensorSpec, ...]:
        """The outputs to send, in the order asked for. Raises :class:`RequestError` for one that does not exist."""
        if not requested:
            return self.outputs
        chosen = []
        for place, name in enumerate(requested):
            spec = self._outputs.get(name)
            if spec is None:
                raise invalid(f"output {quoted(name)}: no such output; expected {_names(self.outputs)}")
            if name in requested[:place]:
                raise invalid(f"output {quoted(name)}: asked for twice")
            chosen.append(spec)
        return tuple(chosen)


def _names(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(quoted(spec.name) for spec in specs)


def _shown(shape: Sequence[int]) -> str:
    return f"[{','.join(str(size) for size in shape)}]"
