"""A statement of a bill as text: what it comes to, where it belongs, what nobody claims."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from trimtab_config.bills.charges import Standing
from trimtab_config.bills.statement import dearest, plain
from trimtab_config.text.costs import money_text
from trimtab_kernel.problems import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trimtab_config.bills.statement import Statement, Sum

_SHOWN = 25
_CENT = Decimal("0.01")
_UNKNOWN = "-"


def statement_text(statement: Statement) -> str:
    """Tables for people: totals by currency, then the dearest lines of each standing. Amounts are rounded, sums are not."""
    if not statement.totals:
        return "The bill has no charges.\n"
    lines: list[str] = []
    rows = []
    for currency, totals in sorted(statement.totals.items()):
        parts = [totals.of(standing).amount for standing in (Standing.ATTRIBUTED, Standing.UNTAGGED, Standing.ORPHANED)]
        rows.append((currency, str(totals.received.charges), *map(amount_text, (totals.received.amount, *parts))))
    lines += aligned(("CURRENCY", "CHARGES", "BILLED", "ATTRIBUTED", "UNTAGGED", "ORPHANED"), rows, left=1)
    lines += _section("Attributed", ("GROUP", "MODEL", "VERSION", "BUSINESS UNIT"), statement.attributed)
    lines += _section("Untagged", ("PROVIDER", "ACCOUNT", "SERVICE", "CATEGORY"), statement.untagged)
    lines += _section("Orphaned: tagged with what the fleet does not have", ("TAG",), statement.orphaned)
    lines += ["", *_notes(statement)]
    return "\n".join(lines).rstrip() + "\n"


def _notes(statement: Statement) -> Iterable[str]:
    for currency, totals in sorted(statement.totals.items()):
        named = ", ".join(f"{name} {amount_text(each.amount)}" for name, each in sorted(totals.categories.items()))
        periods = ", ".join(f"{name} {amount_text(each.amount)}" for name, each in sorted(totals.periods.items()))
        yield f"{currency} by category: {named}. By billing period: {periods}."
        if totals.rounded:
            yield f"{currency}: {totals.rounded} charges have more than 24 decimals; together {plain(totals.rounding)} is beyond them."
    if len(statement.totals) > 1:
        yield "Currencies are not added: a bill has no exchange rate."
    if statement.negative:
        charges = "charge is" if statement.negative == 1 else "charges are"
        yield f"{statement.negative} {charges} negative (credits, refunds, discounts), counted as they stand."


def _section(title: str, names: Sequence[str], lines: dict[tuple[str, ...], Sum]) -> list[str]:
    if not lines:
        return []
    found = dearest(lines)
    rows = [
        (*(printable(text, 60) or _UNKNOWN for text in key[1:]), key[0], str(each.charges), amount_text(each.amount))
        for key, each in found[:_SHOWN]
    ]
    text = ["", title, *aligned((*names, "CURRENCY", "CHARGES", "BILLED"), rows, left=len(names) + 1)]
    if len(found) > _SHOWN:
        text.append(f"... and {len(found) - _SHOWN} more lines; --output json has all of them")
    return text


def amount_text(amount: Decimal) -> str:
    """Two decimals; what is less than a cent either way is said to be so, not shown as nothing."""
    if amount and abs(amount) < _CENT:
        return "<0.01" if amount > 0 else ">-0.01"
    return money_text(amount)


def aligned(headings: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> list[str]:
    """Columns, the first ``left`` of them aligned to the left, the others to the right; no spaces at the end."""
    widths = [max(len(row[place]) for row in (headings, *rows)) for place in range(len(headings))]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join(padded).rstrip()

    return [line(headings), "-" * (sum(widths) + 2 * len(widths) - 2), *map(line, rows)]
