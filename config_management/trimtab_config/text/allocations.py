"""A measured bill as a table, and its slices as JSON. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from trimtab_config.cost.report import decimal_text
from trimtab_config.text.costs import UNKNOWN, Column, CostTable, money_text
from trimtab_kernel.money import price_text

if TYPE_CHECKING:
    from trimtab_config.allocation.bill import Allocation
    from trimtab_config.cost.slices import Dimension
    from trimtab_kernel.canonical import Json


def allocation_table(allocation: Allocation) -> CostTable:
    """A line for each group, model and version; idle that nobody bears is one too."""
    lines = [
        (
            line.group,
            f"{line.model} {line.version}" if line.model else "(idle)",
            str(line.devices),
            f"{line.inferences:,}" if line.model else UNKNOWN,
            f"{money_text(line.total)} {line.currency}",
            line.energy_grade.value if line.model else UNKNOWN,
            UNKNOWN if line.per_1k is None else price_text(line.per_1k, line.currency),
        )
        for line in allocation.lines
    ]
    totals = tuple(
        ("TOTAL", "", "", "", f"{money_text(total)} {currency}", "", "") for currency, total, _ in allocation.totals()
    )
    columns = (
        Column("GROUP", style="bold cyan"),
        Column("MODEL", folded=True),
        Column("DEVICES", number=True, dropped=3, style="dim"),
        Column("INFERENCES", number=True, dropped=2, style="dim"),
        Column("COST", number=True, style="bold"),
        Column("ENERGY", dropped=1, style="dim"),
        Column("1K INFERENCES", number=True, dropped=4, style="dim"),
    )
    return CostTable(tuple(lines), totals, _notes(allocation), columns=columns)


def allocation_slices(allocation: Allocation, dimension: Dimension) -> CostTable:
    """What each value of a dimension pays, and its share of its currency."""
    whole = {currency: total for currency, total, _ in allocation.totals()}
    lines = []
    for key, currency, count, total, _ in allocation.by(dimension):
        share = total / whole[currency] * 100 if whole[currency] else Decimal(0)
        name = f"(no {dimension.value})" if key is None else key
        lines.append((name, str(count), f"{money_text(total)} {currency}", f"{share.quantize(Decimal('0.1'))} %"))
    totals = tuple(("TOTAL", "", f"{money_text(total)} {currency}", "") for currency, total in whole.items())
    columns = (
        Column(dimension.value.upper(), style="bold cyan", folded=True),
        Column("LINES", number=True, dropped=1, style="dim"),
        Column("COST", number=True, style="bold"),
        Column("SHARE", number=True, dropped=2, style="dim"),
    )
    return CostTable(tuple(lines), totals, _notes(allocation), columns=columns)


def slices_json(allocation: Allocation, dimension: Dimension) -> list[Json]:
    """The slices with exact amounts."""
    return [
        {
            "key": key,
            "currency": currency,
            "rows": count,
            "total": decimal_text(total),
            "parts": {part: decimal_text(amount) for part, amount in parts.items()},
        }
        for key, currency, count, total, parts in allocation.by(dimension)
    ]


def _notes(allocation: Allocation) -> tuple[str, ...]:
    begin, end = (
        at.replace(tzinfo=None).isoformat(sep=" ", timespec="minutes") for at in (allocation.begin, allocation.end)
    )
    hours = sum(each.hours for each in allocation.groups)
    notes = [
        f"From {begin} to {end} UTC; {hours:,} device-hours that told of themselves are billed.",
        {
            "separate": "What nobody requested or used is idle, and a line of its own.",
            "proportional": "What nobody requested or used is borne by the group's models, by their part of the devices.",
            "uniform": "What nobody requested or used is borne by the group's models, each alike.",
        }[allocation.rule.value],
    ]
    silent = sum(each.unreported for each in allocation.groups)
    if silent:
        notes.append(f"{silent:,} device-hours of declared devices told nothing and are in no line.")
    crowded = sum(line.overbooked for line in allocation.lines)
    if crowded:
        notes.append(f"In {crowded:,} device-hours of models more was used than the device has; it is paid once.")
    return tuple(notes)
