"""One text per value."""

from __future__ import annotations

import json
from random import Random
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_kernel.canonical import CanonicalError, Json, canonical_json, digest_of

bmp_text = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=8)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(bmp_text, below, max_size=4),
    max_leaves=12,
)


@given(values)
def test_canonical_text_reads_back_as_the_value(value: object) -> None:
    assert json.loads(canonical_json(cast("Json", value))) == value


@given(st.dictionaries(bmp_text, values, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(value: dict[str, Any], random: Random) -> None:
    keys = list(value)
    random.shuffle(keys)
    assert canonical_json({key: value[key] for key in keys}) == canonical_json(value)
    assert digest_of({key: value[key] for key in keys}) == digest_of(value)


# The example of RFC 8785, section 3.2.3 (sorting), without its one key outside the Basic Multilingual Plane.
def test_keys_stand_in_the_order_of_rfc_8785() -> None:
    value = {
        "\u20ac": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "\u0080": "Control",
        "\u00f6": "Latin Small Letter O With Diaeresis",
    }
    found = json.loads(canonical_json(value), object_pairs_hook=lambda pairs: [value for _, value in pairs])
    assert found == [
        "Carriage Return",
        "One",
        "Control",
        "Latin Small Letter O With Diaeresis",
        "Euro Sign",
        "Hebrew Letter Dalet With Dagesh",
    ]


def test_there_is_no_white_space_and_text_is_not_escaped() -> None:
    assert canonical_json({"b": [1, True, None], "a": "é\n\u2028/"}) == '{"a":"é\\n\u2028/","b":[1,true,null]}'.encode()


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (1.0, r"\$: float"),
        ({"a": [0, float("nan")]}, r"\$\.a\[1\]: float"),
        (2**53, r"\$: integer beyond"),
        (-(2**53), r"\$: integer beyond"),
        ({1: "a"}, "key 1 is not a string"),
        ({"\U0001f600": 1}, "outside the Basic Multilingual Plane"),
        ("\ud800", "lone surrogate"),
        ({"\udfff": 1}, "lone surrogate"),
        ({"a": b"bytes"}, r"\$\.a: bytes"),
        ({"a": {1, 2}}, r"\$\.a: set"),
    ],
)
def test_what_has_no_canonical_form_is_refused_with_its_place(value: object, place: str) -> None:
    with pytest.raises(CanonicalError, match=place):
        canonical_json(cast("Json", value))


def test_deep_nesting_is_refused_before_the_stack_is_used_up() -> None:
    value: Any = 0
    for _ in range(100_000):
        value = [value]
    with pytest.raises(CanonicalError, match="nested deeper"):
        canonical_json(value)
    while value:  # taken apart by hand: the interpreter would recurse
        value = value.pop()


def test_true_and_one_are_two_values() -> None:
    assert canonical_json(True) != canonical_json(1)
