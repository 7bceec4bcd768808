"""Money is exact and has a currency; an estimate has bounds and a grade."""

from __future__ import annotations

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_kernel.money import (
    Figure,
    Grade,
    Money,
    MoneyError,
    parse_currency,
    parse_decimal,
    price_range_text,
    price_text,
    quantize,
    weakest,
)

amounts = st.decimals(min_value=-(10**12), max_value=10**12, places=6)
positive = st.decimals(min_value=0, max_value=10**12, places=6)


@st.composite
def figures(draw: st.DrawFn) -> Figure:
    """Figures with bounds in order."""
    low, value, high = sorted(draw(st.tuples(positive, positive, positive)))
    return Figure(low=low, value=value, high=high, grade=draw(st.sampled_from(Grade)))


@given(amounts)
def test_an_amount_reads_back_as_the_same(amount: Decimal) -> None:
    money = Money.parse(f"{amount:f}", "EUR")
    assert money == Money(amount, "EUR")


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "1.",
        ".5",
        "1e3",
        "1E3",
        "+1",
        "--1",
        "1,5",
        "NaN",
        "Infinity",
        "1_000",
        " 1",
        "1\n",
        "\uff11",
        "1" * 19,
        "0." + "1" * 19,
    ],
)
def test_what_is_no_plain_decimal_is_refused(text: str) -> None:
    with pytest.raises(MoneyError, match="expected a decimal number"):
        parse_decimal(text)


@pytest.mark.parametrize("text", ["", "eur", "EU", "EURO", "€", "E1R", "EUR\n", "\uff25UR"])
def test_what_is_no_currency_code_is_refused(text: str) -> None:
    with pytest.raises(MoneyError, match="ISO 4217"):
        parse_currency(text)


@given(st.lists(amounts, max_size=30))
def test_a_sum_does_not_depend_on_the_order(values: list[Decimal]) -> None:
    total = sum((Money(value, "EUR") for value in values), Money(Decimal(0), "EUR"))
    again = sum((Money(value, "EUR") for value in reversed(values)), Money(Decimal(0), "EUR"))
    assert total == again
    with localcontext() as context:
        context.prec = 80
        assert total.amount == sum(values)


def test_currencies_do_not_mix() -> None:
    with pytest.raises(MoneyError, match="cannot add USD to EUR"):
        Money.parse("1", "EUR") + Money.parse("1", "USD")


@pytest.mark.parametrize(
    ("amount", "shown"), [("0.125", "0.12"), ("0.135", "0.14"), ("-0.125", "-0.12"), ("2.5", "2.50"), ("0.005", "0.00")]
)
def test_shown_amounts_round_half_to_even(amount: str, shown: str) -> None:
    assert str(Money.parse(amount, "EUR")) == f"{shown} EUR"
    assert str(quantize(Decimal(amount))) == shown


@given(figures(), figures())
def test_bounds_add_and_the_weaker_grade_stays(one: Figure, other: Figure) -> None:
    total = one + other
    assert (total.low, total.value, total.high) == (
        one.low + other.low,
        one.value + other.value,
        one.high + other.high,
    )
    assert total.grade is max(one.grade, other.grade, key=list(Grade).index)


@given(figures(), figures())
def test_bounds_multiply(one: Figure, other: Figure) -> None:
    product = one.times(other)
    with localcontext() as context:
        context.prec = 80
        assert product.low == one.low * other.low
        assert product.high == one.high * other.high
        assert product.low <= product.value <= product.high


@pytest.mark.parametrize(
    ("grade", "low", "high"),
    [
        (Grade.MEASURED, "90", "110"),
        (Grade.MODELLED, "70", "130"),
        (Grade.DECLARED, "50", "150"),
        (Grade.ABSENT, "100", "100"),
    ],
)
def test_a_bare_figure_gets_the_bounds_of_its_grade(grade: Grade, low: str, high: str) -> None:
    figure = Figure.bare(Decimal(100), grade)
    assert (figure.low, figure.high) == (Decimal(low), Decimal(high))


@pytest.mark.parametrize(("low", "value", "high"), [(2, 1, 3), (1, 3, 2), (-1, 0, 1)])
def test_bounds_out_of_order_are_refused(low: int, value: int, high: int) -> None:
    with pytest.raises(MoneyError, match="expected 0 <= low <= value <= high"):
        Figure(Decimal(value), Decimal(low), Decimal(high), Grade.DECLARED)


def test_the_weakest_grade_wins_and_nothing_has_no_grade() -> None:
    assert weakest(Grade.MEASURED, Grade.ABSENT, Grade.MODELLED) is Grade.ABSENT
    assert weakest(Grade.MEASURED) is Grade.MEASURED
    with pytest.raises(ValueError, match="at least one part"):
        weakest()


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0", "0 EUR"),
        ("0.0000000504", "0.0504 µEUR"),
        ("0.00006886", "68.9 µEUR"),
        ("0.000999", "999 µEUR"),
        ("0.001", "0.001 EUR"),
        ("0.00421", "0.00421 EUR"),
        ("12.345", "12.3 EUR"),
        ("123456", "123,000 EUR"),
        ("-0.00005", "-50 µEUR"),
    ],
)
def test_a_small_price_is_written_in_millionths(amount: str, shown: str) -> None:
    assert price_text(Decimal(amount), "EUR") == shown


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [
        ("0.00005", "0.00007", "50 to 70 µEUR"),
        ("0.0005", "0.002", "0.0005 to 0.002 EUR"),
        ("0", "0.00000012", "0 to 0.12 µEUR"),
        ("0", "0", "0 to 0 EUR"),
    ],
)
def test_bounds_of_a_price_share_one_unit(low: str, high: str, shown: str) -> None:
    assert price_range_text(Decimal(low), Decimal(high), "EUR") == shown


@given(st.decimals("0", "1000", places=12))
def test_a_price_is_never_shown_as_nothing_nor_off_by_more_than_its_digits(amount: Decimal) -> None:
    number, unit = price_text(amount, "EUR").split(" ")
    shown = Decimal(number.replace(",", "")) * (Decimal("0.000001") if unit == "µEUR" else 1)
    assert abs(shown - amount) <= amount * Decimal("0.005")
