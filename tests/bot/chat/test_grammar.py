"""What people type: understood exactly, or refused with the next step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_bot.chat.grammar import FORMS, Command, Mistake, Verb, help_lines, parse

DIGEST = "0123456789ab"


def test_every_form_is_understood_and_helped() -> None:
    words = {"ID": "p-1", "DIGEST": DIGEST, "REASON": "a broken sensor"}
    for form in FORMS:
        found = parse(" ".join((form.verb.value, *(words[word] for word in form.words))))
        assert isinstance(found, Command)
        assert found.verb is form.verb
        assert any(line.startswith(form.usage) for line in help_lines())
    assert {form.verb for form in FORMS} == set(Verb)
    assert parse("deny p-1 sha256:0123456789ab  not  the model ") == Command(Verb.DENY, "p-1", DIGEST, "not the model")
    assert parse("  ") == Command(Verb.HELP)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("approve", "usage: approve ID DIGEST"),
        ("approve p-1", "usage"),
        ("approve p-1 123", "12 to 64 hex digits"),
        ("approve p-1 0123456789ab now", "usage"),
        ("deny p-1 0123456789ab", "usage"),
        ("Approve p-1 0123456789ab", "no such command"),
        ("\u0430pprove p-1 0123456789ab", "CYRILLIC SMALL LETTER A"),
        ("approve p\u20111 0123456789ab", "NON-BREAKING HYPHEN"),
        ("approve p-1 \uff10123456789ab", "FULLWIDTH DIGIT ZERO"),
        ("approve p-1\u200b 0123456789ab", "ZERO WIDTH SPACE"),
        ("aprove p-1 0123456789ab", "no such command"),
        ("x" * 1001, "at most 1000"),
    ],
)
def test_what_is_not_meant_is_not_done(text: str, says: str) -> None:
    found = parse(text)
    assert isinstance(found, Mistake)
    assert says in found.text


@given(st.text(max_size=60))
def test_no_text_decides_unless_it_is_exactly_a_decision(text: str) -> None:
    found = parse(text)
    if isinstance(found, Command) and found.verb in (Verb.APPROVE, Verb.DENY):
        assert found.proposal.isascii()
        assert set(found.digest) <= set("0123456789abcdef")
        assert text.split(maxsplit=1)[0] == found.verb.value
