"""How much approval a change needs, by what it is and how much of the fleet it touches. Pure.

A rule may only ask for more: of all that fit, the largest quorum counts, and every role that one of them names. An
automatic rule lets a remedy of the bot's own through without a person, within a limit of devices, of the fleet's share and
of times a day; where any limit is reached, people decide as always.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Risk:
    """What a change is and what it reaches.

    ``environments`` are those of the deployments concerned, "" for one that names none; ``devices`` as declared, ``share``
    (0 to 1) of all devices of the fleet. ``by_bot``: nobody asked for it but the bot. ``verified``: what it leads to was
    once seen to be fine.
    """

    remedy: str
    environments: frozenset[str]
    devices: int
    share: float
    by_bot: bool
    verified: bool


@dataclass(frozen=True, slots=True)
class ApprovalRule:
    """Asks for ``quorum`` and ``roles`` where all that it names fits; an empty list fits everything."""

    name: str
    remedies: tuple[str, ...]
    environments: tuple[str, ...]
    min_devices: int
    min_share: float
    quorum: int
    roles: tuple[str, ...]

    def fits(self, risk: Risk) -> bool:
        """Whether it is about this change. Any one of a change's environments is enough."""
        return (
            (not self.remedies or risk.remedy in self.remedies)
            and (not self.environments or bool(risk.environments & set(self.environments)))
            and risk.devices >= self.min_devices
            and risk.share >= self.min_share
        )


@dataclass(frozen=True, slots=True)
class AutomaticRule:
    """Lets these remedies through by themselves, in these environments alone and within these limits."""

    name: str
    remedies: tuple[str, ...]
    environments: tuple[str, ...]
    max_devices: int
    max_share: float
    per_day: int

    def allows(self, risk: Risk) -> bool:
        """Whether it covers this change, times apart. Every environment of the change has to be named."""
        return (
            risk.by_bot
            and risk.verified
            and risk.remedy in self.remedies
            and bool(risk.environments)
            and risk.environments <= set(self.environments)
            and risk.devices <= self.max_devices
            and risk.share <= self.max_share
        )


@dataclass(frozen=True, slots=True)
class Demand:
    """What a change needs: so many distinct approvers, each of these roles among them, by these rules."""

    quorum: int
    roles: tuple[str, ...]
    rules: tuple[str, ...]


def demand(rules: Sequence[ApprovalRule], quorum: int, risk: Risk) -> Demand:
    """Of all rules that fit, the largest quorum and every role."""
    fitting = [rule for rule in rules if rule.fits(risk)]
    return Demand(
        max([quorum, *(rule.quorum for rule in fitting)]),
        tuple(sorted({role for rule in fitting for role in rule.roles})),
        tuple(rule.name for rule in fitting),
    )


def automatic(rules: Sequence[AutomaticRule], risk: Risk) -> tuple[AutomaticRule, ...]:
    """The automatic rules that cover this change, in the order of the configuration."""
    return tuple(rule for rule in rules if rule.allows(risk))
