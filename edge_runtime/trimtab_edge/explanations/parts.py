"""The parts of one input that are players: a table's columns, a picture's patches, a text's words, stretches of a row.

Arrays here hold one row: the batch dimension is 1 where the model has one.
"""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trimtab_edge.alignment.features import Modality

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_WORD = re.compile(r"\S+")
_SHOWN = 64
_CHANNELS = (1, 3, 4)
"""How many channels a picture has."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The players of one input: a label each, and how to make the input with some of them absent."""

    labels: tuple[dict[str, Any], ...]
    array: NDArray[Any]
    absent: NDArray[Any]
    """What stands in the place of an absent part, in the same shape."""
    owner: NDArray[np.int64]
    """The player that owns each value, in the same shape."""

    def made(self, present: NDArray[np.bool_]) -> list[NDArray[Any]]:
        """The input for each coalition."""
        return [np.where(row[self.owner], self.array, self.absent) for row in present]


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a text as players. An absent word leaves its place, so that the others stay apart."""

    labels: tuple[dict[str, Any], ...]
    array: NDArray[Any]
    texts: tuple[str, ...]
    spans: tuple[tuple[int, int, int], ...]
    """For each word: which text, from which character, to which."""

    def made(self, present: NDArray[np.bool_]) -> list[NDArray[Any]]:
        """The input for each coalition."""
        return [self._one(row) for row in present]

    def _one(self, present: NDArray[np.bool_]) -> NDArray[Any]:
        texts = list(self.texts)
        for place in reversed(range(len(self.spans))):  # from the end, so that the places before stay right
            if not present[place]:
                which, start, end = self.spans[place]
                texts[which] = texts[which][:start] + texts[which][end:]
        return np.array(texts, dtype=object).reshape(self.array.shape)


def columns(name: str, array: NDArray[Any], reference: Sequence[float] | None) -> Parts:
    """One player per value; ``reference`` holds what stands for an absent one, 0 where it is None.

    Raises ValueError where ``reference`` has another length.
    """
    if reference is not None and len(reference) != array.size:
        raise ValueError(f"{len(reference)} reference values for input {name}, expected {array.size}")
    absent = np.zeros(array.shape) if reference is None else np.array(reference, dtype=np.float64).reshape(array.shape)
    labels = tuple({"column": place} for place in range(array.size))
    return Parts(labels, array, absent.astype(array.dtype), np.arange(array.size).reshape(array.shape))


def patches(array: NDArray[Any], most: int, sizes: Sequence[int] | None = None) -> Parts:
    """A grid of at most ``most`` patches over height and width; an absent one is the picture's mean.

    ``sizes`` is the picture's shape where the array's own does not tell, as for a picture in one row. Height and width are
    the last two sizes, or those before the last where that can only be channels. Raises ValueError where ``sizes`` do not fit.
    """
    shape = tuple(array.shape if sizes is None else sizes)
    if len(shape) < 2 or min(shape) < 1 or math.prod(shape) != array.size:
        raise ValueError(f"a picture of shape {list(shape)}, expected {array.size} values in two sizes or more")
    channels_last = len(shape) > 2 and shape[-1] in _CHANNELS and min(shape[-3:-1]) > max(_CHANNELS)
    height, width = shape[-3:-1] if channels_last else shape[-2:]
    rows, across = _grid(height, width, most)
    owner = (np.arange(height) * rows // height)[:, None] * across + (np.arange(width) * across // width)[None, :]
    labels = tuple(
        {
            "top": -(-row * height // rows),
            "left": -(-column * width // across),
            "bottom": -(-(row + 1) * height // rows),
            "right": -(-(column + 1) * width // across),
        }
        for row in range(rows)
        for column in range(across)
    )
    grey = np.full(array.shape, array.mean()).astype(array.dtype)
    owners = np.broadcast_to(owner[..., None] if channels_last else owner, shape)
    return Parts(labels, array, grey, owners.reshape(array.shape))


def _grid(height: int, width: int, most: int) -> tuple[int, int]:
    """Rows and columns of nearly square patches: as many as fit, each at least one value."""
    rows = max(1, min(height, math.isqrt(max(1, most * height // max(1, width)))))
    across = max(1, min(width, most // rows))
    return rows, across


def stretches(array: NDArray[Any], most: int) -> Parts:
    """At most ``most`` stretches of consecutive values; an absent one is 0: silence, or padding."""
    count = max(1, min(array.size, most))
    owner = np.arange(array.size) * count // array.size
    starts = [-(-place * array.size // count) for place in range(count + 1)]
    labels = tuple({"from": start, "to": end} for start, end in itertools.pairwise(starts))
    return Parts(labels, array, np.zeros(array.shape, dtype=array.dtype), owner.reshape(array.shape))


def words(array: NDArray[Any], most: int) -> Words:
    """One player per word, or per run of words where there are more than ``most``."""
    texts = tuple(item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item) for item in array.ravel())
    found = [(which, match.start(), match.end()) for which, text in enumerate(texts) for match in _WORD.finditer(text)]
    run = max(1, -(-len(found) // most))
    spans = []
    for which in range(len(texts)):
        own = [span for span in found if span[0] == which]
        spans += [(which, own[place][1], own[min(place + run, len(own)) - 1][2]) for place in range(0, len(own), run)]
    labels = tuple(
        {"text": which, "from": start, "to": end, "word": texts[which][start:end][:_SHOWN]}
        for which, start, end in spans
    )
    return Words(labels, array, texts, tuple(spans))


def parts_of(
    modality: Modality,
    name: str,
    array: NDArray[Any],
    *,
    most: int,
    reference: Sequence[float] | None,
    sizes: Sequence[int] | None = None,
) -> Parts | Words:
    """The players of one input; ``sizes`` are a picture's, where its array does not tell.

    Raises ValueError for a ``reference`` or ``sizes`` that do not fit, or for a ``reference`` of no table.
    """
    if reference is not None and modality is not Modality.TABULAR:
        raise ValueError(f"input {name} is {modality.value}: reference values are for tables only")
    match modality:
        case Modality.TABULAR:
            return columns(name, array, reference)
        case Modality.IMAGE:
            try:
                return patches(array, most, sizes)
            except ValueError as error:
                raise ValueError(f"input {name}: {error}") from None
        case Modality.TEXT:
            return words(array, most)
        case _:
            return stretches(array, most)
