"""A cost report as a table: aligned text anywhere, a rich table on a terminal. Both show the same cells."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal, localcontext
from typing import TYPE_CHECKING

from trimtab_config.cost.amounts import significant_text
from trimtab_config.cost.rates import to_decimal
from trimtab_config.cost.report import UPDATES_PER_MONTH, total_of
from trimtab_kernel.money import HOURS_PER_MONTH, Figure, Grade, price_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import JustifyMethod

    from trimtab_config.cost.exchange import Exchange
    from trimtab_config.cost.idle import Idle
    from trimtab_config.cost.report import CostReport, Row, Total
    from trimtab_config.cost.slices import Dimension, Slice

UNKNOWN = "-"
_WHAT_A_MONTH_PAYS = (
    "COST A MONTH pays for what is reserved of the devices or used, whichever is more; what no deployment reserves is in"
    " no line."
)
_WHAT_ONE_MORE_COSTS = (
    "1K INFERENCES is the marginal cost, which ceilings judge: compute, energy and data of a thousand more, nothing"
    " reserved."
)


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its heading, whether its cells are numbers, and the order in which a narrow terminal drops it (0: never).

    Only a column that may be ``folded`` ever breaks a cell into lines. ``style`` is how a terminal shows it.
    """

    heading: str
    number: bool = False
    dropped: int = 0
    style: str = ""
    folded: bool = False


COLUMNS = (
    Column("GROUP", style="bold cyan"),
    Column("MODEL", folded=True),
    Column("DEVICES", number=True, dropped=3, style="dim"),
    Column("COST A MONTH", number=True, style="bold"),
    Column("FROM - TO", number=True, style="dim"),
    Column("GRADE"),
    Column("1K INFERENCES", number=True, dropped=2, style="dim"),
    Column("OF CEILING", number=True, dropped=4, style="dim"),
    Column("MOSTLY", dropped=1, style="dim"),
)
_CENT = Decimal("0.01")
_COST = 3
_CEILING = 7


@dataclass(frozen=True, slots=True)
class CostTable:
    """The cells of a report: one line for each row, one for each total, and the sentences below.

    ``beyond`` holds the places of the lines whose estimate is beyond the policy's ceiling.
    """

    lines: tuple[tuple[str, ...], ...]
    totals: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    beyond: frozenset[int] = frozenset()
    columns: tuple[Column, ...] = COLUMNS


def cost_table(report: CostReport, silent_groups: Sequence[str] = ()) -> CostTable:
    """The table of ``report``. ``silent_groups`` are those without a cost, named so that nobody looks for them."""
    lines = []
    shown = ""
    for row in report.rows:
        lines.append((row.group if row.group != shown else "", *_row_cells(row)))
        shown = row.group
    notes = [*_what_is_assumed(), _WHAT_ONE_MORE_COSTS]
    notes += [
        f"{row.model} {row.version} on {row.group} uses more CPU than its limits reserve of the devices: use is paid for."
        for row in report.rows
        if row.uses_more_than_reserved
    ]
    notes += _carbon(report)
    notes += _what_is_absent(report)
    if silent_groups:
        notes.append(f"Nothing runs in {', '.join(silent_groups)}.")
    beyond = frozenset(index for index, row in enumerate(report.rows) if _is_beyond(row))
    if beyond:
        notes.insert(0, f"{len(beyond)} of {len(report.rows)} lines are beyond the ceiling of their policy.")
    totals = tuple(_total_cells(total) for total in report.totals)
    return CostTable(tuple(lines), totals, tuple(notes), beyond)


def with_notes(table: CostTable, idle: Sequence[Idle], rule: str | None, rates: Sequence[Exchange] = ()) -> CostTable:
    """The table that also says what is idle, who bears it, and by which exchange rates amounts were converted."""
    notes = list(table.notes)
    for currency in sorted({each.currency for each in idle}):
        own = [each for each in idle if each.currency == currency]
        remainder, bill = total_of(each.figure for each in own), total_of(each.bill for each in own)
        borne = "in no line" if rule == "separate" else f"borne by the models, {rule}"
        amounts = f"{money_text(remainder.value)} of the {money_text(bill.value)} {currency}"
        bounds = f"{money_text(remainder.low)} - {money_text(remainder.high)}"
        notes.append(f"Idle: {amounts} that the devices cost ({bounds}), {borne}.")
        if rule == "separate":
            notes += [
                f"  {each.group}: {money_text(each.figure.value)} {currency}"
                for each in sorted(own, key=lambda each: -each.figure.value)
                if each.figure.value
            ]
    notes += [
        f"1 {each.source} is {significant_text(to_decimal(each.rate), 8)} {each.target} from {each.valid_from} to"
        f" {each.valid_until} ({each.book})."
        for each in rates
    ]
    return replace(table, notes=tuple(notes))


def slice_table(report: CostReport, cut: Sequence[Slice], dimension: Dimension) -> CostTable:
    """The table of a report that was cut along ``dimension``: what each value pays, and its share of its currency."""
    whole = {total.currency: total.figure.value for total in report.totals}
    lines = []
    for each in cut:
        total = each.total
        money = _money_cells(total.figure, total.currency, complete=not total.incomplete, known=bool(total.parts))
        share = total.figure.value / whole[total.currency] * 100 if whole[total.currency] else Decimal(0)
        shown = f"{share.quantize(Decimal('0.1'))} %"
        lines.append((f"(no {dimension.value})" if each.key is None else each.key, str(each.rows), *money, shown))
    totals = tuple(("TOTAL", *_total_cells(total)[2:6], "") for total in report.totals)
    columns = (
        Column(dimension.value.upper(), style="bold cyan", folded=True),
        Column("LINES", number=True, dropped=1, style="dim"),
        Column("COST A MONTH", number=True, style="bold"),
        Column("FROM - TO", number=True, style="dim"),
        Column("GRADE"),
        Column("SHARE", number=True, dropped=2, style="dim"),
    )
    notes = (*_what_is_assumed(), *_carbon(report), *_what_is_absent(report))
    return CostTable(tuple(lines), totals, notes, columns=columns)


def _what_is_assumed() -> tuple[str, ...]:
    often = UPDATES_PER_MONTH
    return (
        f"A month is {HOURS_PER_MONTH} hours. Bounds add up as if all figures were off the same way.",
        f"Assumed: each device fetches its model {often.value} time a month ({often.low} to {often.high}).",
        _WHAT_A_MONTH_PAYS,
    )


def _what_is_absent(report: CostReport) -> tuple[str, ...]:
    reasons = sorted({(row.model, reason) for row in report.rows for reason in row.absent.values()})
    if not reasons:
        return ()
    return (
        f'"≥" and {UNKNOWN}: a part is not known and not counted as zero:',
        *(f"  {model}: {reason}" for model, reason in reasons),
    )


def _carbon(report: CostReport) -> tuple[str, ...]:
    """Kilograms of CO2e of all rows that have a figure, and how many have none."""
    known = [total_of(row.carbon.values()) for row in report.rows if row.carbon]
    if not known:
        return ()
    kilograms = total_of(known)
    shown, low, high = (significant_text(bound / 1000, 4) for bound in (kilograms.value, kilograms.low, kilograms.high))
    blind = len(report.rows) - len(known)
    rest = f"; {blind} lines without a figure are not in it" if blind else ""
    return (f"Carbon: {shown} kg CO2e from the grid ({low} - {high}), {kilograms.grade.value}{rest}.",)


def _is_beyond(row: Row) -> bool:
    return row.ceiling is not None and row.per_1k is not None and row.ceiling.share(row.per_1k) > 1


def _row_cells(row: Row) -> tuple[str, ...]:
    return (
        f"{row.model} {row.version} {row.tier}",
        significant_text(row.devices, 6),
        *_money_cells(row.total, row.currency, complete=not row.absent, known=bool(row.parts)),
        UNKNOWN if row.per_1k is None else price_text(row.per_1k.value, row.currency),
        _share(row),
        _mostly(row),
    )


def _total_cells(total: Total) -> tuple[str, ...]:
    known = bool(total.parts)
    cells = _money_cells(total.figure, total.currency, complete=not total.incomplete, known=known)
    return ("TOTAL", "", "", *cells, "", "", "")


def _money_cells(figure: Figure, currency: str, *, complete: bool, known: bool) -> tuple[str, str, str]:
    if not known:
        return (UNKNOWN, UNKNOWN, Grade.ABSENT.value)
    if not complete:
        # What is known is a lower bound, and stays one when rounded down.
        return (f"≥ {money_text(figure.value, ROUND_FLOOR)} {currency}", f"{money_text(figure.low)} - ?", "incomplete")
    shown = "<0.01" if 0 < figure.value < _CENT else money_text(figure.value)
    return (f"{shown} {currency}", f"{money_text(figure.low)} - {money_text(figure.high)}", figure.grade.value)


def money_text(amount: Decimal, rounding: str = ROUND_HALF_EVEN) -> str:
    """Two decimals, thousands separated by commas: ``1,234.50``."""
    with localcontext() as context:
        context.prec = 60
        return f"{amount.quantize(_CENT, rounding):,f}"


def _share(row: Row) -> str:
    """The cost of a thousand inferences as a share of what the policy allows."""
    if row.ceiling is None or row.per_1k is None:
        return UNKNOWN
    share = row.ceiling.share(row.per_1k) * 100
    return f"{significant_text(share, 2)} %" if share.is_finite() else "none allowed"


def _mostly(row: Row) -> str:
    """The largest part and its share of what is known."""
    total = row.total.value
    if not total:
        return UNKNOWN
    part = max(row.parts, key=lambda name: row.parts[name].value)
    share = row.parts[part].value / total * 100
    return f"{part} {share.quantize(Decimal(1))} %"


def _widths(table: CostTable) -> list[int]:
    everything = [tuple(column.heading for column in table.columns), *table.lines, *table.totals]
    return [max(len(cells[index]) for cells in everything) for index in range(len(table.columns))]


def plain_text(table: CostTable) -> str:
    """Aligned columns without colours, lines without spaces at the end."""
    widths = _widths(table)

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if column.number else cell.ljust(width)
            for cell, width, column in zip(cells, widths, table.columns, strict=True)
        )
        return "  ".join(padded).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    headings = line([column.heading for column in table.columns])
    text = [headings, rule, *map(line, table.lines), rule, *map(line, table.totals), "", *table.notes]
    return "\n".join(text) + "\n"


def columns_within(table: CostTable, width: int) -> list[int]:
    """The columns that a terminal of ``width`` characters has room for, the least needed dropped first."""
    kept = list(range(len(table.columns)))
    droppable = sorted((column.dropped, index) for index, column in enumerate(table.columns) if column.dropped)
    for _, index in droppable:
        if _room(table, kept) <= width:
            break
        kept.remove(index)
    return kept


def _room(table: CostTable, kept: Sequence[int]) -> int:
    """The characters that some columns need side by side, those that may be folded as narrow as their longest word."""
    room = 2 * (len(kept) - 1)
    for index in kept:
        column = table.columns[index]
        cells = [column.heading, *(line[index] for line in (*table.lines, *table.totals))]
        room += max(len(word) for cell in cells for word in ([cell, *cell.split()][column.folded :] or [""]))
    return room


def terminal_table(table: CostTable) -> None:
    """Print the table on the terminal that stdout is: the same cells, without the columns that have no room.

    A terminal that is narrower still breaks lines; no figure is ever cut.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    width = console.width
    kept = columns_within(table, width)
    shown = Table(header_style="bold", pad_edge=False, box=None, padding=(0, 1))
    for index in kept:
        column = table.columns[index]
        side: JustifyMethod = "right" if column.number else "left"
        shown.add_column(column.heading, justify=side, no_wrap=not column.folded, overflow="fold")
    for place, cells in enumerate(table.lines):
        row = [Text(cells[index], table.columns[index].style) for index in kept]
        if place in table.beyond:
            row[kept.index(_CEILING if _CEILING in kept else _COST)].stylize("bold red")
        shown.add_row(*row)
    shown.add_row()
    for cells in table.totals:
        shown.add_row(*(Text(cells[index], "bold") for index in kept))
    console.width = max(width, _room(table, kept))
    console.print(shown)
    console.width = width
    console.print()
    for note in table.notes:
        console.print(Text(note, "dim"))
