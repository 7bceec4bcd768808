"""Advice for people: what saves most first, each with what it rests on and what to weigh."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimtab_config.text.costs import money_text
from trimtab_kernel.problems import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trimtab_config.advice.advice import Advice, Saving

_MOST_GROUPS = 6


def advice_text(found: Sequence[Advice], patches: str = "") -> str:
    """A block for each; ``patches`` is the folder that they were written to."""
    if not found:
        return "Nothing to advise: no change was found that saves money, compiles and is allowed by policy.\n"
    lines: list[str] = []
    for advice in found:
        lines.append(f"{advice.name}: {advice.title}")
        lines += [f"  {_saved(saving)}" for saving in advice.savings] or ["  saves no money"]
        if advice.groups:
            lines.append(f"  in {_groups(advice.groups)}")
        lines += [f"  because {printable(reason, 400)}" for reason in advice.why[:_MOST_GROUPS]]
        if len(advice.why) > _MOST_GROUPS:
            lines.append(f"  and {len(advice.why) - _MOST_GROUPS} more")
        lines += [f"  but {printable(each, 400)}" for each in advice.heed]
        lines.append("")
    lines.append("Savings are of a month of 730 h, each for itself: two pieces of advice may save the same money.")
    where = f"{patches}/NAME.patch" if patches else "the patches that --patches DIR writes"
    lines.append(
        f"Apply in the fleet's folder: git apply {where}" if patches else f"To apply one: git apply, with {where}"
    )
    return "\n".join(lines) + "\n"


def _groups(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MOST_GROUPS])
    return shown if len(names) <= _MOST_GROUPS else f"{shown} and {len(names) - _MOST_GROUPS} more groups"


def _saved(saving: Saving) -> str:
    verb, sign = ("saves", 1) if saving.value >= 0 else ("costs", -1)
    low, high = sorted((saving.low * sign, saving.high * sign))
    amount = money_text(saving.value * sign)
    return f"{verb} {amount} {saving.currency} a month ({money_text(low)} to {money_text(high)}, {saving.grade.value})"
