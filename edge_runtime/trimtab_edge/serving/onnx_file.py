"""What an ONNX file says that onnxruntime does not tell: whether an input has no declared rank, or is a scalar.

Both have an empty shape in onnxruntime's Python interface. The file is read as the wire format of Protocol Buffers says, with
the field numbers of onnx.proto; only the fields on the way to the inputs are looked into.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_GRAPH, _INPUT, _NAME, _TYPE, _TENSOR, _SHAPE = 7, 11, 1, 2, 1, 2
"""ModelProto.graph, GraphProto.input, ValueInfoProto.name and .type, TypeProto.tensor_type, TypeProto.Tensor.shape."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def inputs_without_rank(content: bytes) -> frozenset[str]:
    """The names of the inputs whose shape is not declared. Empty where ``content`` is no such file."""
    found = set()
    try:
        for graph in _fields(memoryview(content), _GRAPH):
            for value in _fields(graph, _INPUT):
                tensors = [tensor for kind in _fields(value, _TYPE) for tensor in _fields(kind, _TENSOR)]
                if tensors and not any(True for tensor in tensors for _ in _fields(tensor, _SHAPE)):
                    found |= {str(name, "utf-8") for name in _fields(value, _NAME)}
    except (LookupError, ValueError):
        return frozenset()
    return frozenset(found)


def _fields(message: memoryview, number: int) -> Iterator[memoryview]:
    """The contents of every field of that number. Raises LookupError or ValueError where this is no message."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == _VARINT:
            _, at = _varint(message, at)
            continue
        size, at = _varint(message, at) if kind == _BYTES else ({_FIXED64: 8, _FIXED32: 4}[kind], at)
        if size > len(message) - at:
            raise ValueError("a field beyond the end")
        if key >> 3 == number and kind == _BYTES:
            yield message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than ten bytes")
