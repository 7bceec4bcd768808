"""V2 requests and responses as JSON (Open Inference Protocol, inference_rest). Knows tensors, not models.

Decoding is strict where guessing would change a number: ``1.0`` is no INT64, ``true`` is no number, ``300`` is no UINT8,
``1e39`` is no FP32. Tensor data may be flat in row-major order or nested as the shape says. FP16 travels as numbers that
are rounded to half precision. A result that is not finite is sent as null, because JSON has no word for it.
"""

from __future__ import annotations

import math
import re
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from trimtab_edge.serving.tensors import NUMPY_TYPES, Array, InferRequest, Tensor, invalid
from trimtab_kernel.problems import printable, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trimtab_edge.serving.tensors import InferResponse, Signature

CONTENT_TYPE = "application/json"
MAX_RANK = 16
MAX_ID = 1024
_NESTING = "nested too deep"
_NESTED = re.compile(rb"[ \t\r\n]*\[[ \t\r\n]*\[")


class _Input(msgspec.Struct, gc=False):
    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw
    parameters: dict[str, Any] | None = None


class _Output(msgspec.Struct, gc=False):
    name: str
    parameters: dict[str, Any] | None = None


class _Request(msgspec.Struct, gc=False):
    inputs: list[_Input]
    id: str | None = None
    outputs: list[_Output] | None = None
    parameters: dict[str, Any] | None = None


_REQUEST = msgspec.json.Decoder(_Request)
_ENCODER = msgspec.json.Encoder()


def decode_request(body: bytes) -> InferRequest:
    """Read a request from untrusted bytes. Raises :class:`RequestError` (INVALID) that names tensor and mistake."""
    try:
        request = _REQUEST.decode(body)
    except RecursionError:
        raise invalid(f"request: {_NESTING}") from None
    except ValueError as error:  # msgspec's errors and UnicodeDecodeError
        raise invalid(f"request: {printable(_sentence(error), 300)}") from None
    if request.id is not None and len(request.id) > MAX_ID:
        raise invalid(f"id: {len(request.id)} characters, expected at most {MAX_ID}")
    outputs = None if request.outputs is None else tuple(output.name for output in request.outputs)
    return InferRequest(tuple(_tensor(tensor) for tensor in request.inputs), outputs, request.id)


def _tensor(tensor: _Input) -> Tensor:
    place = f"input {quoted(tensor.name)}"
    dtype = NUMPY_TYPES.get(tensor.datatype)
    if dtype is None:
        raise invalid(f"{place}: datatype {quoted(tensor.datatype)}, expected one of {', '.join(NUMPY_TYPES)}")
    shape = tensor.shape
    if len(shape) > MAX_RANK:
        raise invalid(f"{place}: shape of {len(shape)} dimensions, expected at most {MAX_RANK}")
    if shape and min(shape) < 0:
        raise invalid(f"{place}: shape {quoted(shape)} has a negative size")
    values, depth = _values(tensor, dtype, place)
    size = math.prod(shape)
    if depth == 1 and len(values) != size:
        # Before any array is made: the size that a shape claims never decides how much memory is taken.
        raise invalid(f"{place}: {len(values)} values, expected {_shown(size)} for shape {quoted(shape)}")
    array = _array(values, dtype, tensor.datatype, place)
    if depth > 1 and array.shape != tuple(shape):
        raise invalid(f"{place}: data nested as {quoted(list(array.shape))}, expected shape {quoted(shape)}")
    return Tensor(tensor.name, tensor.datatype, array.reshape(shape))


def _shown(size: int) -> str:
    return str(size) if size < 10**20 else "over 10^20"


@cache
def _decoder(kind: type, depth: int) -> msgspec.json.Decoder[Any]:
    nested: Any = kind
    for _ in range(depth):
        nested = list[nested]
    return msgspec.json.Decoder(nested)


def _element(dtype: np.dtype[Any]) -> type:
    return {"b": bool, "f": float, "O": str}.get(dtype.kind, int)


def _values(tensor: _Input, dtype: np.dtype[Any], place: str) -> tuple[list[Any], int]:
    """The data as nested lists of the right element type, and how deep they are nested (1: flat)."""
    raw = bytes(tensor.data)
    nested = _NESTED.match(raw) is not None
    depth = len(tensor.shape) if nested else 1
    if nested and depth < 2:
        raise invalid(f"{place}: data is nested, expected a flat list for shape {quoted(tensor.shape)}")
    try:
        return _decoder(_element(dtype), depth).decode(raw), depth
    except RecursionError:
        raise invalid(f"{place}: data is {_NESTING}") from None
    except ValueError as error:
        raise invalid(f"{place}: data: {printable(_sentence(error), 300)}; datatype is {tensor.datatype}") from None


def _array(values: list[Any], dtype: np.dtype[Any], datatype: str, place: str) -> Array:
    try:
        with np.errstate(over="ignore"):
            array: Array = np.array(values, dtype=dtype)
    except OverflowError:
        raise invalid(f"{place}: data: a number beyond {datatype}") from None
    except ValueError:
        raise invalid(f"{place}: data: lists of different lengths") from None
    # A JSON number is always finite, so what is infinite now did not fit.
    if dtype.kind == "f" and dtype.itemsize < 8 and not np.isfinite(array).all():
        raise invalid(f"{place}: data: a number beyond {datatype}")
    return array


def _sentence(error: ValueError) -> str:
    # msgspec's texts name the place in the document and the types, never the value.
    text = str(error)
    return text[:1].lower() + text[1:]


def encode_response(response: InferResponse) -> bytes:
    """A V2 response: data flat in row-major order."""
    fields: dict[str, Any] = {"model_name": response.model, "model_version": response.version}
    if response.id is not None:
        fields["id"] = response.id
    fields["outputs"] = [
        {
            "name": tensor.name,
            "shape": list(tensor.array.shape),
            "datatype": tensor.datatype,
            "data": _listed(tensor.array),
        }
        for tensor in response.outputs
    ]
    return _ENCODER.encode(fields)


def _listed(array: Array) -> list[Any]:
    values: list[Any] = array.ravel().tolist()
    if array.dtype.kind == "O":
        return [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in values]
    return values


def encode(value: Mapping[str, Any] | list[Any]) -> bytes:
    """Plain values as JSON."""
    return _ENCODER.encode(value)


def model_metadata(name: str, version: str, platform: str, signature: Signature) -> dict[str, Any]:
    """The V2 metadata response of a model."""
    return {
        "name": name,
        "versions": [version],
        "platform": platform,
        "inputs": [
            {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.wire_shape)} for spec in signature.inputs
        ],
        "outputs": [
            {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.wire_shape)} for spec in signature.outputs
        ],
    }
