"""Figures as exact fractions: the same as fractions would give, rounded once."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_config.cost.exact import Exact
from trimtab_kernel.money import Figure, Grade

amounts = st.decimals("0", "1000000", places=12)
factors = st.fractions(0, 10**6, max_denominator=10**6)


@st.composite
def figures(draw: st.DrawFn) -> Figure:
    low, value, high = sorted(draw(st.tuples(amounts, amounts, amounts)))
    return Figure(value, low, high, draw(st.sampled_from(Grade)))


@given(figures(), figures(), factors)
def test_products_sums_and_shares_are_those_of_fractions(one: Figure, other: Figure, factor: Fraction) -> None:
    first, second = Exact.of(one), Exact.of(other)
    mine, theirs = first.fractions(), second.fractions()
    assert mine == (Fraction(one.value), Fraction(one.low), Fraction(one.high))
    assert first.times(second).fractions() == tuple(a * b for a, b in zip(mine, theirs, strict=True))
    assert first.plus(second).fractions() == tuple(a + b for a, b in zip(mine, theirs, strict=True))
    assert first.scaled(factor).fractions() == tuple(a * factor for a in mine)
    worst = max(one.grade, other.grade, key=list(Grade).index)
    assert first.times(second).grade is first.plus(second).grade is worst
    assert first.scaled(factor).grade is one.grade


@given(figures(), st.integers(0, 12))
def test_rounding_is_that_of_decimals_the_bounds_outwards(figure: Figure, places: int) -> None:
    step = Decimal(1).scaleb(-places)
    with localcontext() as context:
        context.prec = 60
        expected = (
            figure.value.quantize(step, ROUND_HALF_EVEN),
            figure.low.quantize(step, ROUND_FLOOR),
            figure.high.quantize(step, ROUND_CEILING),
        )
    got = Exact.of(figure).rounded(places)
    assert (got.value, got.low, got.high, got.grade) == (*expected, figure.grade)
    assert f"{got.value:f}" == f"{expected[0]:f}"


@pytest.mark.parametrize(
    ("third", "text"),
    [
        (Fraction(1, 3), "0.333333"),
        (Fraction(2, 3), "0.666667"),
        (Fraction(5, 10**7), "0.000000"),
        (Fraction(1), "1.000000"),
    ],
)
def test_a_fraction_without_end_is_rounded_once(third: Fraction, text: str) -> None:
    assert f"{Exact.between(third, third, third, Grade.MEASURED).rounded(6).value:f}" == text


def test_what_is_exact_needs_no_wider_bound() -> None:
    """A third of three is one: the high bound is not a millionth above it."""
    three = Exact.of(Figure.exact(3, Grade.MEASURED)).scaled(Fraction(1, 3))
    assert three.rounded(6) == Figure(Decimal("1.000000"), Decimal("1.000000"), Decimal("1.000000"), Grade.MEASURED)


@given(st.integers(0, 10**80), st.integers(1, 10**6))
def test_amounts_of_any_length_lose_no_digit(whole: int, over: int) -> None:
    figure = Exact(whole * over, whole * over, whole * over, over, Grade.MEASURED).rounded(6)
    assert figure.value == figure.low == figure.high == Decimal(whole)
