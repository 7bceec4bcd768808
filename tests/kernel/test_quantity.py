"""Quantities are exact, and spelled as Kubernetes spells them."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_kernel.quantity import Quantity, QuantityError

billionths = st.integers(0, (2**63 - 1) * 10**9).map(lambda number: Quantity(Fraction(number, 10**9)))


# The forms of the Kubernetes API reference ("resource.Quantity"): decimal and binary suffixes, and exponents.
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", Fraction(0)),
        ("1", Fraction(1)),
        ("0.5", Fraction(1, 2)),
        (".5", Fraction(1, 2)),
        ("5.", Fraction(5)),
        ("+5", Fraction(5)),
        ("-0", Fraction(0)),
        ("500m", Fraction(1, 2)),
        ("0.1", Fraction(1, 10)),
        ("1n", Fraction(1, 10**9)),
        ("1u", Fraction(1, 10**6)),
        ("1k", Fraction(1000)),
        ("1M", Fraction(10**6)),
        ("1.5G", Fraction(15 * 10**8)),
        ("2T", Fraction(2 * 10**12)),
        ("3P", Fraction(3 * 10**15)),
        ("1E", Fraction(10**18)),
        ("1Ki", Fraction(1024)),
        ("1Gi", Fraction(2**30)),
        ("0.5Gi", Fraction(2**29)),
        ("1e3", Fraction(1000)),
        ("1E3", Fraction(1000)),
        ("12e-3", Fraction(12, 1000)),
        ("9223372036854775807", Fraction(2**63 - 1)),
    ],
)
def test_a_quantity_is_exactly_what_it_says(text: str, value: Fraction) -> None:
    assert Quantity.parse(text).value == value


@pytest.mark.parametrize(
    "text",
    [
        "", " ", ".", "+", "-1", "-0.1", "1 Gi", "1GB", "1gi", "1K", "1kb", "1mi", "0.5 cores", "half", "1,5", "0x10", "1e", "e3",
        "1e99", "1e-99", "1e1000", "NaN", "inf", "1_000", "1Ki2", "0.1n", "1.5n", "9223372036854775808", "8Ei", "9" * 41, "1" * 65,
        "\u0661", "\uff11", "1\n", "½",
    ],
)  # fmt: skip
def test_what_is_no_exact_quantity_is_refused(text: str) -> None:
    with pytest.raises(QuantityError, match="expected a quantity"):
        Quantity.parse(text)


@pytest.mark.parametrize("value", [True, False, 1.5, None, b"1"])
def test_only_text_and_whole_numbers_are_read(value: object) -> None:
    with pytest.raises(QuantityError):
        Quantity.parse(value)  # type: ignore[arg-type] # what must not work


@given(billionths)
def test_text_of_a_quantity_reads_back_as_the_same(quantity: Quantity) -> None:
    assert Quantity.parse(str(quantity)) == quantity


@given(billionths)
def test_the_text_has_no_point_and_no_exponent(quantity: Quantity) -> None:
    assert "." not in str(quantity)
    assert str(quantity).rstrip("numkMGTPEKi").isdigit()


@given(st.integers(0, 2**63 - 1))
def test_whole_numbers_read_as_themselves(number: int) -> None:
    assert Quantity.parse(number) == Quantity.parse(str(number))
    assert Quantity.parse(number).units == number


@given(billionths, billionths)
def test_sums_are_exact(one: Quantity, other: Quantity) -> None:
    assert (one + other).value == one.value + other.value


def test_a_tenth_three_times_is_three_tenths() -> None:
    tenth = Quantity.parse("0.1")
    assert tenth + tenth + tenth == Quantity.parse("300m")


@given(billionths)
def test_milli_and_units_round_up(quantity: Quantity) -> None:
    assert 0 <= quantity.milli - quantity.value * 1000 < 1
    assert 0 <= quantity.units - quantity.value < 1


def test_order_goes_by_value() -> None:
    texts = ["999m", "1", "1001m", "1k", "1Ki", "1M", "1Mi", "1G", "1Gi"]
    assert sorted(texts, key=Quantity.parse) == texts
    assert Quantity.parse("1000m") == Quantity.parse("1")
    assert hash(Quantity.parse("1000m")) == hash(Quantity.parse("1"))


@given(st.text(max_size=20))
def test_any_text_is_a_quantity_or_is_refused_by_name(text: str) -> None:
    try:
        quantity = Quantity.parse(text)
    except QuantityError:
        return
    assert Quantity.parse(str(quantity)) == quantity
