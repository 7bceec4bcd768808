"""A review as the Markdown of a pull request's comment, and as SARIF. Everything from files is escaped.

The comment never grows beyond :data:`MAX_COMMENT` characters: sections are filled in order of weight, what finds no room
is counted and said. Formats: GitHub Flavored Markdown; SARIF 2.1.0 (OASIS).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from trimtab_config.grading import promises_of
from trimtab_config.review import Level, Outcome, by_weight
from trimtab_config.text.comparisons import code_span, cost_cells, group_block, state_text
from trimtab_config.text.gradings import MAX_SECTION
from trimtab_kernel.codes import BY_CODE
from trimtab_kernel.problems import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trimtab_config.review import Finding, Reach, Review
    from trimtab_kernel.canonical import Json

MAX_COMMENT = 60_000
"""Characters, of its grade too; GitHub takes 65,536 in one comment."""
_FINDINGS = 20_000
_COSTS = 11_000
_WAVES = 9_000
_WHY = 5_000
_RESERVE = 600 + MAX_SECTION
_SPECIAL = re.compile(r"([\\`*_\[\]<>#|~@&!])")


def review_markdown(review: Review, report: str = "") -> str:
    """The comment. ``report`` says where the whole report is, such as an artifact's name; "" where there is none."""
    parts = [f"## Trimtab: {_headline(review)}\n", _verdict(review)]
    if review.findings:
        parts.append(_section("Findings", _FINDING_HEAD, map(_finding_row, review.findings), _FINDINGS, "finding"))
    comparison = review.comparison
    promised = ""
    if comparison is not None and comparison.groups:
        devices = {each.group: each.devices for each in review.reach}
        changes = by_weight(comparison.groups, devices)
        promises = promises_of(changes)
        promised = f"{promises.block()}\n" if promises.groups else ""
        rows = [
            f"| {code_span(change.group)} | {' | '.join(cost_cells(cost))} |"
            for change in changes
            for cost in change.costs
        ]
        total = [f"| **fleet** | {' | '.join(cost_cells(cost))} |" for cost in comparison.costs]
        parts.append(_section("Cost a month", _COST_HEAD, [*total, *rows], _COSTS, "line"))
        waves = [
            f"| {code_span(change.group)} | {_cell(model.model)} | {_cell(state_text(model.before))} |"
            f" {_cell(state_text(model.after))} | {_reached(review.reach, change.group, model.model)} |"
            for change in changes
            for model in change.models
        ]
        if waves:
            parts.append(_section("Rollout and blast radius", _WAVE_HEAD, waves, _WAVES, "line"))
        why = [f"- {_text(line)}" for _, lines in review.why for line in lines]
        if why:
            listed = _fit(why, _WHY, "sentence")
            parts.append(f"<details><summary>Why these variants</summary>\n\n{listed}\n</details>\n")
        text = "\n".join(parts)
        parts.append(
            _objects([group_block(change) for change in changes], MAX_COMMENT - len(text) - len(promised) - _RESERVE)
        )
    where = f" The whole report: {_text(report)}." if report else ""
    parts.append(
        "<sub>Estimates, with bounds that add up as if all figures were off the same way; a month is 730 hours."
        f" Compared {code_span(review.base)} with {code_span(review.head)}.{where}</sub>\n"
    )
    parts.append(promised)
    return "\n".join(filter(None, parts))


_FINDING_HEAD = "| | where | what | next step |\n|---|---|---|---|"
_COST_HEAD = "| group | before | after | difference |\n|---|---:|---:|---:|"
_WAVE_HEAD = "| group | model | before | after | devices at once |\n|---|---|---|---|---:|"


def _headline(review: Review) -> str:
    if review.outcome is not Outcome.READY:
        errors = sum(1 for finding in review.findings if finding.level is Level.ERROR)
        return f"{review.outcome.value} ({errors} {'finding' if errors == 1 else 'findings'})"
    comparison = review.comparison
    if comparison is None:
        return "the head can be rendered"
    if not comparison.groups:
        return "no device group changes"
    everything = len(comparison.groups) + comparison.unchanged
    bill = "".join(f", {cost_cells(cost)[2]} {cost.currency} a month" for cost in comparison.costs if cost.difference)
    return f"{len(comparison.groups)} of {everything} device groups change{bill}"


def _verdict(review: Review) -> str:
    if review.outcome is Outcome.BROKEN:
        return "**Do not merge.** Argo CD and Flux would refuse this tree and keep what runs now.\n"
    if review.outcome is Outcome.REFUSED:
        return "**Refused by policy.** The findings say what would let it through.\n"
    if review.base_broken:
        return "The base cannot be rendered, so there is nothing to compare with. The head can.\n"
    if review.comparison is not None and not review.comparison.groups:
        return "Nothing that a device or a cluster would see is different.\n"
    return ""


def _finding_row(finding: Finding) -> str:
    problem = finding.problem
    place = f"{problem.file}:{problem.line}" if problem.line else problem.file
    mark = "error" if finding.level is Level.ERROR else "warning"
    where = " ".join(code_span(printable(part)) for part in (place, problem.field) if part)
    got = f"got {problem.got}" if problem.got else ""
    expected = f"expected {problem.expected}" if problem.expected else ""
    what = ", ".join(filter(None, (got, expected)))
    known = BY_CODE.get(problem.code)
    step = problem.hint or (known.next_step if known else "")
    return f"| {mark} {problem.code} | {where.replace('|', '&#124;')} | {_cell(f'{finding.title}: {what}')} | {_cell(step)} |"


def _reached(reach: Sequence[Reach], group: str, model: str) -> str:
    for each in reach:
        if (each.group, each.model) == (group, model):
            at_once = int(each.at_once.to_integral_value())
            return f"{at_once:,} of {each.devices:,}"
    return "0"


def _section(title: str, head: str, rows: Iterable[str], limit: int, what: str) -> str:
    return f"### {title}\n\n{head}\n{_fit(list(rows), limit, what)}"


def _fit(rows: Sequence[str], limit: int, what: str) -> str:
    """The first rows that fit ``limit`` characters, and how many did not."""
    used = 0
    for place, row in enumerate(rows):
        used += len(row) + 1
        if used > limit:
            left = len(rows) - place
            return "\n".join(rows[:place]) + f"\n\n{left:,} more {what}{'' if left == 1 else 's'} left out here.\n"
    return "\n".join(rows) + "\n"


def _objects(blocks: Sequence[str], limit: int) -> str:
    head = "### Objects\n"
    used, shown = len(head), []
    for block in blocks:
        if used + len(block) > limit:
            break
        used += len(block)
        shown.append(block)
    left = len(blocks) - len(shown)
    note = f"\n{left:,} more {'group' if left == 1 else 'groups'} left out here.\n" if left else ""
    return head + "".join(shown) + note


def _text(text: str) -> str:
    """Text that is no markup, no mention and no HTML, whatever stands in it."""
    return (
        _SPECIAL.sub(r"\\\1", printable(text, 400))
        .replace("\\@", "&#64;")
        .replace("\\<", "&lt;")
        .replace("\\&", "&amp;")
    )


def _cell(text: str) -> str:
    return _text(text).replace("\\|", "&#124;")


def review_sarif(review: Review) -> dict[str, Json]:
    """The findings as SARIF 2.1.0, for code scanning."""
    codes = sorted({finding.problem.code for finding in review.findings})
    rules: list[Json] = []
    for code in codes:
        known = BY_CODE.get(code)
        rules.append(
            {
                "id": code,
                "shortDescription": {"text": known.title if known else code},
                "fullDescription": {"text": known.why if known else code},
                "help": {"text": known.next_step if known else ""},
            }
        )
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "trimtab", "rules": rules}},
                "results": [_result(finding, codes.index(finding.problem.code)) for finding in review.findings],
            }
        ],
    }


def _result(finding: Finding, index: int) -> dict[str, Json]:
    problem = finding.problem
    found: dict[str, Json] = {
        "ruleId": problem.code,
        "ruleIndex": index,
        "level": finding.level.value,
        "message": {"text": str(problem)},
        "partialFingerprints": {"trimtab/1": f"{problem.code}:{problem.file}:{problem.field}:{problem.got}"},
    }
    if problem.file:
        region: dict[str, Json] = {"region": {"startLine": problem.line}} if problem.line else {}
        found["locations"] = [{"physicalLocation": {"artifactLocation": {"uri": printable(problem.file)}, **region}}]
    return found
