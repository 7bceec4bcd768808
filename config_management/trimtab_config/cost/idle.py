"""What of a group's devices no deployment reserves or uses: the idle remainder, and who bears it. Pure.

The bill of a group's devices is devices x 730 h x price of a device-hour. Compute and reserved of its rows are the larger
of use and reservation, so idle is what is left of the bill (OpenCost specification, "Idle costs": assets minus workloads).
It is never negative: where deployments use more than the devices have, the estimate of use is wrong, not the device.

An OnDeviceModel runs on a device of its user's, so a group that has nothing else has no idle part.
"""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING

from trimtab_config.cost.exact import Exact
from trimtab_config.cost.rates import Rates, choose_book
from trimtab_config.cost.report import COMPUTE, IDLE, PLACES, RESERVED, Amounts, CostReport, figure_json, total_of
from trimtab_config.cost.shares import split
from trimtab_kernel.money import HOURS_PER_MONTH, Figure
from trimtab_kernel.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trimtab_config.catalog import Catalog
    from trimtab_config.cost.report import Row
    from trimtab_config.spec.kinds import DeviceGroupSpec
    from trimtab_kernel.canonical import Json

_NOTHING = Decimal(0)
_SCALE = 10**PLACES


class IdleRule(StrEnum):
    """Who bears what nobody uses: nobody (a line of its own), all in proportion to their part of the device, or all alike."""

    SEPARATE = "separate"
    PROPORTIONAL = "proportional"
    UNIFORM = "uniform"


@dataclass(frozen=True, slots=True)
class Idle:
    """What of one group's devices is idle in a month, in the currency of its prices."""

    group: str
    currency: str
    bill: Figure
    figure: Figure

    def to_json(self) -> dict[str, Json]:
        """``bill`` is what the devices cost, ``idle`` what of it no deployment reserves or uses."""
        return {
            "group": self.group,
            "currency": self.currency,
            "bill": figure_json(self.bill),
            "idle": figure_json(self.figure),
        }


def idle_of(catalog: Catalog, group_name: str, report: CostReport, price_book: str | None = None) -> Idle | None:
    """The idle remainder of a group, of whose rows ``report`` is. None for devices of their users.

    Raises KeyError for an unknown group and InputError (F4) for a missing price.
    """
    rows = [row for row in report.rows if row.group == group_name]
    if rows and all(row.kind != "EdgeAIDeployment" for row in rows):
        return None
    group = catalog.groups[group_name]
    spec: DeviceGroupSpec = group.spec
    rates = Rates(choose_book(catalog.price_books.values(), group, price_book), group)
    hours = Fraction(HOURS_PER_MONTH * spec.device_count)
    price = rates.device_hour()
    bill = Exact.of(price).scaled(hours).rounded(PLACES)
    paid = [row.parts[part] for row in rows for part in (COMPUTE, RESERVED) if part in row.parts]
    used = total_of(paid)
    value = max(_NOTHING, bill.value - used.value)
    # Bill and use have the same price, so a dear device is dear in both: bounds come from the hours, then from the price.
    low = max(Fraction(0), _over(hours, used.high, price.high)) * Fraction(price.low)
    high = max(Fraction(0), _over(hours, used.low, price.low)) * Fraction(price.high)
    exact = Exact.between(
        Fraction(value), min(low, Fraction(value)), max(high, Fraction(value)), total_of([bill, used]).grade
    )
    return Idle(group_name, rates.currency, bill, exact.rounded(PLACES))


def _over(hours: Fraction, paid: Decimal, price: Decimal) -> Fraction:
    """Device-hours that are left when ``paid`` is what the others cost at ``price``."""
    return hours - Fraction(paid) / Fraction(price) if price else hours


def with_idle(report: CostReport, idle: Sequence[Idle], rule: IdleRule) -> CostReport:
    """The report whose rows bear the idle part of their groups; their idle parts add up to it exactly.

    Proportional goes by compute and reserved; where all of these are nothing, by head. A group without rows keeps its
    remainder, which no model caused. SEPARATE changes nothing.
    """
    if rule is IdleRule.SEPARATE:
        return report
    remainders = {each.group: each for each in idle}
    places: dict[str, list[int]] = {}
    for index, row in enumerate(report.rows):
        if row.kind == "EdgeAIDeployment" and row.group in remainders:
            places.setdefault(row.group, []).append(index)
    rows = list(report.rows)
    for group, indexes in places.items():
        weights = [_weight(rows[index]) if rule is IdleRule.PROPORTIONAL else 1 for index in indexes]
        figure = remainders[group].figure
        shares = [split(int(bound * _SCALE), weights) for bound in (figure.value, figure.low, figure.high)]
        for index, value, low, high in zip(indexes, *shares, strict=True):
            own = Figure(_money(value), _money(min(low, value)), _money(max(high, value)), figure.grade)
            rows[index] = _bearing(rows[index], own)
    return CostReport(tuple(rows))


def _weight(row: Row) -> int:
    return sum(int(row.parts[part].value * _SCALE) for part in (COMPUTE, RESERVED) if part in row.parts)


def _money(millionths: int) -> Decimal:
    return Decimal(millionths).scaleb(-PLACES)


def _bearing(row: Row, idle: Figure) -> Row:
    parts = {**row.parts, IDLE: idle}
    amounts = Amounts(parts, row.devices, row.inferences, complete=not row.absent, carbon=row.carbon)
    return dataclasses.replace(row, parts=amounts)
