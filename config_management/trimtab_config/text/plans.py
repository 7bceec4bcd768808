"""A plan in sentences: what each device group gets, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimtab_kernel.desired import percent_text

if TYPE_CHECKING:
    from trimtab_config.plan.placement import GroupPlan, Placement


def plan_lines(plan: GroupPlan) -> tuple[str, ...]:
    """One line for each model of the group, and one for each that passes it by; never none."""
    group = plan.group.metadata.name
    lines = [f"{group}: {_placed(placement)}" for placement in plan.placements]
    lines += [f"{group}: no {skipped.document.metadata.name}: {skipped.reason}" for skipped in plan.skipped]
    return tuple(lines) or (f"{group}: nothing selects this group",)


def _placed(placement: Placement) -> str:
    target = placement.target
    text = f"{placement.model} {target.version} {target.artifact.tier} to {percent_text(placement.percent)} %"
    if placement.percent < 100:
        stable = placement.stable
        rest = f"{stable.version} {stable.artifact.tier} to the others" if stable else "the others keep what they have"
        text = f"{text}, {rest}"
    return f"{text} ({'; '.join((*placement.why, *target.why))})"
