"""Labels as they come over the wire: ``{"id": ..., "label": ...}``, one value or one per row of the request."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from trimtab_edge.alignment.pending import MAX_ROWS_PER_REQUEST

if TYPE_CHECKING:
    from collections.abc import Sequence


def positives(label: object, positive: Decimal) -> list[bool]:
    """Whether each label is the positive one; a single value is a list of one.

    A label is a number, compared with the declared positive value, or true and false, which mean positive and negative.
    Raises ValueError that says what was expected.
    """
    values: Sequence[object] = label if isinstance(label, list) else [label]
    if not 0 < len(values) <= MAX_ROWS_PER_REQUEST:
        raise ValueError(f"{len(values)} labels, expected 1 to {MAX_ROWS_PER_REQUEST}")
    found = []
    for value in values:
        if isinstance(value, bool):
            found.append(value)
        elif isinstance(value, (int, float)) and value == value:  # noqa: PLR0124 - NaN is no label
            found.append(float(value) == float(positive))
        else:
            raise ValueError(f"{type(value).__name__}, expected a number, true or false, or a list of these")
    return found
