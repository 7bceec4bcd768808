"""Tensor contents as bytes: the binary tensor extension of HTTP and the raw contents of gRPC are the same bytes.

Little-endian, row-major, without padding. BOOL is one byte, 0 or 1; FP16 and BF16 are two; an element of BYTES is its
length as four bytes and then its content, which must be UTF-8 because onnxruntime's texts are.
"""

from __future__ import annotations

import math
import struct
import sys
from typing import TYPE_CHECKING

import numpy as np

from trimtab_edge.serving.tensors import NUMPY_TYPES, Array, invalid, shaped

if TYPE_CHECKING:
    from collections.abc import Sequence

_LENGTH = struct.Struct("<I")
_SWAPS = sys.byteorder == "big"


def decode(content: bytes | memoryview, datatype: str, shape: Sequence[int], place: str) -> Array:
    """The array that ``content`` holds: a view of it wherever it lies aligned, so that nothing is copied.

    ``datatype`` is a key of NUMPY_TYPES and ``shape`` has no negative size. Raises :class:`RequestError` (INVALID), and
    never takes memory that the content itself does not have.
    """
    if datatype == "BYTES":
        return _texts(content, shape, place)
    dtype = NUMPY_TYPES[datatype]
    expected = math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        raise invalid(f"{place}: {len(content)} bytes, expected {_shown(expected)} for {datatype} of this shape")
    array: Array = np.frombuffer(content, dtype)
    if datatype == "BOOL" and array.size and array.view(np.uint8).max() > 1:
        raise invalid(f"{place}: a byte that is neither 0 nor 1; datatype is BOOL")
    if _SWAPS and dtype.itemsize > 1:
        array = array.byteswap()
    elif not array.flags.aligned:
        array = array.copy()
    return shaped(array, shape, place)


def _texts(content: bytes | memoryview, shape: Sequence[int], place: str) -> Array:
    size = math.prod(shape)
    if size * _LENGTH.size > len(content):
        raise invalid(f"{place}: {len(content)} bytes, expected at least 4 for each of {_shown(size)} elements")
    texts: list[str] = []
    at, end = 0, len(content)
    for _ in range(size):
        if at + _LENGTH.size > end:
            raise invalid(f"{place}: the bytes end after {len(texts)} of {size} elements")
        (length,) = _LENGTH.unpack_from(content, at)
        at += _LENGTH.size
        if length > end - at:
            raise invalid(f"{place}: element {len(texts)} says {length} bytes, {end - at} are left")
        texts.append(text(content[at : at + length], len(texts), place))
        at += length
    if at != end:
        raise invalid(f"{place}: {end - at} bytes after the last of {size} elements")
    array: Array = np.empty(size, dtype=object)
    array[:] = texts
    return shaped(array, shape, place)


def text(element: bytes | memoryview, number: int, place: str) -> str:
    """One element of BYTES. Raises :class:`RequestError` (INVALID) where it is no UTF-8."""
    try:
        return str(element, "utf-8")
    except UnicodeDecodeError:
        raise invalid(f"{place}: element {number} is no UTF-8, which is what onnxruntime takes as text") from None


def encode(array: Array, datatype: str) -> bytes | memoryview:
    """The bytes of an array that holds ``datatype``; a view of the array's own memory where that is what they are."""
    if datatype == "BYTES":
        parts: list[bytes] = []
        for element in array.ravel().tolist():
            content = element if isinstance(element, bytes) else str(element).encode()
            parts += (_LENGTH.pack(len(content)), content)
        return b"".join(parts)
    whole = np.ascontiguousarray(array.byteswap() if _SWAPS and array.itemsize > 1 else array)
    return whole.reshape(-1).view(np.uint8).data


def _shown(size: int) -> str:
    return str(size) if size < 10**20 else "over 10^20"
