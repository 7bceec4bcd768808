"""The bytes of a quantile sketch, checked before a library may read them.

A KLL sketch of single-precision numbers as Apache DataSketches writes it (serial versions 1 and 2): a preamble, the
offsets of the levels, the smallest and the largest value, then the kept values; those of level h stand for 2^h values each.
The library trusts what the preamble says and reads or writes beyond its memory where it lies, so bytes that came from
elsewhere go through :func:`check_kll` first. What passes holds together: lengths, offsets, order and the total weight.
"""

from __future__ import annotations

import math
import struct

_FAMILY, _M = 15, 8
_EMPTY, _SINGLE = 1, 4
_SHORT, _FULL = 2, 5
_MAX_LEVELS = 60


def check_kll(payload: bytes) -> int:
    """How many values went into the sketch. Raises ValueError, which says what is wrong, for bytes that are none."""
    if len(payload) < 8:
        raise ValueError(f"no KLL sketch: {len(payload)} bytes")
    ints, serial, family, flags, k, m, _ = struct.unpack_from("<BBBBHBB", payload)
    if family != _FAMILY or m != _M or k < _M or flags & ~7:
        raise ValueError("no KLL sketch: family, k or flags")
    if flags & _EMPTY:
        return _short(payload, 8, ints == _SHORT and serial == 1, 0)
    if flags & _SINGLE:
        return _short(payload, 12, ints == _SHORT and serial == 2, 1)
    if ints != _FULL or serial != 1 or len(payload) < 20:
        raise ValueError("no KLL sketch: preamble")
    n, min_k, levels, _ = struct.unpack_from("<QHBB", payload, 8)
    if not 1 <= levels <= _MAX_LEVELS or not _M <= min_k <= k:
        raise ValueError("no KLL sketch: levels or smallest k")
    if len(payload) < 20 + 4 * levels + 8:
        raise ValueError("no KLL sketch: cut short")
    capacity = sum(_level_capacity(k, levels, height) for height in range(levels))
    offsets = (*struct.unpack_from(f"<{levels}I", payload, 20), capacity)
    if list(offsets) != sorted(offsets):
        raise ValueError("no KLL sketch: offsets of levels")
    _check_values(payload[20 + 4 * levels :], offsets, n)
    return int(n)


def _short(payload: bytes, length: int, preamble: bool, n: int) -> int:
    if not preamble or len(payload) != length:
        raise ValueError("no KLL sketch: preamble or length")
    if n and math.isnan(struct.unpack_from("<f", payload, 8)[0]):
        raise ValueError("no KLL sketch: a value that is no number")
    return n


def _check_values(rest: bytes, offsets: tuple[int, ...], n: int) -> None:
    kept = offsets[-1] - offsets[0]
    if len(rest) != 8 + 4 * kept or not kept:
        raise ValueError(f"no KLL sketch: {len(rest)} bytes of values, expected {8 + 4 * kept}")
    smallest, largest, *items = struct.unpack(f"<{2 + kept}f", rest)
    # A comparison with NaN is false, so a NaN among them fails here.
    if not smallest <= largest or not all(smallest <= item <= largest for item in items):
        raise ValueError("no KLL sketch: values beyond its bounds")
    weight = 0
    for height in range(len(offsets) - 1):
        level = items[offsets[height] - offsets[0] : offsets[height + 1] - offsets[0]]
        weight += len(level) << height
        if height and level != sorted(level):
            raise ValueError("no KLL sketch: values out of order")
    if weight != n:
        raise ValueError(f"no KLL sketch: values stand for {weight}, expected {n}")


def _level_capacity(k: int, levels: int, height: int) -> int:
    """Room of one level: k (2/3)^depth, rounded as the library rounds it, and at least 8."""
    depth = levels - height - 1
    if depth > 30:
        half = depth // 2
        return max(_M, _shrunk(_shrunk(k, half), depth - half))
    return max(_M, _shrunk(k, depth))


def _shrunk(k: int, depth: int) -> int:
    shrunk: int = (((k * 2) << depth) // 3**depth + 1) >> 1
    return shrunk
