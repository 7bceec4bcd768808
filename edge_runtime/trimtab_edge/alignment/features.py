"""What is sketched of a tensor, by modality: a few numbers per row, whatever its size.

A table's columns are features themselves. A picture, a sound, a text or a list of tokens is summed up per row in numbers
whose shift betrays another light, another microphone or another language; its content is not kept. Which modality a
tensor has follows from its declared shape and datatype, for the protocol has no word for it:

- text: BYTES. Characters, words, share of characters beyond ASCII.
- tokens: whole numbers in a list of open length. Length, share of zeros (padding), share of distinct values.
- image: three sizes or more per tensor (batch included, so [N, C, H, W] and [N, H, W]). Mean, standard deviation, share of
  values at the extremes (clipping).
- signal: a long or open row of real numbers. Root mean square, largest magnitude, rate of sign changes.
- tabular: everything else. One feature per column.

At most 4,096 values of a row are looked at, evenly spread, so that a large tensor costs little more than a small one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MAX_COLUMNS = 64
"""A longer row is a signal, not a table."""
MAX_VALUES = 4096
_IMAGE_RANK = 3


class Modality(Enum):
    """What kind of data a tensor holds."""

    TABULAR = "tabular"
    IMAGE = "image"
    SIGNAL = "signal"
    TOKENS = "tokens"
    TEXT = "text"


class TensorShape(Protocol):
    """What is known of an input or output: V2 datatype, and sizes; one that a request chooses is no ``int``."""

    @property
    def name(self) -> str:
        """Name of the tensor."""

    @property
    def datatype(self) -> str:
        """V2 datatype."""

    @property
    def shape(self) -> Sequence[int | str | None]:
        """Sizes, batch included."""


_SUMMARIES = {
    Modality.TEXT: ("characters", "words", "non-ascii"),
    Modality.TOKENS: ("length", "zeros", "distinct"),
    Modality.IMAGE: ("mean", "deviation", "clipped"),
    Modality.SIGNAL: ("rms", "peak", "crossings"),
}


def modality_of(tensor: TensorShape) -> Modality:
    """See the module's description."""
    if tensor.datatype == "BYTES":
        return Modality.TEXT
    if len(tensor.shape) >= _IMAGE_RANK:
        return Modality.IMAGE
    width = tensor.shape[-1] if tensor.shape else 1
    one_row = len(tensor.shape) < 2
    if isinstance(width, int) and width > MAX_COLUMNS:
        return Modality.SIGNAL if tensor.datatype.startswith("FP") else Modality.TOKENS
    if one_row or isinstance(width, int):
        return Modality.TABULAR
    return Modality.SIGNAL if tensor.datatype.startswith("FP") else Modality.TOKENS


@dataclass(frozen=True, slots=True)
class Watched:
    """A tensor, and the names of the numbers that are taken of each of its rows."""

    tensor: str
    modality: Modality
    features: tuple[str, ...]


def watched(tensor: TensorShape) -> Watched:
    """What will be taken of each row of this tensor."""
    modality = modality_of(tensor)
    if modality is not Modality.TABULAR:
        return Watched(tensor.name, modality, tuple(f"{tensor.name}: {part}" for part in _SUMMARIES[modality]))
    width = tensor.shape[1] if len(tensor.shape) > 1 else 1
    if not isinstance(width, int) or width == 1:
        return Watched(tensor.name, modality, (tensor.name,))
    return Watched(tensor.name, modality, tuple(f"{tensor.name}[{column}]" for column in range(width)))


def values(of: Watched, array: NDArray[Any]) -> NDArray[np.float32] | None:
    """A row of numbers per row of ``array``, single precision; None where the tensor has no rows or another width."""
    if array.ndim == 0 or array.size == 0:
        return None
    if of.modality is Modality.TABULAR:
        table = array.reshape(array.shape[0], -1)
        return table.astype(np.float32) if table.shape[1] == len(of.features) else None
    rows = array.reshape(array.shape[0], -1)
    if rows.shape[1] > MAX_VALUES:
        rows = rows[:, :: -(-rows.shape[1] // MAX_VALUES)]
    match of.modality:
        case Modality.TEXT:
            return np.array([_text(row) for row in rows], dtype=np.float32)
        case Modality.TOKENS:
            return np.array([_tokens(row, array.size // len(rows)) for row in rows], dtype=np.float32)
        case Modality.IMAGE:
            return _image(rows)
        case _:
            return _signal(rows)


def _text(row: NDArray[Any]) -> tuple[float, float, float]:
    texts = [item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item) for item in row]
    characters = sum(len(text) for text in texts)
    beyond = sum(1 for text in texts for character in text if not character.isascii())
    return characters, sum(len(text.split()) for text in texts), beyond / characters if characters else 0.0


def _tokens(row: NDArray[Any], length: int) -> tuple[float, float, float]:
    return length, float(np.mean(row == 0)), len(np.unique(row)) / len(row)


def _image(rows: NDArray[Any]) -> NDArray[np.float32]:
    real = rows.astype(np.float32)
    low, high = real.min(axis=1, keepdims=True), real.max(axis=1, keepdims=True)
    clipped = np.mean((real == low) | (real == high), axis=1)
    return np.stack([real.mean(axis=1), real.std(axis=1), clipped], axis=1).astype(np.float32)


def _signal(rows: NDArray[Any]) -> NDArray[np.float32]:
    real = rows.astype(np.float32)
    rms = np.sqrt(np.mean(np.square(real, dtype=np.float64), axis=1))
    above = real >= 0
    crossings = np.mean(above[:, 1:] != above[:, :-1], axis=1) if real.shape[1] > 1 else np.zeros(len(real))
    return np.stack([rms, np.abs(real).max(axis=1), crossings], axis=1).astype(np.float32)
