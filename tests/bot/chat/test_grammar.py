"""What people type: understood exactly, or refused with the next step."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trimtab_bot.chat.grammar import FORMS, Command, Mistake, Verb, help_lines, help_table, parse

DIGEST = "0123456789ab"
DECIDING = (Verb.APPROVE, Verb.DENY, Verb.REVOKE)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.usage)
def test_every_form_is_understood_by_its_example_and_helped(form: object) -> None:
    assert isinstance(form, type(FORMS[0]))
    found = parse(form.example)
    assert isinstance(found, Command), found
    assert (found.verb, found.right) == (form.verb, form.right)
    assert any(line.startswith(form.usage) for line in help_lines())
    assert any(form.example in line for line in help_lines(form.verb))
    # One word less than it needs is refused, with the usage.
    needed = len([word for word in form.words if not word.startswith("[") and word != "OPTIONS"])
    if needed:
        short = parse(" ".join(form.example.split()[:needed]))
        assert short != found
    if form.words[-1:] != ("REASON",):
        more = parse(f"{form.example} more words than that")
        assert isinstance(more, Mistake)
        assert form.usage in more.text


def test_all_verbs_have_a_form() -> None:
    assert {form.verb for form in FORMS} == set(Verb)


def test_what_the_forms_take_is_in_the_command() -> None:
    assert parse("deny p-1 sha256:0123456789ab  not  the model ") == Command(
        Verb.DENY, proposal="p-1", digest=DIGEST, reason="not the model"
    )
    assert parse("  ") == Command(Verb.HELP)
    assert parse(f"approve p-1 {DIGEST} break-glass all is burning") == Command(
        Verb.APPROVE, proposal="p-1", digest=DIGEST, reason="all is burning", break_glass=True
    )
    assert parse("silence i-1 4h known") == Command(Verb.SILENCE, proposal="i-1", seconds=14400, reason="known")
    assert parse("silence i-1 until-resolved x") == Command(Verb.SILENCE, proposal="i-1", reason="x")
    assert parse("hold triage 1.2.0 14 a recall") == Command(
        Verb.HOLD, model="triage", version="1.2.0", days=14, reason="a recall"
    )
    assert parse("propose limits clinics/triage cpu=250m memory=1Gi it idles") == Command(
        Verb.PROPOSE,
        remedy="limits",
        name="clinics/triage",
        options=(("cpu", "250m"), ("memory", "1Gi")),
        reason="it idles",
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("approve", "usage: approve ID DIGEST"),
        ("approve p-1", "usage"),
        ("approve p-1 123", "12 to 64 hex digits"),
        ("approve p-1 0123456789ab now", '"now" is a word too many'),
        ("approve p-1 0123456789ab break-glass", "break-glass REASON"),
        ("approve p-1 0123456789ab Break-glass x", "a word too many"),
        ("deny p-1 0123456789ab", "usage"),
        ("Approve p-1 0123456789ab", "in lower case; the nearest is: approve ID DIGEST"),
        ("\u0430pprove p-1 0123456789ab", "CYRILLIC SMALL LETTER A"),
        ("\u0430pprove p-1 0123456789ab", "the nearest is: approve ID DIGEST"),
        ("approve p\u20111 0123456789ab", "NON-BREAKING HYPHEN"),
        ("approve p-1 \uff10123456789ab", "FULLWIDTH DIGIT ZERO"),
        ("approve p-1\u200b 0123456789ab", "ZERO WIDTH SPACE"),
        ("approve\u00a0p-1 0123456789ab", "NO-BREAK SPACE"),
        ("deny p-1 0123456789ab \u202eesrever", "RIGHT-TO-LEFT OVERRIDE"),
        ("deny p-1 0123456789ab one\ntwo", "U+000A"),
        ("aprove p-1 0123456789ab", "the nearest is: approve ID DIGEST"),
        ("silence i-1 4 known", "a span such as"),
        ("hold triage 1.2.0 0 x", "1 to 999 days"),
        ("hold triage 1.2.0 soon x", "1 to 999 days"),
        ("propose limits a/b cpu=1 cpu=2 x", "each option once"),
        ("propose limits a/b cpu=1", "a reason is missing"),
        ("promote ../etc", "an object's NAME"),
        ("why <@U0ADA>", "the id of a proposal"),
        ("frobnicate", "one of status, why"),
        ("x" * 1001, "at most 1000"),
    ],
)
def test_what_is_not_meant_is_not_done(text: str, says: str) -> None:
    found = parse(text)
    assert isinstance(found, Mistake)
    assert says in found.text


@given(st.text(max_size=60))
@example("approve p-1 0123456789ab\u2060")
def test_no_text_decides_unless_it_is_exactly_a_decision(text: str) -> None:
    found = parse(text)
    if isinstance(found, Command) and found.verb in DECIDING:
        assert found.proposal.isascii()
        assert set(found.digest) <= set("0123456789abcdef")
        assert text.split(maxsplit=1)[0] == found.verb.value


@given(st.sampled_from([form.example for form in FORMS]), st.data())
def test_one_other_letter_never_makes_another_decision(text: str, data: st.DataObject) -> None:
    """A typing mistake anywhere in the verb, or a look-alike anywhere before a reason, is refused."""
    verb = text.split(maxsplit=1)[0]
    place = data.draw(st.integers(0, len(verb) - 1))
    other = data.draw(st.characters(exclude_characters=f" \t\r\n{verb[place]}"))
    found = parse(text[:place] + other + text[place + 1 :])
    assert isinstance(found, Mistake)


def test_the_documentation_shows_the_grammar_as_it_is() -> None:
    page = (Path(__file__).parents[3] / "docs" / "slack.md").read_text("utf-8")
    shown = re.search(r"<!-- commands:[^>]*-->\n(.*?)\n<!-- /commands -->", page, re.DOTALL)
    assert shown is not None
    assert shown[1] == help_table(), f"put this into docs/slack.md:\n{help_table()}"
