"""Problems as lines and as data; text made safe to show."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_kernel.problems import (
    Collector,
    ExitCode,
    InputError,
    OutsideError,
    Problem,
    RefusedError,
    TrustError,
    printable,
    quoted,
    sort_problems,
)

any_text = st.text(st.characters(), max_size=40)
problems = st.builds(
    Problem,
    st.sampled_from(["F101", "F104", "F105"]),
    st.sampled_from(["", "a.yaml", "b.yaml"]),
    st.integers(0, 3),
    st.sampled_from(["", "spec", "spec.cpu"]),
    any_text,
    any_text,
    any_text,
)


def test_a_problem_is_one_line_with_place_got_expected_and_hint() -> None:
    problem = Problem(
        "F104",
        "fleet/cameras.yaml",
        14,
        "spec.resourceLimits.cpu",
        '"0.5 cores"',
        'a quantity such as "500m"',
        "leave the unit out",
    )
    assert str(problem) == (
        'fleet/cameras.yaml:14 spec.resourceLimits.cpu: F104 got "0.5 cores", expected a quantity such as "500m"; leave the unit out'
    )


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        (Problem("F103"), "F103"),
        (Problem("F103", got="9 files"), "F103 got 9 files"),
        (Problem("F103", "a.yaml", got="x", expected="y"), "a.yaml: F103 got x, expected y"),
        (Problem("F103", "a.yaml", 3), "a.yaml:3: F103"),
        (Problem("B426", "", 0, "--url", expected="a URL"), "--url: B426 expected a URL"),
    ],
)
def test_what_is_not_known_is_left_out_of_the_line(problem: Problem, line: str) -> None:
    assert str(problem) == line


@given(problems)
def test_a_problem_is_safe_to_show_whatever_it_quotes(problem: Problem) -> None:
    for text in (str(problem), *map(str, problem.as_dict().values())):
        assert all(unicodedata.category(character) not in {"Cc", "Cs"} for character in text)
        text.encode()


@given(any_text)
def test_shown_text_has_no_character_that_steers_a_terminal_or_hides(text: str) -> None:
    shown = printable(text)
    bidirectional = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
    for character in shown:
        assert unicodedata.category(character) not in {"Cc", "Cs", "Zl", "Zp"}
        assert unicodedata.bidirectional(character) not in bidirectional
    shown.encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mb", "a\\u001b[31mb"),
        ("a\nb", "a\\u000ab"),
        ("user\u202egnp.exe", "user\\u202egnp.exe"),
        ("a\u200bb", "a\\u200bb"),
        ("\u061c", "\\u061c"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("schön 猫 🐈", "schön 猫 🐈"),
    ],
)
def test_what_would_steer_is_shown_as_its_number(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_long_text_is_cut() -> None:
    assert printable("x" * 3000) == "x" * 2000 + "..."
    assert quoted("x" * 100) == '"' + "x" * 80 + '..."'
    assert quoted(12) == "12"
    assert quoted(10**5000) == "a number of thousands of digits"


@given(st.lists(problems, max_size=8), st.randoms(use_true_random=False))
def test_problems_are_sorted_and_each_is_shown_once(found: list[Problem], random: object) -> None:
    collector = Collector()
    collector.extend(found)
    for problem in reversed(found):
        collector.add(problem)
    assert list(collector.sorted()) == sorted(set(found), key=lambda problem: problem.sort_key())
    assert {problem.sort_key() for problem in sort_problems(found)} == {problem.sort_key() for problem in found}


def test_the_errors_have_the_exit_codes_of_what_a_reader_should_do() -> None:
    assert InputError(Problem("F101")).exit_code is ExitCode.PROBLEMS
    assert RefusedError("B301", "no").exit_code is ExitCode.REFUSED
    assert TrustError("E301", "no").exit_code is ExitCode.REFUSED
    assert OutsideError("later", 3.0).exit_code is ExitCode.OUTSIDE
    assert OutsideError("later", 3.0).retry_after == 3.0
    assert (ExitCode.DONE, ExitCode.USAGE) == (0, 64)


def test_an_input_error_names_at_least_one_problem_and_shows_all() -> None:
    with pytest.raises(ValueError, match="at least one problem"):
        InputError()
    error = InputError(Problem("F105", "b.yaml"), Problem("F104", "a.yaml"))
    assert str(error) == "a.yaml: F104\nb.yaml: F105"
