"""A metrics source that answers from tables: the same port, with figures that a test writes down."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from trimtab_bot.findings import Concern
from trimtab_bot.watch import CoreHour, Unpriced, WatchedGroup, WatchTarget
from trimtab_kernel.freshness import Fresh
from trimtab_kernel.money import Grade
from trimtab_kernel.rules import (
    CPU_SECONDS,
    CPU_SECONDS_SQUARED,
    DECISIONS,
    REQUESTS,
    Dropped,
    Query,
    Reading,
    Rule,
    Sample,
)
from trimtab_kernel.verdict import Limit, Side

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trimtab_kernel.freshness import Freshness

NOW = 1_800_000_000.0
FRESH = Fresh(NOW - 1)


@dataclass
class TableSource:
    """Answers each rule with its samples; remembers what it was asked."""

    samples: dict[Rule, list[Sample]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    dropped: dict[Rule, list[Dropped]] = field(default_factory=dict)
    asked: list[Query] = field(default_factory=list)

    @property
    def name(self) -> str:
        return "tables"

    def read(self, query: Query) -> Reading:
        self.asked.append(query)
        return Reading(
            tuple(self.samples.get(query.rule, ())), NOW, self.warnings, tuple(self.dropped.get(query.rule, ()))
        )

    def add(self, rule: Rule, value: float, freshness: Freshness = FRESH, **labels: str) -> None:
        named = {name: labels.get(name, "") for name in rule.by}
        self.samples.setdefault(rule, []).append(Sample(named, value, rule.observations(value), freshness))

    def decide(
        self,
        counts: Mapping[str, tuple[float, float]],
        *,
        model: str = "triage",
        version: str = "1.0.0",
        group: str = "kiosks",
        freshness: Freshness = FRESH,
    ) -> None:
        """Decisions by cohort: how many, and how many of them positive."""
        where = {"model": model, "version": version, "device_group": group}
        self.add(REQUESTS, sum(n for n, _ in counts.values()), freshness, **where)
        for cohort, (n, positives) in counts.items():
            self.add(DECISIONS, positives, freshness, cohort=cohort, outcome="positive", **where)
            self.add(DECISIONS, n - positives, freshness, cohort=cohort, outcome="negative", **where)

    def spend(
        self,
        n: float,
        seconds: float,
        squares: float,
        *,
        model: str = "triage",
        version: str = "1.0.0",
        group: str = "kiosks",
        freshness: Freshness = FRESH,
    ) -> None:
        """Inferences, the CPU seconds that they took together, and the sum of the squares of these."""
        where = {"model": model, "version": version, "device_group": group}
        self.add(REQUESTS, n, freshness, **where)
        self.add(CPU_SECONDS, seconds, freshness, **where)
        self.add(CPU_SECONDS_SQUARED, squares, freshness, **where)


def price(value: str, currency: str = "EUR") -> CoreHour:
    """A core-hour with bounds of 50 percent."""
    amount = Decimal(value)
    return CoreHour(amount, amount / 2, amount * 3 / 2, currency, Grade.DECLARED, "book")


def fairness_target(
    minimum: float = 0.8,
    sample: int = 200,
    groups: tuple[str, ...] = ("kiosks",),
    cohorts: tuple[str, ...] = ("f", "m"),
) -> WatchTarget:
    return WatchTarget(
        concern=Concern.FAIRNESS,
        model="triage",
        policy="clinical",
        limit=Limit(Side.AT_LEAST, minimum, sample),
        confidence=0.95,
        unit="ratio",
        groups=tuple(WatchedGroup(name, Unpriced("not needed")) for name in groups),
        cohorts=cohorts,
    )


def cost_target(
    ceiling: float, groups: Mapping[str, CoreHour | Unpriced], sample: int = 200, currency: str = "EUR"
) -> WatchTarget:
    return WatchTarget(
        concern=Concern.COST,
        model="triage",
        policy="frugal",
        limit=Limit(Side.AT_MOST, ceiling, sample),
        confidence=0.95,
        unit=currency,
        groups=tuple(WatchedGroup(name, each) for name, each in sorted(groups.items())),
    )
