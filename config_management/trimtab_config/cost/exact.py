"""Figures as exact fractions with one denominator: what is multiplied many times is rounded once, at the end.

Whole numbers multiply in a tenth of the time that decimals of 60 digits take, and lose nothing: a third of three is one.
"""

from __future__ import annotations

from decimal import Context, Decimal
from fractions import Fraction
from math import lcm
from typing import TYPE_CHECKING

from trimtab_kernel.money import Figure, weakest
from trimtab_kernel.records import dataclass

if TYPE_CHECKING:
    from trimtab_kernel.money import Grade


_ONE = Fraction(1)
_SCALING = Context(prec=60)
_QUICK = 10**59  # below it a scaled whole number keeps every digit


@dataclass(frozen=True, slots=True)
class Exact:
    """A figure whose bounds are ``value``, ``low`` and ``high`` divided by ``over``. Like a figure never negative."""

    value: int
    low: int
    high: int
    over: int
    grade: Grade

    @classmethod
    def of(cls, figure: Figure) -> Exact:
        """The figure as it stands."""
        return cls.between(Fraction(figure.value), Fraction(figure.low), Fraction(figure.high), figure.grade)

    @classmethod
    def between(cls, value: Fraction, low: Fraction, high: Fraction, grade: Grade) -> Exact:
        """From fractions with ``low <= value <= high``."""
        over = lcm(value.denominator, low.denominator, high.denominator)
        first, second, third = (bound.numerator * (over // bound.denominator) for bound in (value, low, high))
        return cls(first, second, third, over, grade)

    def times(self, other: Exact) -> Exact:
        """Bounds multiply; the grade is the weaker one."""
        over = self.over * other.over
        grade = weakest(self.grade, other.grade)
        return Exact(self.value * other.value, self.low * other.low, self.high * other.high, over, grade)

    def scaled(self, factor: Fraction) -> Exact:
        """Times an exact factor that is not negative."""
        by = factor.numerator
        return Exact(self.value * by, self.low * by, self.high * by, self.over * factor.denominator, self.grade)

    def plus(self, other: Exact) -> Exact:
        """Bounds add; the grade is the weaker one."""
        mine, theirs = other.over, self.over
        return Exact(
            self.value * mine + other.value * theirs,
            self.low * mine + other.low * theirs,
            self.high * mine + other.high * theirs,
            self.over * other.over,
            weakest(self.grade, other.grade),
        )

    def fractions(self) -> tuple[Fraction, Fraction, Fraction]:
        """Value, low and high."""
        return Fraction(self.value, self.over), Fraction(self.low, self.over), Fraction(self.high, self.over)

    def rounded(self, places: int, by: Fraction = _ONE) -> Figure:
        """Times ``by``, to ``places`` decimals: the value half to even, the bounds outwards."""
        scale = 10**places * by.numerator
        over = self.over * by.denominator
        whole, rest = divmod(self.value * scale, over)
        if rest * 2 > over or (rest * 2 == over and whole & 1):
            whole += 1
        return Figure(
            _decimal(whole, places),
            _decimal(self.low * scale // over, places),
            _decimal(-(-self.high * scale // over), places),
            self.grade,
        )


def _decimal(whole: int, places: int) -> Decimal:
    """``whole`` divided by ten to the power of ``places``, with that many decimals, exact however long it is."""
    if whole < _QUICK:
        return _SCALING.scaleb(Decimal(whole), -places)
    text = str(whole).rjust(places + 1, "0")
    return Decimal(f"{text[:-places]}.{text[-places:]}" if places else text)
