"""An estimate is kept where it was promised, and graded with what was measured: by hand, and against what could go wrong."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.golden import CASES
from trimtab_config.grading import (
    MAX_BLOCK,
    Grading,
    Promise,
    Promises,
    Verdict,
    grade,
    measurement_of,
    promises_in,
)
from trimtab_config.text.gradings import MAX_SECTION, graded_comment, grading_markdown, with_grade_of
from trimtab_kernel.money import Figure, Grade
from trimtab_kernel.problems import InputError


def written(name: str) -> str:
    """A comment as test_reviews.py sees it written."""
    return (CASES / "comments" / f"{name}.md").read_text("utf-8")


def figure(value: str, low: str, high: str, known: Grade = Grade.DECLARED) -> Figure:
    return Figure(Decimal(value), Decimal(low), Decimal(high), known)


def measured(*groups: tuple[str, str, int, int], currency: str = "EUR") -> bytes:
    """Of a day: each group's cost of models beside 5 of idle, the device-hours that told of themselves and those that did not."""
    rows = [
        {"group": name, "currency": currency, "parts": {"device": amount, "idle": "5"}} for name, amount, _, _ in groups
    ]
    bills = [
        {"group": name, "currency": currency, "deviceHours": told, "unreportedHours": silent}
        for name, _, told, silent in groups
    ]
    period = {"from": "2026-11-01T00:00:00Z", "to": "2026-11-02T00:00:00Z"}
    return json.dumps({"period": period, "rows": rows, "groups": bills}).encode()


def graded(promises: Promises, content: bytes) -> Grading:
    return grade(promises, measurement_of(content))


FOUR = Promises(
    (
        Promise("above", "EUR", figure("730", "700", "760")),
        Promise("below", "EUR", figure("730", "700", "760")),
        Promise("within", "EUR", figure("730", "365", "1095")),
        Promise("waiting", "EUR", figure("10", "5", "15")),
    )
)
DAY = measured(("above", "48", 48, 0), ("below", "12", 48, 0), ("within", "11", 24, 24))


def test_a_measured_day_becomes_a_month_of_all_devices_and_idle_is_left_out() -> None:
    """24 a day are 730 a month. Where half of the device-hours told of themselves, the other half counts alike."""
    found = {each.promise.group: each for each in graded(FOUR, DAY).groups}
    amounts = {name: None if each.measured is None else each.measured.amount for name, each in found.items()}
    assert amounts == {"above": 1460, "below": 365, "within": Decimal("669.166667"), "waiting": None}
    assert {name: each.verdict for name, each in found.items()} == {
        "above": Verdict.ABOVE,
        "below": Verdict.BELOW,
        "within": Verdict.WITHIN,
        "waiting": Verdict.UNMEASURED,
    }
    assert [found[name].error for name in ("above", "below", "within", "waiting")] == [
        1,
        Decimal("-0.5"),
        Decimal("-0.0833"),
        None,
    ]
    assert found["within"].measured is not None
    assert found["within"].measured.coverage == Decimal("0.5")


def test_the_calibration_error_weighs_each_group_by_its_estimate() -> None:
    grading = graded(FOUR, DAY)
    assert (grading.kept, len(grading.measured)) == (1, 3)
    assert grading.calibration_error == Decimal("0.5278")  # (730 + 365 + 60.83) / 2190
    assert [each.promise.group for each in grading.groups] == ["above", "below", "within", "waiting"]
    nothing = graded(FOUR, measured(("above", "1", 24, 0), currency="USD"))
    assert (nothing.calibration_error, nothing.kept, nothing.measured) == (None, 0, ())


def test_an_incomplete_estimate_promised_only_a_least_amount() -> None:
    promises = Promises((Promise("g", "EUR", figure("10", "5", "15", Grade.ABSENT)),))
    for amount, verdict in (("100", Verdict.WITHIN), ("0.01", Verdict.BELOW)):
        [each] = graded(promises, measured(("g", amount, 24, 0))).groups
        assert (each.verdict, each.error) == (verdict, None)


# ---------------------------------------------------------------- the block


def test_what_was_promised_is_read_back_from_the_comment() -> None:
    text = written("one_group")
    [promise] = promises_in(text).groups
    assert promise.group == "kiosk-emea"
    assert f"{promise.figure.value:.2f} EUR" in text.replace(",", "")
    assert promises_in(text.replace("\n", "\r\n")) == promises_in(text)


def test_many_promises_are_bounded_and_the_rest_is_counted() -> None:
    text = written("many_groups")
    [line] = [line for line in text.splitlines() if line.startswith("<!-- trimtab:estimate:")]
    assert len(line) <= MAX_BLOCK + 100
    promises = promises_in(text)
    assert len(promises.groups) > 50
    assert len(promises.groups) + promises.left == 500


@pytest.mark.parametrize(
    ("old", "new"),
    [("<!-- trimtab:estimate:1:", "<!-- trimtab:estimate:1:0"), (" -->\n", "A -->\n"), ("estimate:1", "estimate:2")],
)
def test_a_block_that_was_edited_is_not_believed(old: str, new: str) -> None:
    text = written("one_group")
    begin, _, block = text.rpartition("<!-- trimtab:estimate:")
    with pytest.raises(InputError, match="A704"):
        promises_in(begin + ("<!-- trimtab:estimate:" + block).replace(old, new))


def test_a_comment_without_an_estimate_or_with_two_cannot_be_graded() -> None:
    block = FOUR.block()
    for text in (written("no_change"), written("missing_price"), f"{block}\n{block}\n"):
        with pytest.raises(InputError, match="A704"):
            promises_in(text)


names = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
amounts = st.tuples(*[st.decimals(0, 10**9, places=6, allow_nan=False)] * 3).map(sorted)


@given(st.lists(st.tuples(names, amounts, st.sampled_from(Grade)), max_size=20), st.integers(0, 10**6))
def test_any_promise_survives_its_comment(found: list[tuple[str, list[Decimal], Grade]], left: int) -> None:
    promises = Promises(
        tuple(Promise(name, "EUR", Figure(value, low, high, known)) for name, (low, value, high), known in found), left
    )
    block = promises.block()
    assert "--" not in block.removeprefix("<!--").removesuffix("-->"), "nothing ends the hidden comment"
    assert promises_in(f"text\n{block}\nmore\n") == promises


@given(st.binary(max_size=200) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_what_is_no_measured_cost_is_refused(content: Any) -> None:  # noqa: ANN401 - any JSON
    with pytest.raises(InputError, match="A703"):
        measurement_of(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize(
    "changes",
    [
        {"period": {"from": "2026-11-01T00:00:00Z", "to": "2026-11-01T00:00:00Z"}},
        {"groups": [{"group": "g", "currency": "EUR", "deviceHours": 0, "unreportedHours": 0}]},
        {"rows": [{"group": "above", "currency": "EUR", "parts": {"device": "-1"}}]},
        {"rows": [{"group": "above", "currency": "EUR", "parts": {"device": "NaN"}}]},
    ],
)
def test_measured_figures_that_cannot_be_right_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="A703"):
        measurement_of(json.dumps({**json.loads(DAY), **changes}).encode())


# ---------------------------------------------------------------- the comment


def kiosks_measured(amount: str) -> bytes:
    return measured(("kiosk-emea", amount, 16_800, 0))


def test_the_graded_comment_is_what_lies_in_the_golden_file(pytestconfig: pytest.Config) -> None:
    text = written("one_group")
    found = graded_comment(text, graded(promises_in(text), kiosks_measured("611.17")))
    file = CASES / "comments" / "graded.md"
    if pytestconfig.getoption("--update-golden"):
        file.write_text(found, "utf-8")
    assert found == file.read_text("utf-8")


def test_grading_again_takes_the_place_of_the_earlier_grade_and_nothing_else_changes() -> None:
    text = written("one_group")
    promises = promises_in(text)
    first = graded_comment(text, graded(promises, kiosks_measured("600")))
    second = graded_comment(first, graded(promises, kiosks_measured("900")))
    assert second.count("### Graded") == 1
    assert graded_comment(first, graded(promises, kiosks_measured("600"))) == first, "so an equal one is not written"
    begin, _, rest = second.partition("<!-- trimtab:graded:1 -->")
    assert begin + rest.partition("<!-- trimtab:graded:end -->\n\n")[2] == text
    assert promises_in(second) == promises, "it is graded against what was promised, however often"


def test_a_comment_written_anew_keeps_its_grade_while_it_promises_the_same() -> None:
    text = written("one_group")
    comment = graded_comment(text, graded(promises_in(text), kiosks_measured("600")))
    assert with_grade_of(comment, text) == comment
    other = text.replace(promises_in(text).block(), FOUR.block())
    assert with_grade_of(comment, other) == other, "another promise was not measured"
    assert with_grade_of("never graded", text) == text


def test_a_grade_of_many_groups_is_bounded() -> None:
    promises = Promises(tuple(Promise(f"site-{place:04}", "EUR", figure("10", "5", "15")) for place in range(500)), 3)
    content = measured(*((f"site-{place:04}", "0.3", 24, 24) for place in range(500)))
    text = grading_markdown(graded(promises, content))
    assert len(text) <= MAX_SECTION
    shown = text.count("| `site-")
    assert f"{503 - shown} more groups left out here." in text
    # 0.3 a day of half of the devices are 18.25 a month of all of them.
    assert "0 of 500 measured groups within their bounds, calibration error 82.5 %" in text
