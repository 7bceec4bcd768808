"""What an incident rests on, and whether that still stands.

Two parts: the *snapshot* is the whole finding, with every figure of its moment; the *claim* is what it says, without the
figures. Figures move with every tick and a decision need not fall for that; a claim that is no longer true, or is made
by another limit, makes every decision about it void. Both are in the digest that people approve.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab_bot.findings import Subject, number_text
from trimtab_bot.inbox.interface import FactKind
from trimtab_bot.moments import clock_text, rounded, span_text
from trimtab_bot.narration.template import figure_text, interval_text
from trimtab_bot.records import Evidence, FactLine, GaugeRecord
from trimtab_kernel.canonical import canonical_json, digest_of
from trimtab_kernel.verdict import Side, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trimtab_bot.findings import Finding
    from trimtab_bot.watch import WatchTarget
    from trimtab_kernel.canonical import Json
    from trimtab_kernel.verdict import Limit

GONE = "no policy watches this any more"


@dataclass(frozen=True, slots=True)
class Look:
    """What the last completed look at the metrics gave. ``at`` in Unix seconds."""

    at: float
    targets: tuple[WatchTarget, ...]
    findings: Mapping[Subject, Finding]


@dataclass(frozen=True, slots=True)
class Standing:
    """What the evidence says now: the digest over claim and snapshot, the verdict, and why."""

    digest: str
    verdict: Verdict
    reason: str


def _claim(concern: str, model: str, version: str, policy: str, unit: str, limit: Limit) -> dict[str, Json]:
    return {
        "concern": concern,
        "model": model,
        "version": version,
        "policy": policy,
        "unit": unit,
        "limit": {"side": limit.side.value, "bound": number_text(limit.bound), "minimumSample": limit.minimum_n},
        "verdict": Verdict.BREACH.value,
    }


def claim_of(finding: Finding) -> str:
    """The claim that a finding makes, as canonical JSON text."""
    claim = _claim(finding.concern.value, finding.model, finding.version, finding.policy, finding.unit, finding.limit)
    return canonical_json(claim).decode()


def gauge_of(finding: Finding) -> GaugeRecord | None:
    """The figure for drawing and telling. None where nothing was measured."""
    interval = finding.interval
    if interval is None:
        return None
    return GaugeRecord(
        label=finding.metric,
        unit=finding.unit,
        value=interval.value,
        low=interval.low,
        high=interval.high,
        limit=finding.limit.bound,
        good_is_high=finding.limit.side is Side.AT_LEAST,
        n=finding.n,
        confidence=interval.confidence,
    )


def evidence_of(finding: Finding) -> Evidence:
    """The evidence of one finding."""
    gauge = gauge_of(finding)
    facts = [] if gauge is None else [FactLine("Measured", f"{interval_text(gauge)}, n = {gauge.n}", FactKind.FACT)]
    bound = figure_text(finding.limit.bound, finding.unit)
    limit = f"{finding.policy}: {finding.limit.side.value} {bound}, n at least {finding.limit.minimum_n}"
    facts.append(FactLine("Policy", limit, FactKind.FACT))
    window = f"the last {span_text(finding.window.value)} before {clock_text(finding.observed_at)}"
    facts.append(FactLine("Window", window, FactKind.FACT))
    facts.extend(FactLine(label[:1].upper() + label[1:], text, FactKind.FACT) for label, text in finding.details)
    return Evidence(
        claim=claim_of(finding),
        snapshot=canonical_json(finding.to_json()).decode(),
        device_groups=finding.device_groups,
        observed_at=rounded(finding.observed_at),
        gauge=gauge,
        facts=tuple(facts),
    )


def evidence_digest(claim: str, snapshot: str) -> str:
    """SHA-256 over claim and snapshot, as approvals bind to it."""
    return str(digest_of({"claim": claim, "snapshot": snapshot}))


def standing(evidence: Evidence, subject: Subject, look: Look | None, now: float, freshness_limit: float) -> Standing:
    """What ``evidence`` says now, by the last look.

    Without a look, or where the last one is older than ``freshness_limit`` (seconds), nothing is known: the claim is
    taken as it was and the verdict is unknown, so that nothing is merged and nothing is void.
    """
    if look is None or now - look.at > freshness_limit:
        since = "the bot has not looked yet" if look is None else "the metrics source has not answered lately"
        return Standing(evidence_digest(evidence.claim, evidence.snapshot), Verdict.UNKNOWN, since)
    finding = look.findings.get(subject)
    if finding is not None:
        return Standing(evidence_digest(claim_of(finding), evidence.snapshot), finding.verdict, finding.reason)
    for target in look.targets:
        if (target.concern.value, target.model, target.policy) == (subject.concern, subject.model, subject.policy):
            claim = _claim(subject.concern, subject.model, subject.version, subject.policy, target.unit, target.limit)
            text = canonical_json(claim).decode()
            return Standing(evidence_digest(text, evidence.snapshot), Verdict.UNKNOWN, "no data of this version")
    return Standing(evidence_digest(GONE, evidence.snapshot), Verdict.UNKNOWN, GONE)


def verdict_of_version(findings: Iterable[Finding], model: str, version: str) -> Verdict:
    """Of everything that was judged about one version: breach where anything is, fine where all is (and something was)."""
    verdicts = [finding.verdict for finding in findings if (finding.model, finding.version) == (model, version)]
    if Verdict.BREACH in verdicts:
        return Verdict.BREACH
    return Verdict.FINE if verdicts and all(verdict is Verdict.FINE for verdict in verdicts) else Verdict.UNKNOWN
