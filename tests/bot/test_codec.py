"""Records survive their text exactly, and text that is not quite a record is refused."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bot.approvals.table import ballot
from trimtab_bot.approvals.machine import Ballot, Phase, Vote
from trimtab_bot.codec import CodecError, decode, encode
from trimtab_bot.moments import clock_text, moment_text, parse_moment, rounded, span_text
from trimtab_kernel.canonical import canonical_json

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
TIMES = st.floats(0, 4e9).map(rounded)


@given(
    st.builds(
        ballot,
        phase=st.sampled_from(Phase),
        expires_at=st.floats(allow_nan=False),
        reason=TEXT,
        votes=st.lists(st.builds(Vote, TEXT, TEXT, st.floats(allow_nan=False))).map(tuple),
        merged=st.none() | TEXT,
    )
)
def test_a_record_comes_back_as_it_was(record: Ballot) -> None:
    text = encode(record)
    canonical_json(text)  # it has canonical bytes
    assert decode(Ballot, text) == record


@dataclass(frozen=True, slots=True)
class Small:
    name: str
    size: int | None


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"name": "x"},
        {"name": "x", "size": 1, "more": 2},
        {"name": 1, "size": 1},
        {"name": "x", "size": True},
        {"name": "x", "size": "1"},
        {"name": None, "size": 1},
        [],
        "x",
        None,
    ],
)
def test_what_is_half_a_record_is_refused(wrong: object) -> None:
    with pytest.raises(CodecError, match="Small"):
        decode(Small, wrong)  # type: ignore[arg-type]  # wrong on purpose


@dataclass(frozen=True, slots=True)
class Grown:
    name: str
    size: int | None
    colour: str = "grey"


def test_a_record_from_before_a_field_is_read_with_its_default() -> None:
    assert decode(Grown, encode(Small("x", 1))) == Grown("x", 1)


def test_what_has_no_text_is_refused() -> None:
    with pytest.raises(CodecError, match="complex"):
        encode(1j)


@given(TIMES)
def test_a_moment_survives_its_text(at: float) -> None:
    assert parse_moment(moment_text(at)) == at


@given(TIMES, TIMES)
def test_moments_sort_as_their_texts_do(a: float, b: float) -> None:
    assert (a < b) == (moment_text(a) < moment_text(b))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.96, "10.0 s"),
        (42, "42 s"),
        (60, "1 min"),
        (192, "3 min 12 s"),
        (7500, "2 h 5 min"),
        (273600, "3 d 4 h"),
    ],
)
def test_spans_are_short(seconds: float, text: str) -> None:
    assert span_text(seconds) == text


def test_people_read_times_in_utc() -> None:
    assert clock_text(1_800_000_000.4) == "2027-01-15 08:00:00 UTC"
    assert moment_text(1_800_000_000.4) == "2027-01-15T08:00:00.400Z"
