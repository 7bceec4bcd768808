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
_WAITING = 64
_SMALL = 4096


class FeatureSketches:
    """Sketches of inputs and outputs, fed request by request. Not for several threads at once.

    Small requests wait until there are some to be sketched together, since the work around a call costs more than a row.
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
        self.tensors = tuple(tensors)
        self.left_out = tuple(left_out)
        self._width = width
        self._sketches = vector_of_kll_floats_sketches(k, width) if width else None
        self._waiting: list[Mapping[str, NDArray[Any]]] = []
        self._values = 0

    def observe(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """One request: its inputs and outputs by name. A tensor that is not there leaves its features as they are.

        The arrays may be looked at later, so they must not change.
        """
        self._waiting.append(arrays)
        for array in arrays.values():
            self._values += array.size
        if len(self._waiting) >= _WAITING or self._values > _SMALL:
            self._sketch()

    def _sketch(self) -> None:
        waiting, self._waiting, self._values = self._waiting, [], 0
        if self._sketches is None or not waiting:
            return
        parts = []
        for tensor, place in self._tensors:
            found = [
                numbers
                for together in _together([arrays[tensor.tensor] for arrays in waiting if tensor.tensor in arrays])
                if (numbers := values(tensor, together)) is not None
            ]
            if found:
                parts.append((place, np.concatenate(found)))
        rows = max((len(found) for _, found in parts), default=0)
        if rows:
            # A NaN is skipped by the library, so a feature that was absent counts nothing.
            table = np.full((rows, self._width), np.nan, dtype=np.float32)
            for place, found in parts:  # type: ignore[assignment] # the inner name again
                table[: len(found), place] = found
            self._sketches.update(table)

    def medians(self, tensor: str) -> list[float] | None:
        """The median of each feature of a tensor; None where one of them saw fewer than 100 values."""
        self._sketch()
        for watched, place in self._tensors:
            if watched.tensor == tensor and self._sketches is not None:
                if min(self._sketches.get_n()[place].tolist()) < 100:
                    return None
                middles: list[float] = self._sketches.get_quantiles(0.5)[place, 0].tolist()
                return middles
        return None

    def snapshot(self) -> tuple[Sketch, ...]:
        """The sketches that saw a value, as they leave the device."""
        self._sketch()
        if self._sketches is None:
            return ()
        counts, payloads = self._sketches.get_n().tolist(), self._sketches.serialize()
        features = [(feature, tensor.modality.value) for tensor, _ in self._tensors for feature in tensor.features]
        return tuple(
            Sketch(feature, modality, self._k, int(n), bytes(payload))
            for (feature, modality), n, payload in zip(features, counts, payloads, strict=True)
            if n
        )


def _together(arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """The arrays, those of equal width as one, large ones in part."""
    by_shape: dict[tuple[int, ...], list[NDArray[Any]]] = {}
    for array in arrays:
        if array.ndim:
            sample = array if len(array) <= MAX_ROWS else array[:: -(-len(array) // MAX_ROWS)]
            by_shape.setdefault(array.shape[1:], []).append(sample)
    return [alike[0] if len(alike) == 1 else np.concatenate(alike) for alike in by_shape.values()]


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
