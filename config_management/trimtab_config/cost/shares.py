"""A whole number cut into shares that add up to it exactly: the largest remainder method (Hamilton). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def split(whole: int, weights: Sequence[int]) -> list[int]:
    """``whole`` units by ``weights``; who lost most by rounding down gets a unit more, the earlier one on a tie.

    Where all weights are 0 everybody gets as much. Each share is within one unit of its exact value. Raises ValueError
    for a negative number, or for something to share among nobody.
    """
    if whole < 0 or any(weight < 0 for weight in weights):
        raise ValueError("only what is not negative can be shared")
    if not weights:
        if whole:
            raise ValueError("nobody to share among")
        return []
    together = sum(weights)
    if not together:
        weights, together = [1] * len(weights), len(weights)
    shares = [whole * weight // together for weight in weights]
    order = sorted(range(len(weights)), key=lambda place: (-(whole * weights[place] % together), place))
    for place in order[: whole - sum(shares)]:
        shares[place] += 1
    return shares
