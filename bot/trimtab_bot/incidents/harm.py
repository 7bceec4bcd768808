"""How bad it is per hour, as an estimate: money over the ceiling, or people who miss the positive decision. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from trimtab_kernel import vocabulary
from trimtab_kernel.intervals import CohortCount, disparate_impact
from trimtab_kernel.money import price_range_text, price_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trimtab_bot.findings import Finding
    from trimtab_kernel.rules import Sample

_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Harm:
    """``per_hour`` in ``unit`` (a currency, or ``people``), with a sentence for people. For ranking and for telling."""

    per_hour: float
    unit: str
    text: str


def money_over_ceiling(finding: Finding) -> Harm | None:
    """What the version costs above its ceiling at the rate of the window. None where nothing was measured."""
    if finding.interval is None:
        return None
    scale = finding.interval.n / 1000 * _HOUR / finding.window.value
    value, low, high = (
        max(0.0, (figure - finding.limit.bound) * scale)
        for figure in (finding.interval.value, finding.interval.low, finding.interval.high)
    )
    text = (
        f"{price_text(Decimal(repr(value)), finding.unit)} an hour above the ceiling at the measured rate"
        f" ({price_range_text(Decimal(repr(low)), Decimal(repr(high)), finding.unit)}), of the devices that report"
    )
    return Harm(value, finding.unit, text)


def people_passed_over(
    samples: Iterable[Sample], limit: float, window_seconds: float, cohorts: tuple[str, ...]
) -> Harm | None:
    """How many of the worst-off cohort would have had the positive decision at the limit of the policy, per hour.

    The shortfall is ``limit * highest rate - lowest rate`` times the decisions about that cohort. None where two cohorts
    cannot be compared.
    """
    counts: dict[str, CohortCount] = {}
    for sample in samples:
        cohort = sample.labels["cohort"]
        if cohort in cohorts:
            before = counts.get(cohort, CohortCount(0.0, 0.0))
            positive = sample.value if sample.labels["outcome"] == vocabulary.OUTCOME_POSITIVE else 0.0
            counts[cohort] = CohortCount(before.n + sample.value, before.positives + positive)
    impact = disparate_impact(counts)
    if impact is None:
        return None
    shortfall = max(0.0, limit * _rate(counts, impact.highest) - _rate(counts, impact.lowest))
    people = shortfall * counts[impact.lowest].n * _HOUR / window_seconds
    text = (
        f"about {people:,.0f} decisions an hour about {impact.lowest} go against them that would not at the limit,"
        f" on the devices that report"
    )
    return Harm(people, "people", text)


def _rate(counts: Mapping[str, CohortCount], cohort: str) -> float:
    return counts[cohort].positives / counts[cohort].n
