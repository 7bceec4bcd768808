"""A report in one currency, by the dated exchange rates of the price books. No rate is ever guessed, and none is 1."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import TYPE_CHECKING

from trimtab_config.cost.exact import Exact
from trimtab_config.cost.rates import to_decimal
from trimtab_config.cost.report import PER_1K_PLACES, PLACES, Amounts, Ceiling, CostReport
from trimtab_kernel.problems import InputError, Problem
from trimtab_kernel.records import dataclass

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterable, Mapping

    from trimtab_config.cost.idle import Idle
    from trimtab_config.cost.report import Row
    from trimtab_config.spec.kinds import Document, ExchangeRate
    from trimtab_kernel.canonical import Json


@dataclass(frozen=True, slots=True)
class Exchange:
    """One unit of ``source`` is ``rate`` of ``target``, from one day to another, as the price book ``book`` says."""

    source: str
    target: str
    rate: Fraction
    book: str
    valid_from: datetime.date
    valid_until: datetime.date

    def to_json(self) -> dict[str, Json]:
        """The rate as decimal text: exact where it is one, otherwise of 18 digits."""
        return {
            "from": self.source,
            "to": self.target,
            "rate": f"{to_decimal(self.rate).normalize():.18f}".rstrip("0").rstrip("."),
            "priceBook": self.book,
            "validFrom": self.valid_from.isoformat(),
            "validUntil": self.valid_until.isoformat(),
        }


def exchange(
    books: Iterable[Document], source: str, target: str, as_of: datetime.date, price_book: str | None = None
) -> Exchange:
    """The rate of the day ``as_of``, of the book named ``price_book`` or of whichever has it.

    A book whose own currency is ``source`` serves too, by the inverse. Raises InputError: F405 where no book knows both
    currencies, F406 where none of its rates holds on the day, F407 where two give different rates.
    """
    known = [book for book in books if price_book is None or book.metadata.name == price_book]
    found = [(book, rate, Fraction(rate.rate)) for book in known for rate in _rates(book, target, source)]
    found += [(book, rate, 1 / Fraction(rate.rate)) for book in known for rate in _rates(book, source, target)]
    if not found:
        hint = f"add {{currency: {source}, rate: ..., validFrom: ..., validUntil: ...}} to a book in {target}, or the other way round"
        got = f"no rate from {source} to {target}"
        raise InputError(
            Problem("F405", field="spec.exchangeRates", got=got, expected="one, with its dates", hint=hint)
        )
    held = [each for each in found if each[1].valid_from <= as_of <= each[1].valid_until]
    if not held:
        book, latest, _ = max(found, key=lambda each: each[1].valid_until)
        field = "spec.exchangeRates"
        got = f"{latest.currency} from {latest.valid_from} to {latest.valid_until} at the latest"
        raise InputError(
            Problem("F406", book.origin.file, book.origin.line_of(field), field, got, f"a rate that holds on {as_of}")
        )
    first, *others = sorted(held, key=lambda each: each[0].metadata.name)
    for book, _, other in others:
        if other != first[2]:
            names = f"{first[0].metadata.name} and {book.metadata.name}"
            field = "spec.exchangeRates"
            got = f"different rates from {source} to {target} in {names}"
            raise InputError(
                Problem("F407", book.origin.file, book.origin.line_of(field), field, got, f"one rate of {as_of}")
            )
    book, dates, rate = first
    return Exchange(source, target, rate, book.metadata.name, dates.valid_from, dates.valid_until)


def _rates(book: Document, base: str, currency: str) -> list[ExchangeRate]:
    return [rate for rate in book.spec.exchange_rates if book.spec.currency == base and rate.currency == currency]


def converted(report: CostReport, rates: Mapping[str, Exchange]) -> CostReport:
    """The report with each row of a currency in ``rates`` in that rate's target: parts first, so that they still add up.

    The value of a part is rounded half to even and its bounds outwards, as everywhere.
    """
    amounts: dict[tuple[int, str], Amounts] = {}
    return CostReport(
        tuple(_row(row, rates[row.currency], amounts) if row.currency in rates else row for row in report.rows)
    )


def converted_idle(idle: Idle, rates: Mapping[str, Exchange]) -> Idle:
    """The idle remainder likewise."""
    rate = rates.get(idle.currency)
    if rate is None:
        return idle
    bill, figure = (Exact.of(each).rounded(PLACES, rate.rate) for each in (idle.bill, idle.figure))
    return dataclasses.replace(idle, currency=rate.target, bill=bill, figure=figure)


def _row(row: Row, rate: Exchange, known: dict[tuple[int, str], Amounts]) -> Row:
    key = (id(row.parts), rate.source)
    parts = known.get(key)
    if parts is None:
        figures = {part: Exact.of(figure).rounded(PLACES, rate.rate) for part, figure in row.parts.items()}
        parts = Amounts(figures, row.devices, row.inferences, complete=not row.absent, carbon=row.carbon)
        known[key] = parts
    per_1k = None if row.per_1k is None else Exact.of(row.per_1k).rounded(PER_1K_PLACES, rate.rate)
    ceiling = None
    if row.ceiling is not None:
        ceiling = Ceiling(row.ceiling.policy, to_decimal(Fraction(row.ceiling.amount) * rate.rate))
    return dataclasses.replace(row, currency=rate.target, parts=parts, per_1k=per_1k, ceiling=ceiling)
