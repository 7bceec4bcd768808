"""A cost report cut along one dimension: who pays what. The slices of a currency add up to its total exactly."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from trimtab_config.cost.report import CostReport
from trimtab_kernel.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trimtab_config.cost.report import Row, Total
    from trimtab_kernel.canonical import Json


class Dimension(StrEnum):
    """What a bill is cut by: a tag of the deployments, the model, its version, the group, or the region of the group."""

    PROJECT = "project"
    APP = "app"
    TEAM = "team"
    BUSINESS_UNIT = "businessUnit"
    FEATURE = "feature"
    ENVIRONMENT = "environment"
    MODEL = "model"
    REGION = "region"
    GROUP = "group"
    VERSION = "version"


@dataclass(frozen=True, slots=True)
class Slice:
    """The rows with one value in one currency. ``key`` is None for rows that have no value, so nothing falls out of a bill."""

    key: str | None
    rows: int
    total: Total

    def to_json(self) -> dict[str, Json]:
        """The total with its key."""
        return {"key": self.key, "rows": self.rows, **self.total.to_json()}


def slices(report: CostReport, dimension: Dimension, regions: Mapping[str, str]) -> tuple[Slice, ...]:
    """The slices, by currency and then dearest first; what has no value comes last. ``regions`` by device group."""
    cut: dict[tuple[str, str | None], list[Row]] = {}
    for row in report.rows:
        cut.setdefault((row.currency, _value(row, dimension, regions)), []).append(row)
    found = [Slice(key, len(rows), CostReport(tuple(rows)).totals[0]) for (_, key), rows in cut.items()]
    return tuple(
        sorted(
            found,
            key=lambda each: (each.total.currency, each.key is None, -each.total.figure.value, each.key or ""),
        )
    )


def _value(row: Row, dimension: Dimension, regions: Mapping[str, str]) -> str | None:
    if dimension is Dimension.MODEL:
        return row.model
    if dimension is Dimension.GROUP:
        return row.group
    if dimension is Dimension.VERSION:
        return f"{row.model} {row.version}"
    if dimension is Dimension.REGION:
        return regions.get(row.group) or None
    return dict(row.tags).get(dimension.value)
