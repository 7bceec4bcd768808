"""BF16 for numpy, which has no such type: an array of ``uint16`` holds the bits, which are the upper half of FP32's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from trimtab_edge.serving.tensors import Array


def narrowed(values: Array) -> Array:
    """The bits of the nearest BF16 numbers of FP32 ``values``, ties to even; a NaN stays one."""
    bits = np.asarray(values, np.float32).view(np.uint32)
    nearest = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    result: Array = np.where(np.isnan(values), np.uint32(0x7FC0), nearest).astype(np.uint16)
    return result


def widened(bits: Array) -> Array:
    """The numbers of BF16 ``bits``, exactly, as FP32."""
    wide: Array = (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return wide
