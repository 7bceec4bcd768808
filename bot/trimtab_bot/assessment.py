"""Judges what devices measured against the policies in Git. Pure apart from the port to the metrics.

Fairness: disparate impact of a (model, version), decisions pooled over device groups. A policy's ``minimumSample`` is
the least number of decisions about **each cohort** that is compared: cohorts below it are shown and not compared, since
a handful of decisions about a rare cohort would drown what is plain about the others. Two cohorts must reach it. A
breach needs one pair of judged cohorts; "fine" needs every declared cohort judged.

Cost: measured CPU seconds of each group times the price of the group's core-hour, over all inferences of the version.
``minimumSample`` is the number of inferences, all groups together. The interval is that of the measurement at the price
book's own prices; what the bounds of the prices would make of it is shown apart, since more inferences will never
narrow it.

Unknown never becomes breach or fine: stale or absent data, warnings of the source, a group without price, a sample that
is too small.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from trimtab_bot.alarms import AlarmRule
from trimtab_bot.findings import Concern, Finding
from trimtab_bot.watch import CoreHour, WatchTarget, watch_targets
from trimtab_kernel import vocabulary
from trimtab_kernel.freshness import Absent, Fresh, Stale
from trimtab_kernel.identity import IdentityError, Version
from trimtab_kernel.intervals import CohortCount, Interval, disparate_impact, mean_of_sums
from trimtab_kernel.money import price_range_text
from trimtab_kernel.problems import printable
from trimtab_kernel.rules import CPU_SECONDS, CPU_SECONDS_SQUARED, DECISIONS, REQUESTS, Query
from trimtab_kernel.verdict import Judgement, Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from trimtab_bot.metrics.interface import MetricsSource
    from trimtab_kernel.freshness import Freshness
    from trimtab_kernel.rules import Reading, Rule, Sample, Window

__all__ = ["assess", "watch_targets"]

MAX_VERSIONS = 50
"""Versions of one model that are judged in one look, those with the most inferences first: labels come from devices."""
_NEEDS: dict[Concern, tuple[Rule, ...]] = {
    Concern.FAIRNESS: (REQUESTS, DECISIONS),
    Concern.COST: (REQUESTS, CPU_SECONDS, CPU_SECONDS_SQUARED),
}
_TIMES = 1000.0  # ceilings are per 1,000 inferences
_DEFAULT_RULE = AlarmRule()


def assess(
    targets: Sequence[WatchTarget],
    source: MetricsSource,
    window: Window,
    now: float,
    rule: AlarmRule = _DEFAULT_RULE,
) -> tuple[Finding, ...]:
    """One finding for each target and each version of its model that the metrics show, sorted by subject.

    Each rule is asked for once. ``now`` is Unix seconds. Raises OutsideError where the source does not answer: then
    nothing is known, and what was found before stays as old as it is.
    """
    wanted = {needed for target in targets for needed in _NEEDS[target.concern]}
    readings = {wish: source.read(Query(wish, window)) for wish in sorted(wanted, key=lambda each: each.name)}
    looks = {wish: _by_model(reading) for wish, reading in readings.items()}
    findings = []
    for target in targets:
        seen = {wish: looks[wish].get(target.model, {}) for wish in _NEEDS[target.concern]}
        asked = [readings[wish] for wish in _NEEDS[target.concern]]
        versions, left_out = _versions(seen)
        for version in versions:
            samples = {wish: tuple(seen[wish].get(version, ())) for wish in seen}
            warnings = _warnings(asked, target, version)
            look = _Look(target, version, samples, warnings, left_out, window, now, rule)
            findings.append(_judge_look(look))
    return tuple(sorted(findings, key=lambda finding: finding.subject))


def _judge_look(look: _Look) -> Finding:
    if not look.target.problem and not 0 < look.target.confidence < 1:
        target = dataclasses.replace(look.target, problem="the policy's confidence is not between 0 and 1")
        look = dataclasses.replace(look, target=target)
    return _fairness(look) if look.target.concern is Concern.FAIRNESS else _cost(look)


@dataclass(frozen=True, slots=True)
class _Look:
    """All that one finding is made of."""

    target: WatchTarget
    version: str
    samples: Mapping[Rule, tuple[Sample, ...]]
    warnings: tuple[str, ...]
    versions_left_out: int
    window: Window
    now: float
    rule: AlarmRule

    def of(self, rule: Rule) -> tuple[Sample, ...]:
        """The samples of the groups that are watched."""
        names = {group.name for group in self.target.groups}
        return tuple(s for s in self.samples.get(rule, ()) if s.labels[vocabulary.LABEL_DEVICE_GROUP] in names)

    def confidences(self) -> tuple[float, float]:
        """Of the interval that is shown, and of the one that an alarm rests on, which is never the narrower one."""
        shown = self.target.confidence
        return shown, max(shown, self.rule.confidence(self.window))


def _by_model(reading: Reading) -> dict[str, dict[str, list[Sample]]]:
    """Samples by model, then by version."""
    table: dict[str, dict[str, list[Sample]]] = {}
    for sample in reading.samples:
        table.setdefault(sample.labels["model"], {}).setdefault(sample.labels["version"], []).append(sample)
    return table


def _warnings(readings: Iterable[Reading], target: WatchTarget, version: str) -> tuple[str, ...]:
    """What makes a look at this version incomplete: warnings about everything, and dropped samples about itself."""
    names = {group.name for group in target.groups}
    texts: set[str] = set()
    for reading in readings:
        texts.update(reading.warnings)
        for dropped in reading.dropped:
            group = dropped.labels[vocabulary.LABEL_DEVICE_GROUP]
            if (dropped.labels["model"], dropped.labels["version"]) == (target.model, version) and group in names:
                texts.add(f"{dropped.reason} ({group})")
    return tuple(sorted(texts))


def _versions(seen: Mapping[Rule, Mapping[str, list[Sample]]]) -> tuple[list[str], int]:
    """The versions to judge, and how many were left out."""
    names = {version for table in seen.values() for version in table}

    def traffic(version: str) -> float:
        return sum(sample.value for sample in seen[REQUESTS].get(version, ()))

    ranked = sorted(names, key=lambda version: (-traffic(version), version))
    return sorted(ranked[:MAX_VERSIONS], key=_version_order), len(ranked) - len(ranked[:MAX_VERSIONS])


def _version_order(text: str) -> tuple[int, Version, str]:
    try:
        return (0, Version.parse(text), text)
    except IdentityError:
        return (1, Version(0, 0, 0), text)


def _pooled_freshness(samples: Iterable[Sample]) -> Freshness:
    """Of figures added up over groups: as fresh as the newest of them. What a silent group sent before still counts."""
    newest: Freshness = Absent()
    for freshness in (sample.freshness for sample in samples):
        match newest, freshness:
            case Fresh(at=known), Fresh(at=at):
                newest = Fresh(max(known, at))
            case (_, Fresh()) | (Absent(), _):
                newest = freshness
            case Stale(since=known), Stale(since=since):
                newest = Stale(max(known, since))
            case _:
                pass
    return newest


# ---------------------------------------------------------------- fairness


def _fairness(look: _Look) -> Finding:
    target = look.target
    samples = look.of(DECISIONS)
    counts, unread = _cohort_counts(samples, target.cohorts)
    judged = {name: count for name, count in counts.items() if count.n > 0 and count.n >= target.limit.minimum_n}
    enough = len(judged) >= 2
    compared = judged if enough else counts
    # Where too few cohorts reach the minimum, what has to grow is the second largest one.
    sizes = sorted((int(count.n) for count in compared.values()), reverse=True)
    n = sizes[-1] if enough else (sizes[1] if len(sizes) > 1 else 0)
    shown = alarm = None
    if not target.problem:
        shown_confidence, alarm_confidence = look.confidences()
        shown = disparate_impact(compared, shown_confidence)
        alarm = disparate_impact(compared, alarm_confidence)
    missing = sorted(set(counts) - set(judged)) if enough else []

    details = [(f"cohort {printable(name, 80)}", _rate_text(count)) for name, count in sorted(counts.items())]
    if shown is not None:
        details.append(
            ("compared", f"{printable(shown.lowest, 80)} (lowest rate) with {printable(shown.highest, 80)} (highest)")
        )
    details.append(
        ("sample", f"smallest compared cohort {n}, minimum {target.limit.minimum_n}; {sum(sizes)} decisions in all")
    )
    if missing:
        details.append(("not compared", f"below the minimum of {target.limit.minimum_n}: {', '.join(missing)}"))
    details.extend(unread)

    why_not = (
        "no decisions were measured" if not samples else "too few cohorts have decisions, or no decision was positive"
    )
    return _finding(
        look,
        metric="disparate impact",
        interval=shown.ratio if shown else None,
        alarm_interval=alarm.ratio if alarm else None,
        n=n,
        details=details,
        used=samples,
        why_not=why_not,
        holds_back_fine=f"not every cohort could be judged: {', '.join(missing)}" if missing else "",
    )


def _cohort_counts(
    samples: Iterable[Sample], cohorts: Sequence[str]
) -> tuple[dict[str, CohortCount], list[tuple[str, str]]]:
    """Decisions by declared cohort, and a line about those that could not be used."""
    counts = dict.fromkeys(cohorts, CohortCount(0.0, 0.0))
    strange = 0.0
    for sample in samples:
        cohort, outcome = sample.labels["cohort"], sample.labels["outcome"]
        if cohort not in counts or outcome not in (vocabulary.OUTCOME_POSITIVE, vocabulary.OUTCOME_NEGATIVE):
            strange += sample.value
            continue
        before = counts[cohort]
        positive = sample.value if outcome == vocabulary.OUTCOME_POSITIVE else 0.0
        counts[cohort] = CohortCount(before.n + sample.value, before.positives + positive)
    unread = [("not counted", f"{strange:.0f} decisions with a cohort or outcome that the model does not declare")]
    return counts, unread if strange else []


def _rate_text(count: CohortCount) -> str:
    if count.n <= 0:
        return "no decisions"
    return f"{count.positives / count.n:.1%} positive ({count.positives:.0f} of {count.n:.0f})"


# ---------------------------------------------------------------- cost


def _cost(look: _Look) -> Finding:
    target = look.target
    requests = _sums(look.of(REQUESTS))
    seconds = _sums(look.of(CPU_SECONDS))
    squares = _sums(look.of(CPU_SECONDS_SQUARED))
    used = tuple(s for wish in (REQUESTS, CPU_SECONDS, CPU_SECONDS_SQUARED) for s in look.of(wish))
    details: list[tuple[str, str]] = []
    n = total = total_squares = low = high = 0.0
    why_not = "no inferences were measured" if not any(requests.values()) else ""
    books: set[str] = set()
    for group in target.groups:
        count = requests.get(group.name, 0.0)
        if count <= 0:
            continue
        price = group.price
        label = f"group {group.name}"
        if not isinstance(price, CoreHour) or price.currency != target.unit:
            reason = f"its price is in {price.currency}" if isinstance(price, CoreHour) else price.reason
            why_not = why_not or f"no price in {target.unit} for {group.name}: {reason}"
            details.append((label, f"{count:.0f} inferences; {reason}"))
            continue
        if group.name not in seconds or group.name not in squares:
            why_not = why_not or f"{group.name} reports inferences without their CPU seconds"
            details.append((label, f"{count:.0f} inferences without CPU seconds"))
            continue
        per_second = float(price.value) / 3600
        n += count
        total += seconds[group.name] * per_second
        total_squares += squares[group.name] * per_second * per_second
        low += seconds[group.name] * float(price.low) / 3600
        high += seconds[group.name] * float(price.high) / 3600
        books.add(f"{price.source} ({price.grade.value})")
        each = f"{seconds[group.name] / count * 1000:.3f} ms CPU each"
        details.append(
            (label, f"{count:.0f} inferences, {each}, {float(price.value):.6g} {price.currency} per core-hour")
        )
    shown = alarm = None
    if not why_not and not target.problem:
        shown_confidence, alarm_confidence = look.confidences()
        shown = _times(mean_of_sums(total, total_squares, n, shown_confidence))
        alarm = _times(mean_of_sums(total, total_squares, n, alarm_confidence))
        details.append(
            (
                "at the price book's bounds",
                f"{_bounds(low / n * _TIMES, high / n * _TIMES, target.unit)} per 1k inferences",
            )
        )
        details.append(("prices", ", ".join(sorted(books))))
    details.append(("sample", f"{n:.0f} inferences, minimum {target.limit.minimum_n}"))
    return _finding(
        look,
        metric="cost per 1k inferences",
        interval=shown,
        alarm_interval=alarm,
        n=int(n),
        details=details,
        used=used,
        why_not=why_not or "too few inferences for an interval",
    )


def _sums(samples: Iterable[Sample]) -> dict[str, float]:
    """Values by device group."""
    sums: dict[str, float] = {}
    for sample in samples:
        group = sample.labels[vocabulary.LABEL_DEVICE_GROUP]
        sums[group] = sums.get(group, 0.0) + sample.value
    return sums


def _bounds(low: float, high: float, currency: str) -> str:
    return price_range_text(Decimal(repr(low)), Decimal(repr(high)), currency, digits=6)


def _times(interval: Interval | None) -> Interval | None:
    """Per 1,000 instead of per one."""
    if interval is None:
        return None
    return Interval(
        interval.value * _TIMES, interval.low * _TIMES, interval.high * _TIMES, interval.n, interval.confidence
    )


# ---------------------------------------------------------------- both


def _finding(
    look: _Look,
    *,
    metric: str,
    interval: Interval | None,
    alarm_interval: Interval | None,
    n: int,
    details: list[tuple[str, str]],
    used: Sequence[Sample],
    why_not: str,
    holds_back_fine: str = "",
) -> Finding:
    """Judge; ``why_not`` is the reason where there is no interval, ``holds_back_fine`` one that forbids only "fine"."""
    target = look.target
    freshness = _pooled_freshness(used)
    judgement = judge(interval, target.limit, freshness, n)
    if target.problem:
        judgement = Judgement(Verdict.UNKNOWN, target.problem)
    elif interval is None and not isinstance(freshness, Stale):
        judgement = Judgement(Verdict.UNKNOWN, why_not)
    elif look.warnings:
        judgement = Judgement(Verdict.UNKNOWN, f"the data are incomplete: {printable(look.warnings[0], 200)}")
    elif judgement.verdict is Verdict.FINE and holds_back_fine:
        judgement = Judgement(Verdict.UNKNOWN, holds_back_fine)
    alarmed = judge(alarm_interval, target.limit, freshness, n).verdict is Verdict.BREACH

    names = {group.name for group in target.groups}
    measured = {s.labels[vocabulary.LABEL_DEVICE_GROUP] for s in used if s.value > 0}
    silent = sorted(_stale_groups(used) & measured)
    others = {s.labels[vocabulary.LABEL_DEVICE_GROUP] for samples in look.samples.values() for s in samples} - names
    if silent:
        details.append(("silent now", f"{', '.join(silent)} (what they sent within the window counts)"))
    if others:
        shown = ", ".join(printable(name, 80) for name in sorted(others)[:5])
        details.append(("not counted", f"groups that no deployment of this policy names: {shown}"))
    if look.versions_left_out:
        details.append(("not judged", f"{look.versions_left_out} further versions with fewer inferences"))
    return Finding(
        concern=target.concern,
        model=target.model,
        version=look.version,
        policy=target.policy,
        verdict=judgement.verdict,
        reason=judgement.reason,
        metric=metric,
        unit=target.unit,
        limit=target.limit,
        interval=interval,
        alarm=judgement.verdict is Verdict.BREACH and alarmed,
        alarm_interval=alarm_interval,
        n=n,
        details=tuple(details),
        device_groups=tuple(sorted(measured)),
        window=look.window,
        observed_at=look.now,
        freshness=freshness,
        warnings=look.warnings,
    )


def _stale_groups(samples: Iterable[Sample]) -> set[str]:
    """Groups of which no sample is fresh."""
    by_group: dict[str, bool] = {}
    for sample in samples:
        group = sample.labels[vocabulary.LABEL_DEVICE_GROUP]
        by_group[group] = by_group.get(group, False) or isinstance(sample.freshness, Fresh)
    return {group for group, fresh in by_group.items() if not fresh}
