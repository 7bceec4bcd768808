"""What is watched: which figure of which model, on which device groups, against which limit. Made from Git alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decimal import Decimal

    from trimtab_bot.findings import Concern
    from trimtab_kernel.money import Grade
    from trimtab_kernel.verdict import Limit


@dataclass(frozen=True, slots=True)
class CoreHour:
    """What one core costs for one hour, with the bounds of the price book. ``source`` names the book."""

    value: Decimal
    low: Decimal
    high: Decimal
    currency: str
    grade: Grade
    source: str


@dataclass(frozen=True, slots=True)
class Unpriced:
    """Why a group's core-hour has no price: one lowercase phrase."""

    reason: str


@dataclass(frozen=True, slots=True)
class WatchedGroup:
    """A device group that the watched deployments name. ``price`` matters to the concern of cost alone."""

    name: str
    price: CoreHour | Unpriced


@dataclass(frozen=True, slots=True)
class WatchTarget:
    """One limit of one policy, for all versions of one model, pooled over the groups of the deployments that refer to both.

    ``unit`` is ``ratio``, or the currency of a ceiling. ``cohorts`` are those that the model declares; others that
    devices may report are not judged. ``problem`` says why nothing can be judged (``""`` where all is well).
    """

    concern: Concern
    model: str
    policy: str
    limit: Limit
    confidence: float
    unit: str
    groups: tuple[WatchedGroup, ...]
    cohorts: tuple[str, ...] = ()
    problem: str = ""
