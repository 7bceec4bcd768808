"""Requests for the demo, made from real held-out rows: endless, and the same for the same seed.

Rows are drawn with replacement, each as likely as any other, so cohorts and classes occur as often as in the data.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from examples.models.rows import digits, patients

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray


def _drawn(rows: NDArray[np.float64], seed: int) -> Iterator[tuple[float, ...]]:
    table = [tuple(float(value) for value in row) for row in rows]
    generator = random.Random(seed)  # noqa: S311 - reproducible sampling, not secrecy
    while True:
        yield table[generator.randrange(len(table))]


def triage_rows(seed: int) -> Iterator[tuple[float, ...]]:
    """Endless patients for ``triage``: 10 floats in raw clinical units, in the order of ``rows.PATIENT_COLUMNS``."""
    return _drawn(patients().held_out.features, seed)


def digits_rows(seed: int) -> Iterator[tuple[float, ...]]:
    """Endless images for ``digits``: 64 floats, 8 x 8 pixels row by row, each from 0 to 16."""
    return _drawn(digits().held_out.pixels, seed)
