"""What inferences take of a battery whose capacity is declared."""

from __future__ import annotations

JOULES_PER_WATT_HOUR = 3600


def battery_share(joules: float, capacity_watt_hours: float) -> float:
    """The part of a full battery (1 is all of it; it may be more over time). Raises ValueError for a capacity not above 0."""
    if not capacity_watt_hours > 0:
        raise ValueError(f"expected a capacity above 0 Wh, got {capacity_watt_hours}")
    return joules / (capacity_watt_hours * JOULES_PER_WATT_HOUR)
