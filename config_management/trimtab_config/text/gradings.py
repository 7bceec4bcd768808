"""A grading as a part of the pull request's comment. Pure: what stands around it stays as it is, byte for byte."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from trimtab_config.cost.amounts import amount_text
from trimtab_config.grading import Verdict, promises_in
from trimtab_config.text.comparisons import code_span
from trimtab_kernel.money import Grade, quantize
from trimtab_kernel.problems import InputError

if TYPE_CHECKING:
    from trimtab_config.grading import Graded, Grading

MAX_SECTION = 5_000
"""Characters; a comment leaves room for them, so that it is as long as it may be only once it was graded."""
_BEGIN = "<!-- trimtab:graded:1 -->"
_END = "<!-- trimtab:graded:end -->"
_HEAD = "| group | estimate a month | measured, as a month | error | |\n|---|---:|---:|---:|---|\n"
_WORDS = {
    Verdict.WITHIN: "within its bounds",
    Verdict.ABOVE: "**above** its bounds",
    Verdict.BELOW: "**below** its bounds",
    Verdict.UNMEASURED: "not measured yet",
}


def grading_markdown(grading: Grading) -> str:
    """The section: how many promises were kept, by how much they were missed, and each group while there is room."""
    measured, error = len(grading.measured), grading.calibration_error
    of = (
        f"{grading.kept} of {measured} measured {'group within its' if measured == 1 else 'groups within their'} bounds"
    )
    off = "" if error is None else f", calibration error {_percent(error)}"
    text = f"{_BEGIN}\n### Graded with what devices measured: {of}{off}\n\n"
    text += f"From {_text(grading.begin)} to {_text(grading.end)} (UTC), brought to a month of 730 hours; idle is not in it.\n\n"
    rows = [_row(each) for each in grading.groups]
    text += _HEAD
    shown = 0
    for row in rows:
        if len(text) + len(row) > MAX_SECTION - 300:
            break
        text += row
        shown += 1
    left = len(rows) - shown + grading.left
    if left:
        text += f"\n{left:,} more {'group' if left == 1 else 'groups'} left out here.\n"
    return f"{text}\n{_END}\n"


def _row(each: Graded) -> str:
    promise, measured = each.promise, each.measured
    figure = promise.figure
    bounds = f"at least {amount_text(figure.low)}"
    if figure.grade is not Grade.ABSENT:
        bounds = f"{amount_text(figure.low)} - {amount_text(figure.high)}"
    amount = "-"
    if measured is not None:
        told = "" if measured.coverage == 1 else f" ({_percent(measured.coverage)} of device-hours told)"
        amount = f"{amount_text(measured.amount)} {promise.currency}{told}"
    error = "-" if each.error is None else _percent(each.error, signed=True)
    estimate = f"{amount_text(figure.value)} {promise.currency} ({bounds})"
    return f"| {code_span(promise.group)} | {estimate} | {amount} | {error} | {_WORDS[each.verdict]} |\n"


def _percent(share: Decimal, *, signed: bool = False) -> str:
    text = f"{quantize(share * 100, 1)} %"
    return f"+{text}" if signed and share > 0 else text


def _text(text: str) -> str:
    """Times are written by us; whatever else a file holds in their place is cut to what a time needs."""
    return "".join(letter for letter in text if letter in "0123456789-:.TZ+ ")[:40]


def graded_comment(comment: str, grading: Grading) -> str:
    """The comment with the section below its headline, in the place of an earlier one."""
    return _placed(_without(comment.replace("\r\n", "\n")), grading_markdown(grading))


def with_grade_of(comment: str, text: str) -> str:
    """``text``, the comment written anew, with the section of ``comment`` where both promise the same."""
    old = comment.replace("\r\n", "\n")
    begin, end = old.find(_BEGIN), old.find(_END)
    if begin < 0 or end < begin:
        return text
    try:
        if promises_in(old) != promises_in(text):
            return text
    except InputError:
        return text
    return _placed(text, old[begin : end + len(_END) + 1])


def _placed(text: str, section: str) -> str:
    """After the first headline and the empty line below it; at the end where there is none."""
    at = text.find("\n\n", max(text.find("## "), 0))
    return f"{text}\n{section}" if at < 0 else f"{text[: at + 2]}{section}\n{text[at + 2 :]}"


def _without(text: str) -> str:
    begin, end = text.find(_BEGIN), text.find(_END)
    return text if begin < 0 or end < begin else text[:begin] + text[end + len(_END) + 2 :]
