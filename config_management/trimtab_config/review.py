"""What a pull request does to a fleet, as data: for the comment, the check and machines. Pure.

The worst comes first: what keeps the head from being rendered, what policy refuses, then the groups by money and devices.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from trimtab_kernel.codes import BY_CODE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trimtab_config.comparison import Comparison, GroupChange, ModelState
    from trimtab_kernel.canonical import Json
    from trimtab_kernel.problems import Problem

_POLICY = "F5"


class Level(StrEnum):
    """How bad a finding is. An error keeps the change from being merged."""

    ERROR = "error"
    WARNING = "warning"


class Outcome(StrEnum):
    """What the check says."""

    READY = "ready"
    REFUSED = "refused by policy"
    BROKEN = "cannot be rendered"


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem at a place of the head."""

    level: Level
    problem: Problem

    @property
    def is_policy(self) -> bool:
        """Whether a policy says so; everything else is about the files."""
        return self.problem.code.startswith(_POLICY)

    @property
    def title(self) -> str:
        """What its code means."""
        found = BY_CODE.get(self.problem.code)
        return found.title if found else self.problem.code

    def to_json(self) -> dict[str, Json]:
        """With its level and title."""
        return {"level": self.level.value, "title": self.title, **self.problem.as_dict()}


@dataclass(frozen=True, slots=True)
class Reach:
    """How many devices a change gets to: at once, and when its waves are through. Numbers of devices, never of requests."""

    group: str
    model: str
    devices: int
    at_once: Decimal

    def to_json(self) -> dict[str, Json]:
        """``atOnce`` is a whole number or a decimal text."""
        return {"group": self.group, "model": self.model, "devices": self.devices, "atOnce": str(self.at_once)}


@dataclass(frozen=True, slots=True)
class Review:
    """Everything that people and machines are told of one pull request.

    ``comparison`` is None where the head cannot be rendered (``findings`` say why) or the base cannot (``base_broken``).
    ``why`` holds the planner's sentences for each group that changes.
    """

    base: str
    head: str
    findings: tuple[Finding, ...]
    comparison: Comparison | None
    reach: tuple[Reach, ...] = ()
    why: tuple[tuple[str, tuple[str, ...]], ...] = ()
    base_broken: bool = False

    @property
    def outcome(self) -> Outcome:
        """BROKEN outweighs REFUSED: what cannot be read was not judged by any policy."""
        errors = [finding for finding in self.findings if finding.level is Level.ERROR]
        if not errors:
            return Outcome.READY
        return Outcome.REFUSED if all(finding.is_policy for finding in errors) else Outcome.BROKEN

    def to_json(self) -> dict[str, Json]:
        """The whole report, nothing cut."""
        return {
            "base": self.base,
            "head": self.head,
            "outcome": self.outcome.value,
            "baseBroken": self.base_broken,
            "findings": [finding.to_json() for finding in self.findings],
            "comparison": None if self.comparison is None else self.comparison.to_json(),
            "reach": [each.to_json() for each in self.reach],
            "why": {group: list(lines) for group, lines in self.why},
        }


def review(
    base: str,
    head: str,
    problems: Sequence[Problem],
    warnings: Sequence[Problem] = (),
    comparison: Comparison | None = None,
    devices: Mapping[str, int] | None = None,
    why: Mapping[str, Sequence[str]] | None = None,
    *,
    base_broken: bool = False,
) -> Review:
    """Puts a review together. ``base`` and ``head`` name what was compared; ``devices`` counts those of each group."""
    findings = [Finding(Level.ERROR, problem) for problem in problems]
    findings += [Finding(Level.WARNING, problem) for problem in warnings]
    findings.sort(key=lambda each: (each.level is Level.WARNING, each.is_policy, each.problem.sort_key()))
    changes = () if comparison is None else comparison.groups
    counted = devices or {}
    reach = [each for change in changes for each in _reach(change, counted.get(change.group, 0))]
    reach.sort(key=lambda each: (-each.at_once, -each.devices, each.group, each.model))
    told = tuple((change.group, tuple((why or {}).get(change.group, ()))) for change in by_weight(changes, counted))
    return Review(base, head, tuple(findings), comparison, tuple(reach), told, base_broken)


def by_weight(changes: Sequence[GroupChange], devices: Mapping[str, int]) -> tuple[GroupChange, ...]:
    """The groups that change, those first whose bill or whose devices change most."""

    def weight(change: GroupChange) -> tuple[Decimal, int, str]:
        money = sum((abs(cost.difference) for cost in change.costs), Decimal(0))
        return -money, -devices.get(change.group, 0) if change.models else 0, change.group

    return tuple(sorted(changes, key=weight))


def _reach(change: GroupChange, devices: int) -> list[Reach]:
    found = []
    for model in change.models:
        share = _share(model.before, model.after)
        if share:
            found.append(Reach(change.group, model.model, devices, devices * share / 100))
    return found


def _share(before: ModelState | None, after: ModelState | None) -> Decimal:
    """The percentage of devices that get something else at once.

    Membership in waves is monotone, so where target and stable stay, only the devices between the two percentages change.
    """
    if before is None or after is None:
        state = after or before
        return Decimal(state.percent) if state else Decimal(0)
    one, other = Decimal(before.percent), Decimal(after.percent)
    same_target = before.digest == after.digest
    same_stable = before.stable == after.stable
    if same_target and same_stable:
        return abs(other - one)
    if same_target:
        return 100 - min(one, other)
    if same_stable or not after.stable:
        return max(one, other)
    return Decimal(100)
