"""V2 requests and responses over HTTP (Open Inference Protocol, inference_rest, and its binary tensor data extension).

Knows tensors, not models. A body is JSON, or JSON of a stated length followed by the contents of its binary tensors.

Decoding is strict where guessing would change a number: ``1.0`` is no INT64, ``true`` is no number, ``300`` is no UINT8,
``1e39`` is no FP32. Tensor data may be flat in row-major order or nested as the shape says. FP16 and BF16 travel as
numbers that are rounded to them. A result that is not finite is sent as null, because JSON has no word for it; as
binary tensor data it is what it is.
"""

from __future__ import annotations

import math
import re
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import numpy as np

from trimtab_edge.serving import bfloat16, binary_codec
from trimtab_edge.serving.tensors import (
    MAX_ID,
    MAX_RANK,
    NUMPY_TYPES,
    Array,
    InferRequest,
    InferResponse,
    Tensor,
    check_head,
    invalid,
    shaped,
)
from trimtab_kernel.problems import printable, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trimtab_edge.serving.tensors import Signature

_T = TypeVar("_T")
CONTENT_TYPE = "application/json"
BINARY_TYPE = "application/octet-stream"
MAX_TIMEOUT = 86_400_000_000
LENGTH_HEADER = "inference-header-content-length"
_NESTING = "nested too deep"
_NESTED = re.compile(rb"[ \t\r\n]*\[[ \t\r\n]*\[")
_OPENING = ord("[")
_FEW = 256
"""Numbers up to this count are compared with the bounds of their datatype in Python, which is quicker then."""
_FLOAT_BOUND = {np.dtype(np.float16): 65520.0, np.dtype(np.float32): 2.0**128 * (1 - 2.0**-25)}
"""From here on a number rounds to infinity (IEEE 754-2019, 4.3.1)."""


class _Input(msgspec.Struct, gc=False):
    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw = msgspec.Raw()
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


class Form(msgspec.Struct, frozen=True):
    """How the outputs are to be sent: the names whose form was asked for, and the form of all others."""

    binary: bool = False
    by_output: dict[str, bool] = {}

    def is_binary(self, output: str) -> bool:
        """Whether this output goes as binary tensor data."""
        return self.by_output.get(output, self.binary)


_JSON_FORM = Form()


def decode_request(body: bytes | memoryview, json_length: int | None = None) -> tuple[InferRequest, Form]:
    """Read a request from untrusted bytes; what of them follows the first ``json_length`` is binary tensor data.

    Raises :class:`RequestError` (INVALID) that names tensor and mistake. Binary tensors are views of ``body``.
    """
    head, tail = body, None
    if json_length is not None:
        if json_length > len(body):
            raise invalid(f"{LENGTH_HEADER}: {json_length}, but the body has {len(body)} bytes")
        view = memoryview(body)
        head, tail = view[:json_length], view[json_length:]
    try:
        request = _REQUEST.decode(head)
    except RecursionError:
        raise invalid(f"request: {_NESTING}") from None
    except ValueError as error:  # msgspec's errors and UnicodeDecodeError
        raise invalid(f"request: {printable(_sentence(error), 300)}") from None
    if request.id is not None and len(request.id) > MAX_ID:
        raise invalid(f"id: {len(request.id)} characters, expected at most {MAX_ID}")
    inputs = _inputs(request.inputs, tail)
    outputs = None if request.outputs is None else tuple(output.name for output in request.outputs)
    timeout = None if request.parameters is None else timeout_of(request.parameters)
    return InferRequest(inputs, outputs, request.id, timeout), _form(request)


def timeout_of(parameters: Mapping[str, object]) -> float | None:
    """The parameter ``timeout`` in seconds; V2's clients write microseconds, and 0 for none. Raises RequestError."""
    value = parameters.get("timeout")
    if value is None or value == 0:
        return None
    if type(value) is not int or not 0 < value <= MAX_TIMEOUT:
        raise invalid(f"timeout: {quoted(value)}, expected microseconds, at most {MAX_TIMEOUT}")
    return value / 1e6


def _inputs(tensors: list[_Input], tail: memoryview | None) -> tuple[Tensor, ...]:
    inputs, at = [], 0
    for tensor in tensors:
        size = _binary_size(tensor, tail)
        if size is None:
            inputs.append(_tensor(tensor))
            continue
        assert tail is not None
        place = f"input {quoted(tensor.name)}"
        if size > len(tail) - at:
            raise invalid(f"{place}: binary_data_size {size}, but {len(tail) - at} bytes are left of the body")
        check_head(tensor.datatype, tensor.shape, place)
        array = binary_codec.decode(tail[at : at + size], tensor.datatype, tensor.shape, place)
        inputs.append(Tensor(tensor.name, tensor.datatype, array))
        at += size
    if tail is not None and at != len(tail):
        raise invalid(f"body: {len(tail) - at} bytes after the last binary tensor")
    return tuple(inputs)


def _binary_size(tensor: _Input, tail: memoryview | None) -> int | None:
    """How many bytes of the tail are this input's; None for one whose data is in the JSON."""
    parameters = tensor.parameters
    if parameters:
        place = f"input {quoted(tensor.name)}"
        _refuse_shared_memory(parameters, place)
        if "binary_data_size" in parameters:
            size = parameters["binary_data_size"]
            if type(size) is not int or size < 0:
                raise invalid(f"{place}: binary_data_size {quoted(size)}, expected a count of bytes")
            if memoryview(tensor.data):
                raise invalid(f"{place}: both data and binary_data_size, expected one of them")
            if tail is None:
                raise invalid(f"{place}: binary_data_size without the header {LENGTH_HEADER}")
            return size
    if not memoryview(tensor.data):
        raise invalid(f"input {quoted(tensor.name)}: no data, expected data or the parameter binary_data_size")
    return None


def _form(request: _Request) -> Form:
    """What the parameters say of the outputs."""
    binary = _flag(request.parameters, "binary_data_output", "request") if request.parameters else None
    by_output: dict[str, bool] = {}
    for output in request.outputs or ():
        if output.parameters:
            place = f"output {quoted(output.name)}"
            _refuse_shared_memory(output.parameters, place)
            if output.parameters.get("classification"):
                raise invalid(f"{place}: classification is not spoken here, expected the output itself")
            flag = _flag(output.parameters, "binary_data", place)
            if flag is not None:
                by_output[output.name] = flag
    return Form(bool(binary), by_output) if binary or by_output else _JSON_FORM


def _flag(parameters: dict[str, Any], name: str, place: str) -> bool | None:
    value = parameters.get(name)
    if value is not None and not isinstance(value, bool):
        raise invalid(f"{place}: {name} {quoted(value)}, expected true or false")
    return value


def _refuse_shared_memory(parameters: dict[str, Any], place: str) -> None:
    # Taken as if it were not there, it would answer a question that nobody asked.
    if "shared_memory_region" in parameters:
        raise invalid(f"{place}: shared memory is not spoken here, expected data in the request")


def _tensor(tensor: _Input) -> Tensor:
    dtype = NUMPY_TYPES.get(tensor.datatype)
    if dtype is not None and dtype.kind != "O" and tensor.datatype != "BF16":
        array = _plain(tensor, dtype)
        if array is not None:
            return Tensor(tensor.name, tensor.datatype, array)
    return _checked(tensor)


def _plain(tensor: _Input, dtype: np.dtype[Any]) -> Array | None:
    """The array of a small tensor in flat data, where everything about it is in order; None: look closer."""
    shape, raw = tensor.shape, memoryview(tensor.data)
    if not 1 < len(raw) <= 16 * _FEW or not shape or len(shape) > MAX_RANK or min(shape) < 1 or raw[1] == _OPENING:
        return None
    try:
        values = _decoder(_ELEMENTS[dtype.kind], 1).decode(raw)
        if len(values) != math.prod(shape) or len(values) > _FEW:
            return None
        bound = _FLOAT_BOUND.get(dtype)
        if bound is not None and not (-bound < min(values) and max(values) < bound):
            return None
        return np.array(values, dtype).reshape(shape)
    except (ValueError, OverflowError, RecursionError):
        return None


def _checked(tensor: _Input) -> Tensor:
    """The same for any tensor. Raises :class:`RequestError` that names the mistake."""
    place = f"input {quoted(tensor.name)}"
    dtype = check_head(tensor.datatype, tensor.shape, place)
    shape = tensor.shape
    bf16 = tensor.datatype == "BF16"
    held = np.dtype(np.float32) if bf16 else dtype
    values, depth = _values(tensor, held, place)
    size = math.prod(shape)
    if depth == 1 and len(values) != size:
        # Before any array is made: the size that a shape claims never decides how much memory is taken.
        raise invalid(f"{place}: {len(values)} values, expected {_shown(size)} for shape {quoted(shape)}")
    array = _array(values, held, tensor.datatype, place)
    if depth > 1 and array.shape != tuple(shape):
        raise invalid(f"{place}: data nested as {quoted(list(array.shape))}, expected shape {quoted(shape)}")
    if bf16:
        array = bfloat16.narrowed(array)
        if (array & 0x7FFF == 0x7F80).any():
            raise invalid(f"{place}: data: a number beyond BF16")
    return Tensor(tensor.name, tensor.datatype, shaped(array, shape, place))


def _shown(size: int) -> str:
    return str(size) if size < 10**20 else "over 10^20"


@cache
def _decoder(kind: type, depth: int) -> msgspec.json.Decoder[Any]:
    nested: Any = kind
    for _ in range(depth):
        nested = list[nested]
    return msgspec.json.Decoder(nested)


_ELEMENTS = {"b": bool, "f": float, "O": str, "i": int, "u": int}
"""What an element is in JSON, by the kind of its array."""


def _values(tensor: _Input, dtype: np.dtype[Any], place: str) -> tuple[list[Any], int]:
    """The data as nested lists of the right element type, and how deep they are nested (1: flat)."""
    raw = memoryview(tensor.data)
    nested = _NESTED.match(raw) is not None
    depth = len(tensor.shape) if nested else 1
    if nested and depth < 2:
        raise invalid(f"{place}: data is nested, expected a flat list for shape {quoted(tensor.shape)}")
    try:
        return _decoder(_ELEMENTS[dtype.kind], depth).decode(raw), depth
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
    return text if text.startswith("JSON") else text[:1].lower() + text[1:]


class Body(msgspec.Struct, frozen=True, gc=False):
    """The body of a response. ``json_length`` None: it is JSON throughout."""

    content: bytes
    json_length: int | None = None


def encode_response(response: InferResponse, form: Form = _JSON_FORM) -> Body:
    """A V2 response: data flat in row-major order, or as binary tensor data in the order of the outputs."""
    if not form.binary and not form.by_output:
        outputs = [
            _Answered(tensor.name, tensor.array.shape, tensor.datatype, _listed(tensor)) for tensor in response.outputs
        ]
        answer = _Answer(
            model_name=response.model, model_version=response.version, outputs=outputs,
            id=msgspec.UNSET if response.id is None else response.id,
        )  # fmt: skip
        return Body(_ENCODER.encode(answer))
    return _mixed(response, form)


class _Answered(msgspec.Struct, gc=False):
    name: str
    shape: tuple[int, ...]
    datatype: str
    data: list[Any]


class _Answer(msgspec.Struct, gc=False, kw_only=True):
    model_name: str
    model_version: str
    id: str | msgspec.UnsetType = msgspec.UNSET
    outputs: list[_Answered]


def _mixed(response: InferResponse, form: Form) -> Body:
    fields: dict[str, Any] = {"model_name": response.model, "model_version": response.version}
    if response.id is not None:
        fields["id"] = response.id
    outputs: list[dict[str, Any]] = []
    tail: list[bytes | memoryview] = []
    for tensor in response.outputs:
        output: dict[str, Any] = {
            "name": tensor.name, "shape": list(tensor.array.shape), "datatype": tensor.datatype,
        }  # fmt: skip
        if form.is_binary(tensor.name):
            tail.append(binary_codec.encode(tensor.array, tensor.datatype))
            output["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            output["data"] = _listed(tensor)
        outputs.append(output)
    fields["outputs"] = outputs
    head = _ENCODER.encode(fields)
    return Body(b"".join((head, *tail)), len(head)) if tail else Body(head)


def encode_request(request: InferRequest) -> bytes:
    """A V2 request in JSON, for another server."""
    inputs = [
        {
            "name": tensor.name, "shape": list(tensor.array.shape), "datatype": tensor.datatype,
            "data": _listed(tensor),
        }
        for tensor in request.inputs
    ]  # fmt: skip
    fields: dict[str, Any] = {"inputs": inputs}
    if request.outputs:
        fields["outputs"] = [{"name": name} for name in request.outputs]
    return _ENCODER.encode(fields)


class _Response(msgspec.Struct, gc=False):
    outputs: list[_Input]
    model_version: str = ""


_RESPONSE = msgspec.json.Decoder(_Response)


def decode_response(body: bytes) -> InferResponse:
    """Another server's V2 response in JSON, from untrusted bytes. Raises :class:`RequestError` that names the mistake."""
    try:
        response = _RESPONSE.decode(body)
    except RecursionError:
        raise invalid(f"response: {_NESTING}") from None
    except ValueError as error:
        raise invalid(f"response: {printable(_sentence(error), 300)}") from None
    return InferResponse("", response.model_version, None, _inputs(response.outputs, None))


def _listed(tensor: Tensor) -> list[Any]:
    array = tensor.array if tensor.datatype != "BF16" else bfloat16.widened(tensor.array)
    values: list[Any] = array.ravel().tolist()
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


class _IndexRequest(msgspec.Struct, gc=False):
    ready: bool = False


class _ControlRequest(msgspec.Struct, gc=False):
    parameters: dict[str, Any] | None = None


_INDEX_REQUEST = msgspec.json.Decoder(_IndexRequest)
_CONTROL_REQUEST = msgspec.json.Decoder(_ControlRequest)


def decode_index_request(body: bytes | memoryview) -> bool:
    """Whether only models that answer are asked for. Raises :class:`RequestError`."""
    return _small(_INDEX_REQUEST, body).ready


def decode_control_request(body: bytes | memoryview) -> None:
    """What a request to load or unload may say. Raises :class:`RequestError` for what would have to be obeyed."""
    check_control_parameters(_small(_CONTROL_REQUEST, body).parameters or {})


def check_control_parameters(parameters: Mapping[str, object]) -> None:
    """Raises :class:`RequestError` for parameters that bring a model or its configuration: those come from the disk."""
    for name in sorted(parameters):
        if name == "config" or name.startswith("file:"):
            raise invalid(f"parameters: {quoted(name)} is not spoken here; a model is what its directory holds")


def _small(decoder: msgspec.json.Decoder[_T], body: bytes | memoryview) -> _T:
    if not body:
        body = b"{}"
    try:
        return decoder.decode(body)
    except RecursionError:
        raise invalid(f"request: {_NESTING}") from None
    except ValueError as error:
        raise invalid(f"request: {printable(_sentence(error), 300)}") from None
