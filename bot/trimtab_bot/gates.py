"""The gate before a rollout's next wave: health, failures, alignment, cost, sample and soak, each with its own verdict.

The denominator is the reachable fleet. A device that is offline is listed, never blocks, and never counts as healthy.
Pure apart from the port to the metrics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab_bot.moments import span_text
from trimtab_kernel import vocabulary
from trimtab_kernel.freshness import Fresh
from trimtab_kernel.intervals import proportion
from trimtab_kernel.rules import DEVICES_DESIRED, DEVICES_READY, FAILURES, REQUESTS, Query
from trimtab_kernel.verdict import Limit, Side, Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trimtab_bot.incidents.evidence import Look
    from trimtab_bot.metrics.interface import MetricsSource
    from trimtab_bot.rollouts import RolloutAt
    from trimtab_kernel.rules import Rule, Sample, Window


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must be fine before the next wave."""

    name: str
    verdict: Verdict
    text: str


@dataclass(frozen=True, slots=True)
class GateReport:
    """All checks of one rollout. ``next_wave`` is "" at the last one; ``at`` is Unix seconds."""

    rollout: str
    version: str
    wave: str
    next_wave: str
    checks: tuple[Check, ...]
    at: float

    @property
    def verdict(self) -> Verdict:
        """Breach where any check is, fine where all are, otherwise unknown."""
        verdicts = {check.verdict for check in self.checks}
        if Verdict.BREACH in verdicts:
            return Verdict.BREACH
        return Verdict.FINE if verdicts == {Verdict.FINE} else Verdict.UNKNOWN

    def text(self) -> str:
        """For people; what is not fine first."""
        ordered = sorted(self.checks, key=lambda check: check.verdict is Verdict.FINE)
        return "; ".join(f"{check.name} {check.verdict.value}: {check.text}" for check in ordered)


def judge_gate(
    rollout: RolloutAt,
    declared: Mapping[str, int],
    look: Look,
    source: MetricsSource,
    window: Window,
    since: float | None,
    at: float,
) -> GateReport:
    """Judge one rollout. ``declared`` devices by group; ``since`` is when the branch came to this wave, None for unknown.

    Raises OutsideError where the source does not answer.
    """
    match = (("model", rollout.model),)
    ready, desired, requests = (
        _counts(source, rule, window, match, rollout) for rule in (DEVICES_READY, DEVICES_DESIRED, REQUESTS)
    )
    failures = _counts(source, FAILURES, window, match, rollout)
    wave, following = rollout.wave, rollout.next_wave
    checks = (
        _health(rollout, declared, ready, desired),
        _sample(rollout, requests),
        _failures(rollout, requests, failures),
        *_policies(rollout, look),
        _soak(rollout, since, at),
    )
    names = (wave.name if wave else "", following.name if following else "")
    return GateReport(rollout.full_name, rollout.version, *names, checks, at)


@dataclass(frozen=True, slots=True)
class _Counts:
    """Fresh counts of the rollout's groups, by (group, version); ``warnings`` make them incomplete."""

    values: Mapping[tuple[str, str], float]
    warnings: tuple[str, ...]

    def of(self, version: str) -> float:
        return sum(value for (_, found), value in self.values.items() if found == version)

    def in_group(self, group: str) -> float:
        return sum(value for (found, _), value in self.values.items() if found == group)

    @property
    def total(self) -> float:
        return sum(self.values.values())


def _counts(
    source: MetricsSource, rule: Rule, window: Window, match: tuple[tuple[str, str], ...], rollout: RolloutAt
) -> _Counts:
    reading = source.read(Query(rule, window, match))
    values: dict[tuple[str, str], float] = {}
    for sample in reading.samples:
        group = sample.labels[vocabulary.LABEL_DEVICE_GROUP]
        if group in rollout.groups and isinstance(sample.freshness, Fresh):
            key = (group, _version(sample))
            values[key] = values.get(key, 0.0) + sample.value
    dropped = tuple(f"a sample was dropped: {item.reason}" for item in reading.dropped)
    return _Counts(values, (*reading.warnings, *dropped))


def _version(sample: Sample) -> str:
    return sample.labels.get("version", "")


def _health(rollout: RolloutAt, declared: Mapping[str, int], ready: _Counts, desired: _Counts) -> Check:
    """Whether every reachable device that is told to run the version runs it."""
    told, run = round(desired.of(rollout.version)), round(ready.of(rollout.version))
    silent = [
        f"{group} ({missing} of {declared.get(group, 0)})"
        for group in rollout.groups
        if (missing := max(0, declared.get(group, 0) - round(ready.in_group(group))))
    ]
    text = f"{min(run, told)} of {told} reachable devices of the wave run {rollout.version}"
    if silent:
        text += f"; not heard of: {', '.join(silent)}"
    warnings = (*ready.warnings, *desired.warnings)
    if warnings:
        return Check("health", Verdict.UNKNOWN, f"{text}; incomplete: {warnings[0]}")
    return Check("health", Verdict.FINE if told and run >= told else Verdict.UNKNOWN, text)


def _sample(rollout: RolloutAt, requests: _Counts) -> Check:
    needed, found = rollout.rollout.gates.minimum_sample, round(requests.of(rollout.version))
    text = f"{found} inferences by {rollout.version}, {needed} needed"
    return Check("sample", Verdict.FINE if found >= needed else Verdict.UNKNOWN, text)


def _failures(rollout: RolloutAt, requests: _Counts, failures: _Counts) -> Check:
    """Failures are counted by model, not by version: those of all versions there count against this one."""
    allowed = rollout.rollout.gates.maximum_failure_ratio
    failed, total = failures.total, requests.total + failures.total
    interval = proportion(failed, total)
    shown = "nothing was asked" if interval is None else f"{round(failed)} of {round(total)} failed"
    if allowed is None:
        return Check("failures", Verdict.FINE, f"{shown}; no limit is set")
    limit = Limit(Side.AT_MOST, float(allowed), max(1, rollout.rollout.gates.minimum_sample))
    verdict = judge(interval, limit, Fresh(0.0))
    return Check("failures", verdict.verdict, f"{shown}, at most {float(allowed):g}: {verdict.reason}")


def _policies(rollout: RolloutAt, look: Look) -> tuple[Check, ...]:
    """A check for each policy that watches the model: alignment and cost."""
    checks = []
    for target in look.targets:
        if target.model != rollout.model:
            continue
        found = [
            finding
            for finding in look.findings.values()
            if (finding.concern, finding.model, finding.version, finding.policy)
            == (target.concern, rollout.model, rollout.version, target.policy)
        ]
        if not found:
            checks.append(Check(target.concern.value, Verdict.UNKNOWN, f"{target.policy}: nothing was measured"))
        checks += [
            Check(target.concern.value, each.verdict, f"{each.policy}: {each.reason}, n = {each.n}") for each in found
        ]
    return tuple(dict.fromkeys(checks))


def _soak(rollout: RolloutAt, since: float | None, at: float) -> Check:
    wave = rollout.wave
    needed = wave.soak.total_seconds() if wave is not None and wave.soak is not None else 0.0
    if since is None:
        return Check("soak", Verdict.UNKNOWN, "nobody knows since when it stands at this wave")
    verdict = Verdict.FINE if at - since >= needed else Verdict.UNKNOWN
    return Check("soak", verdict, f"{span_text(max(0.0, at - since))} at this wave, {span_text(needed)} needed")
