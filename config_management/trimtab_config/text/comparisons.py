"""A comparison for people: text for a terminal, Markdown for a pull request. Both tell the same.

What only follows from another change (figures of the cost report, digests over the source) is counted and not shown: the
bill of the group says it in one line.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING

from trimtab_config.comparison import Absent, Change
from trimtab_config.cost.amounts import amount_text
from trimtab_kernel.money import Grade
from trimtab_kernel.problems import printable

if TYPE_CHECKING:
    from trimtab_config.comparison import Comparison, CostChange, FieldChange, GroupChange, ModelState, ObjectChange
    from trimtab_kernel.canonical import Json
    from trimtab_kernel.money import Figure

MAX_FIELDS = 20
"""Fields shown of one object; JSON has them all."""
MAX_VALUE = 120
MAX_MARKDOWN = 60_000
"""Characters of a Markdown report: hosts of pull requests take some 65,000 in one comment."""
_SIGNS = {Change.ADDED: "+", Change.REMOVED: "-", Change.CHANGED: "~"}


def comparison_text(comparison: Comparison) -> str:
    """One block for each group that changes, then the fleet's bill; one line where nothing does."""
    lines: list[str] = []
    for group in comparison.groups:
        lines += [f"{group.group}: {_counts(group)}"]
        lines += [f"  {line}" for line in _told(group)]
        for each in group.objects:
            lines.append(f"  {_SIGNS[each.change]} {_named(each)}")
            lines += [f"      {line}" for line in _fields(each)]
        lines.append("")
    return "\n".join([*lines, _summary(comparison), *_fleet(comparison)]) + "\n"


def comparison_markdown(comparison: Comparison) -> str:
    """As :func:`comparison_text`, at most :data:`MAX_MARKDOWN` characters, the groups whose bill changes most first.

    What is left out is counted and said.
    """
    head = ["### Device groups", "", _summary(comparison).capitalize() + ".", ""]
    head += [f"- {line}" for line in _fleet(comparison)]
    text = "\n".join(head).rstrip() + "\n"
    for place, group in enumerate(sorted(comparison.groups, key=_weight)):
        block = group_block(group)
        if len(text) + len(block) > MAX_MARKDOWN - 200:
            left = len(comparison.groups) - place
            return f"{text}\n{left} more of the groups that change are left out here; `--output json` has them all.\n"
        text += block
    return text


def group_block(group: GroupChange) -> str:
    """One group for a Markdown page: what changes in a sentence each, the objects folded away."""
    lines = ["", f"#### {code_span(group.group)}: {_counts(group)}", ""]
    lines += [f"- {code_span(line)}" for line in _told(group)]
    body = []
    for each in group.objects:
        body.append(f"{_SIGNS[each.change]} {_named(each)}")
        body += [f"    {line}" for line in _fields(each)]
    # A fence longer than any run of backticks inside cannot be closed from within.
    fence = "`" * max(3, 1 + max((_longest_run(line) for line in body), default=0))
    lines += ["", "<details><summary>objects</summary>", "", f"{fence}diff", *body, fence, "", "</details>", ""]
    return "\n".join(lines)


def _weight(group: GroupChange) -> tuple[Decimal, str]:
    return -max((abs(cost.difference) for cost in group.costs), default=Decimal(0)), group.group


def _counts(group: GroupChange) -> str:
    if group.change is not Change.CHANGED:
        return f"{group.change.value}, {_number(len(group.objects), 'object')}"
    counted = [(sum(1 for each in group.objects if each.change is change), change) for change in Change]
    return "objects " + ", ".join(f"{count} {change.value}" for count, change in counted if count)


def _told(group: GroupChange) -> list[str]:
    lines = []
    for model in group.models:
        lines.append(
            f"{printable(model.model)} ({model.deployment}): {state_text(model.before)} -> {state_text(model.after)}"
        )
    return lines + [_cost(cost) for cost in group.costs]


def state_text(state: ModelState | None) -> str:
    """Who gets which version: ``1.2.0 lite to 10 % in wave 1, 1.1.0 to the others``."""
    if state is None:
        return "none"
    wave = f" in wave {state.wave}" if state.wave else ""
    rest = f", {state.stable} to the others" if state.stable else ""
    return f"{state.version} {state.variant} to {state.percent} %{wave}{rest}"


def _cost(cost: CostChange) -> str:
    sign = "-" if cost.difference < 0 else "+"
    return (
        f"cost a month {_amount(cost.before, cost.currency)} -> {_amount(cost.after, cost.currency)}, "
        f"{sign}{_money(abs(cost.difference))}"
    )


def cost_cells(cost: CostChange) -> tuple[str, str, str]:
    """Before, after, and the difference with its sign."""
    sign = "-" if cost.difference < 0 else "+" if cost.difference else ""
    return (
        _amount(cost.before, cost.currency),
        _amount(cost.after, cost.currency),
        f"{sign}{_money(abs(cost.difference))}",
    )


def _amount(figure: Figure, currency: str) -> str:
    if not figure.value and figure.grade is Grade.ABSENT:
        return f"0 {currency}"
    return f"{_money(figure.value)} {currency} ({_money(figure.low)} - {_money(figure.high)}, {_grade(figure.grade)})"


def _grade(grade: Grade) -> str:
    return "incomplete" if grade is Grade.ABSENT else grade.value


def _money(amount: Decimal) -> str:
    return amount_text(amount)


def _fleet(comparison: Comparison) -> list[str]:
    """The bill of all groups, where any of them changes."""
    return [f"fleet: {_cost(cost)}" for cost in comparison.costs] if comparison.groups else []


def _summary(comparison: Comparison) -> str:
    if not comparison.groups:
        return f"nothing changes in {_number(comparison.unchanged, 'group')}"
    return f"{_number(len(comparison.groups), 'group')} of {len(comparison.groups) + comparison.unchanged} change"


def _named(each: ObjectChange) -> str:
    api_version, kind, namespace, name = each.identity
    return f"{api_version} {kind} {namespace}/{name}" if namespace else f"{api_version} {kind} {name}"


def _fields(each: ObjectChange) -> list[str]:
    own = [field for field in each.fields if not field.is_derived]
    lines = [_field(field) for field in own[:MAX_FIELDS]]
    if len(own) > len(lines):
        lines.append(f"and {_number(len(own) - len(lines), 'more field')}")
    derived = len(each.fields) - len(own)
    follow = "follows" if derived == 1 else "follow"
    return [*lines, f"and {_number(derived, 'figure')} that {follow} from it"] if derived else lines


def _field(field: FieldChange) -> str:
    return f"{printable(field.path)}: {_value(field.before)} -> {_value(field.after)}"


def _value(value: Json | Absent) -> str:
    if isinstance(value, Absent):
        return "none"
    text = printable(json.dumps(value, ensure_ascii=False, sort_keys=True))
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}..."


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _longest_run(text: str) -> int:
    longest = run = 0
    for character in text:
        run = run + 1 if character == "`" else 0
        longest = max(longest, run)
    return longest


def code_span(text: str) -> str:
    """An inline code span (CommonMark 6.1) that holds ``text`` and nothing of it as markup."""
    fence = "`" * (1 + _longest_run(text))
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"
