"""Spending in one currency: each day's charges in others at the dated exchange rate of that very day. Pure.

Where a day has no rate, or two that disagree, nothing is guessed. Before the month that is judged such a day only ends
what a forecast may learn from; within it there is no sum.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from trimtab_config.bills.charges import EXACT, PLACES
from trimtab_config.cost.exchange import Exchange, exchange
from trimtab_kernel.problems import InputError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from trimtab_config.spec.kinds import Document

_STEP = Decimal(1).scaleb(-PLACES)
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class OneCurrency:
    """What was spent by day. ``lacking`` are days whose charges have no rate; ``rates`` are those that were used, by day."""

    days: Mapping[date, Decimal]
    lacking: Mapping[date, Problem]
    rates: Mapping[date, tuple[Exchange, ...]]

    @property
    def after_lacking(self) -> date | None:
        """The day after the last one that lacks a rate."""
        return max(self.lacking) + timedelta(days=1) if self.lacking else None


@dataclass(slots=True)
class Conversion:
    """The rates of these price books, each looked up once."""

    books: tuple[Document, ...]
    _known: dict[tuple[str, str, date], Exchange | Problem] = field(default_factory=dict)

    def into(self, target: str, spent: Mapping[str, Mapping[date, Decimal]]) -> OneCurrency:
        """``spent`` by currency and day as one series in ``target``.

        Amounts are rounded half to even to the places that a charge has, each day of each currency for itself.
        """
        days: dict[date, Decimal] = dict(spent.get(target, {}))
        lacking: dict[date, Problem] = {}
        rates: dict[date, tuple[Exchange, ...]] = {}
        for source in sorted(spent.keys() - {target}):
            for day, amount in spent[source].items():
                found = self._rate(source, target, day)
                if isinstance(found, Problem):
                    lacking.setdefault(day, found)
                    continue
                days[day] = EXACT.add(days.get(day, _ZERO), _times(amount, found.rate))
                rates[day] = (*rates.get(day, ()), found)
        return OneCurrency(days, lacking, rates)

    def _rate(self, source: str, target: str, day: date) -> Exchange | Problem:
        key = (source, target, day)
        found = self._known.get(key)
        if found is None:
            try:
                found = exchange(self.books, source, target, day)
            except InputError as error:
                found = error.problems[0]
            self._known[key] = found
        return found


def used(series: OneCurrency, since: date) -> tuple[Exchange, ...]:
    """The rates of the days from ``since`` on, each once."""
    found = {rate for day, rates in series.rates.items() if day >= since for rate in rates}
    return tuple(sorted(found, key=lambda rate: (rate.source, rate.valid_from, rate.book)))


def _times(amount: Decimal, rate: Fraction) -> Decimal:
    exact = Fraction(amount) * rate
    return EXACT.quantize(EXACT.divide(Decimal(exact.numerator), Decimal(exact.denominator)), _STEP)
