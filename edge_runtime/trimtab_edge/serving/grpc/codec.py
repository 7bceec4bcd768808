"""V2 requests and responses as protobuf messages (Open Inference Protocol, open_inference_grpc). Knows tensors, not models.

As strict as the JSON: contents stand in the field of their datatype and in no other, within its range, as many as the
shape says; raw contents are given for every input or for none.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from google.protobuf.message import DecodeError

from trimtab_edge.serving import binary_codec
from trimtab_edge.serving.grpc import open_inference_pb2 as pb
from trimtab_edge.serving.json_codec import timeout_of
from trimtab_edge.serving.tensors import MAX_ID, Array, InferRequest, Tensor, check_head, invalid, shaped
from trimtab_kernel.problems import quoted

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from trimtab_edge.serving.tensors import InferResponse

_FIELDS = {
    "BOOL": ("bool_contents", np.dtype(np.bool_)),
    "UINT8": ("uint_contents", np.dtype(np.uint32)),
    "UINT16": ("uint_contents", np.dtype(np.uint32)),
    "UINT32": ("uint_contents", np.dtype(np.uint32)),
    "UINT64": ("uint64_contents", np.dtype(np.uint64)),
    "INT8": ("int_contents", np.dtype(np.int32)),
    "INT16": ("int_contents", np.dtype(np.int32)),
    "INT32": ("int_contents", np.dtype(np.int32)),
    "INT64": ("int64_contents", np.dtype(np.int64)),
    "FP32": ("fp32_contents", np.dtype(np.float32)),
    "FP64": ("fp64_contents", np.dtype(np.float64)),
    "BYTES": ("bytes_contents", np.dtype(object)),
}
"""Where typed contents of a datatype stand, and what that field holds. FP16 and BF16 have no field."""


def parse(kind: type[Message], content: bytes) -> Any:  # noqa: ANN401 - a message of that kind
    """Read a message from untrusted bytes. Raises :class:`RequestError` (INVALID)."""
    try:
        return kind.FromString(content)
    except (DecodeError, RecursionError):
        raise invalid(f"request: no message of type {kind.DESCRIPTOR.full_name}") from None


def decode_request(message: pb.ModelInferRequest) -> tuple[InferRequest, bool]:
    """The request, and whether its contents are raw. Raw inputs are views of the message. Raises :class:`RequestError`."""
    if len(message.id) > MAX_ID:
        raise invalid(f"id: {len(message.id)} characters, expected at most {MAX_ID}")
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise invalid(f"raw_input_contents: {len(raw)}, expected one for each of {len(message.inputs)} inputs, or none")
    inputs = []
    for number, tensor in enumerate(message.inputs):
        place = f"input {quoted(tensor.name)}"
        dtype = check_head(tensor.datatype, tensor.shape, place)
        if "shared_memory_region" in tensor.parameters:
            raise invalid(f"{place}: shared memory is not spoken here, expected data in the request")
        if raw:
            if tensor.contents.ByteSize():
                raise invalid(f"{place}: contents beside raw_input_contents, expected one of them")
            array = binary_codec.decode(raw[number], tensor.datatype, tensor.shape, place)
        else:
            array = _typed(tensor, dtype, place)
        inputs.append(Tensor(tensor.name, tensor.datatype, array))
    outputs = tuple(output.name for output in message.outputs) or None
    for output in message.outputs:
        _check_output(output)
    return InferRequest(tuple(inputs), outputs, message.id or None, _timeout(message)), bool(raw)


def _timeout(message: pb.ModelInferRequest) -> float | None:
    if "timeout" not in message.parameters:
        return None
    parameter = message.parameters["timeout"]
    kind = parameter.WhichOneof("parameter_choice")
    return timeout_of({"timeout": getattr(parameter, kind) if kind else "nothing"})


def _check_output(output: pb.ModelInferRequest.InferRequestedOutputTensor) -> None:
    for name, what in (("classification", "classification"), ("shared_memory_region", "shared memory")):
        if name in output.parameters:
            raise invalid(f"output {quoted(output.name)}: {what} is not spoken here, expected the output itself")


def _typed(tensor: pb.ModelInferRequest.InferInputTensor, dtype: np.dtype[Any], place: str) -> Array:
    if tensor.datatype not in _FIELDS:
        raise invalid(f"{place}: {tensor.datatype} has no typed contents, expected raw_input_contents")
    name, held = _FIELDS[tensor.datatype]
    for other, _ in tensor.contents.ListFields():
        if other.name != name:
            raise invalid(f"{place}: contents in {other.name}, expected {name} for {tensor.datatype}")
    field = getattr(tensor.contents, name)
    size = math.prod(tensor.shape)
    if len(field) != size:
        shown = str(size) if size < 10**20 else "over 10^20"
        raise invalid(f"{place}: {len(field)} values, expected {shown} for shape {quoted(list(tensor.shape))}")
    array: Array
    if tensor.datatype == "BYTES":
        array = np.empty(size, dtype=object)
        array[:] = [binary_codec.text(element, number, place) for number, element in enumerate(field)]
    else:
        array = np.fromiter(field, held, size)
        if dtype != held:
            limits = np.iinfo(dtype)
            if size and (array.min() < limits.min or array.max() > limits.max):
                raise invalid(f"{place}: a number beyond {tensor.datatype}")
            array = array.astype(dtype)
    return shaped(array, tensor.shape, place)


def encode_response(response: InferResponse, *, raw: bool) -> bytes:
    """A V2 response: raw where the request was, or where an output has no typed form; else typed."""
    raw = raw or any(tensor.datatype not in _FIELDS for tensor in response.outputs)
    message = pb.ModelInferResponse(model_name=response.model, model_version=response.version, id=response.id or "")
    for tensor in response.outputs:
        output = message.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.array.shape)
        if raw:
            message.raw_output_contents.append(bytes(binary_codec.encode(tensor.array, tensor.datatype)))
        else:
            values = tensor.array.ravel().tolist()
            if tensor.datatype == "BYTES":
                values = [str(value).encode() for value in values]
            getattr(output.contents, _FIELDS[tensor.datatype][0]).extend(values)
    return message.SerializeToString()
