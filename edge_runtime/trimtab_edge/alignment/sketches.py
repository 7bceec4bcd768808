"""Quantile sketches (KLL) of the features of one model version: constant memory, mergeable over devices.

KLL is Z. Karnin, K. Lang, E. Liberty, "Optimal Quantile Approximation in Streams" (FOCS 2016); the implementation is
Apache DataSketches. At k = 200 a rank is right within 1.33 % with 99 % confidence, whatever the number of values.

A sketch holds some of the values that it saw (about 3 k of them, one column at a time, without their rows), its smallest
and its largest. It must not leave a device whose counts get noise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from datasketches import kll_floats_sketch, vector_of_kll_floats_sketches

from trimtab_edge.alignment.features import Watched, values
from trimtab_kernel.evidence import Sketch
from trimtab_kernel.sketches import check_kll

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

K = 200
MAX_FEATURES = 128
"""Features sketched per version; tensors beyond that are left out as a whole, and :attr:`FeatureSketches.left_out` names them."""
MAX_ROWS = 256
"""Rows of one request that are sketched, evenly spread over it: a batch must not hold up the requests behind it."""
_BUFFER = 64


class FeatureSketches:
    """Sketches of inputs and outputs, fed request by request. Not for several threads at once.

    Rows are gathered in a small buffer and sketched together, since one call of the library costs as much as fifty values.
    """

    def __init__(self, tensors: Sequence[Watched], k: int = K) -> None:
        self._k = k
        chosen: list[tuple[Watched, slice]] = []
        left_out = []
        width = 0
        for tensor in tensors:
            if width + len(tensor.features) > MAX_FEATURES:
                left_out.append(tensor.tensor)
                continue
            chosen.append((tensor, slice(width, width + len(tensor.features))))
            width += len(tensor.features)
        self._tensors = tuple(chosen)
        self.left_out = tuple(left_out)
        self._sketches = vector_of_kll_floats_sketches(k, width) if width else None
        self._buffer = np.full((_BUFFER, width), np.nan, dtype=np.float32)
        self._filled = 0

    def observe(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """One request: its inputs and outputs by name. A tensor that is not there leaves its features as they are."""
        if self._sketches is None:
            return
        parts = []
        rows = 0
        for tensor, place in self._tensors:
            array = arrays.get(tensor.tensor)
            if array is None:
                continue
            if array.ndim and len(array) > MAX_ROWS:
                array = array[:: -(-len(array) // MAX_ROWS)]
            found = values(tensor, array)
            if found is not None:
                parts.append((place, found))
                rows = max(rows, len(found))
        if self._filled + rows > _BUFFER:
            self._flush()
        if rows > _BUFFER:
            table = np.full((rows, self._buffer.shape[1]), np.nan, dtype=np.float32)
            _fill(table, parts)
            self._sketches.update(table)
        elif rows:
            _fill(self._buffer[self._filled : self._filled + rows], parts)
            self._filled += rows

    def _flush(self) -> None:
        if self._filled and self._sketches is not None:
            # A NaN is skipped by the library, so a feature that was absent counts nothing.
            self._sketches.update(self._buffer[: self._filled])
            self._buffer[: self._filled] = np.nan
            self._filled = 0

    def snapshot(self) -> tuple[Sketch, ...]:
        """The sketches that saw a value, as they leave the device."""
        self._flush()
        if self._sketches is None:
            return ()
        counts, payloads = self._sketches.get_n().tolist(), self._sketches.serialize()
        features = [(feature, tensor.modality.value) for tensor, _ in self._tensors for feature in tensor.features]
        return tuple(
            Sketch(feature, modality, self._k, int(n), bytes(payload))
            for (feature, modality), n, payload in zip(features, counts, payloads, strict=True)
            if n
        )


def _fill(table: NDArray[np.float32], parts: Sequence[tuple[slice, NDArray[np.float32]]]) -> None:
    for place, found in parts:
        table[: len(found), place] = found


def merge_payloads(one: bytes, other: bytes) -> bytes:
    """Two serialised sketches as one. Raises ValueError for bytes that are no KLL sketch."""
    merged = _read(one)
    merged.merge(_read(other))
    return bytes(merged.serialize())


def quantiles(payload: bytes, ranks: Sequence[float]) -> list[float]:
    """The values at these ranks (0 to 1). Raises ValueError for bytes that are no KLL sketch, or hold no value."""
    sketch = _read(payload)
    if sketch.is_empty():
        raise ValueError("the sketch holds no value")
    return [float(value) for value in sketch.get_quantiles(list(ranks))]


def _read(payload: bytes) -> kll_floats_sketch:
    check_kll(payload)  # the library does not survive every lie
    try:
        return kll_floats_sketch.deserialize(payload)
    except Exception as error:  # the library raises whatever its C++ parts raise
        raise ValueError(f"no KLL sketch: {type(error).__name__}") from None
