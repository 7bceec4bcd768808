"""Money is decimal and has a currency; an estimate is money with bounds and a grade.

Rules (design: every figure is an interval with its grade): bounds are added without assuming that errors are
independent, so ``low`` and ``high`` of a sum are the sums of lows and highs. The grade of a sum is its weakest part.
"""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from enum import Enum

from trimtab_kernel.records import dataclass

HOURS_PER_MONTH = 730  # 8,760 h / 12: the month of every monthly figure
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
_AMOUNT = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?", re.ASCII)
_PRECISION = 60


class MoneyError(ValueError):
    """The text is not an amount of money, or two currencies were mixed."""


class Grade(Enum):
    """How a figure is known, from best to weakest."""

    MEASURED = "measured"
    MODELLED = "modelled"
    DECLARED = "declared"
    ABSENT = "absent"

    @property
    def rank(self) -> int:
        """0 is best."""
        return _RANKS[self._value_]

    @property
    def spread(self) -> Decimal:
        """Relative half-width given to a bare figure of this grade: 10, 30 or 50 percent; an absent one has none."""
        return _SPREADS[self]


_RANKS = {grade.value: rank for rank, grade in enumerate(Grade)}
_SPREADS = {
    Grade.MEASURED: Decimal("0.1"),
    Grade.MODELLED: Decimal("0.3"),
    Grade.DECLARED: Decimal("0.5"),
    Grade.ABSENT: Decimal(0),
}


def weakest(*grades: Grade) -> Grade:
    """The grade of something made of parts with these grades. Raises ValueError where there is no part."""
    if not grades:
        raise ValueError("a grade needs at least one part")
    worst, *others = grades
    for grade in others:
        if _RANKS[grade._value_] > _RANKS[worst._value_]:  # asked for every figure: the enum's own ways take longer
            worst = grade
    return worst


def parse_currency(text: str) -> str:
    """An ISO 4217 code in capitals. Raises :class:`MoneyError`."""
    if not _CURRENCY.fullmatch(text):
        raise MoneyError('expected an ISO 4217 currency code such as "EUR"')
    return text


def parse_decimal(text: str | int) -> Decimal:
    """An exact decimal of at most 18 digits before and after the point. Raises :class:`MoneyError`."""
    if isinstance(text, bool) or not _AMOUNT.fullmatch(str(text)):
        raise MoneyError('expected a decimal number such as "0.0125"')
    return Decimal(str(text))


def quantize(amount: Decimal, places: int = 2) -> Decimal:
    """``amount`` rounded half to even at ``places`` decimals: for showing, never for summing."""
    with localcontext() as context:
        context.prec = _PRECISION
        return amount.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN)


_MICRO = Decimal("0.000001")
_MILLI = Decimal("0.001")
_SHOWN_DIGITS = 3


def price_text(amount: Decimal, currency: str, *, digits: int = _SHOWN_DIGITS) -> str:
    """A small price for people, with ``digits`` significant digits: ``12.5 EUR``, ``0.0042 EUR``, ``68.9 µEUR``.

    Below a thousandth of the currency it is written in millionths (SI prefix micro), whatever its size, so that figures
    beside each other compare at a glance. There is no ``mEUR``: finance reads it as a million. For showing, never for
    parsing.
    """
    return f"{price_number(amount, digits=digits, like=amount)} {price_unit(amount, currency)}"


def price_range_text(low: Decimal, high: Decimal, currency: str, *, digits: int = _SHOWN_DIGITS) -> str:
    """Bounds of a small price in one unit, that of the high one: ``0.05 to 0.07 µEUR``."""
    shown = (price_number(bound, digits=digits, like=high) for bound in (low, high))
    return f"{' to '.join(shown)} {price_unit(high, currency)}"


def price_unit(amount: Decimal, currency: str) -> str:
    """``µEUR`` or ``EUR``: what :func:`price_text` writes ``amount`` in."""
    return f"µ{currency}" if 0 < abs(amount) < _MILLI else currency


def price_number(amount: Decimal, *, like: Decimal, digits: int = _SHOWN_DIGITS) -> str:
    """``amount`` without its unit, in the unit of ``like``: significant digits, no exponent, no zeros at the end."""
    if not amount:
        return "0"
    with localcontext() as context:
        context.prec = _PRECISION
        scaled = amount / _MICRO if 0 < abs(like) < _MILLI else amount
        context.prec = digits
        context.rounding = ROUND_HALF_EVEN
        text = f"{+scaled:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@dataclass(frozen=True, slots=True)
class Money:
    """An exact amount in one currency (ISO 4217)."""

    amount: Decimal
    currency: str

    @classmethod
    def parse(cls, amount: str | int, currency: str) -> Money:
        """Raises :class:`MoneyError`."""
        return cls(parse_decimal(amount), parse_currency(currency))

    def __add__(self, other: Money) -> Money:
        """The exact sum. Raises :class:`MoneyError` for two currencies."""
        if self.currency != other.currency:
            raise MoneyError(f"cannot add {other.currency} to {self.currency} without a dated exchange rate")
        with localcontext() as context:
            context.prec = _PRECISION
            return Money(self.amount + other.amount, self.currency)

    def times(self, factor: Decimal | int) -> Money:
        """The amount times ``factor``."""
        with localcontext() as context:
            context.prec = _PRECISION
            return Money(self.amount * factor, self.currency)

    def __str__(self) -> str:
        """``12.30 EUR``, rounded for people."""
        return f"{quantize(self.amount)} {self.currency}"


@dataclass(frozen=True, slots=True)
class Figure:
    """A non-negative number with bounds and a grade: ``low <= value <= high``. The unit is the field's."""

    value: Decimal
    low: Decimal
    high: Decimal
    grade: Grade

    def __post_init__(self) -> None:
        """Raises :class:`MoneyError` where the bounds are out of order or negative."""
        if not 0 <= self.low <= self.value <= self.high:
            raise MoneyError(f"expected 0 <= low <= value <= high, got {self.low}, {self.value}, {self.high}")

    @classmethod
    def bare(cls, value: Decimal, grade: Grade) -> Figure:
        """A figure written without bounds gets those of its grade (10, 30, 50 percent)."""
        with localcontext() as context:
            context.prec = _PRECISION
            half = value * grade.spread
            return cls(value, value - half, value + half, grade)

    @classmethod
    def exact(cls, value: Decimal | int, grade: Grade = Grade.DECLARED) -> Figure:
        """A figure without error (a count, a list price)."""
        number = Decimal(value)
        return cls(number, number, number, grade)

    def __add__(self, other: Figure) -> Figure:
        """Bounds add; the grade is the weaker one."""
        with localcontext() as context:
            context.prec = _PRECISION
            return Figure(
                self.value + other.value, self.low + other.low, self.high + other.high, weakest(self.grade, other.grade)
            )

    def times(self, other: Figure | Decimal | int) -> Figure:
        """Bounds multiply (all figures are >= 0); the grade is the weaker one."""
        factor = other if isinstance(other, Figure) else Figure.exact(other, Grade.MEASURED)
        with localcontext() as context:
            context.prec = _PRECISION
            return Figure(
                self.value * factor.value,
                self.low * factor.low,
                self.high * factor.high,
                weakest(self.grade, factor.grade),
            )
