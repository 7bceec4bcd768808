"""What a version's own evaluation says of its alignment policy: known before any device runs it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from trimtab_kernel.freshness import Fresh
from trimtab_kernel.intervals import CohortCount, Interval, disparate_impact, z_of
from trimtab_kernel.records import dataclass
from trimtab_kernel.verdict import Limit, Side, Verdict, judge

if TYPE_CHECKING:
    from trimtab_config.spec.kinds import AIAlignmentPolicySpec, Evaluation


@dataclass(frozen=True, slots=True)
class Evidence:
    """The verdict on the policy's fairness limit, and what it rests on."""

    verdict: Verdict
    text: str


def offline_evidence(policy: AIAlignmentPolicySpec, evaluation: Evaluation) -> Evidence | None:
    """None where the policy limits no fairness figure. An evaluation without cohorts gives ``unknown``, never ``fine``."""
    limit = policy.fairness
    if limit is None:
        return None
    counts = {
        name: CohortCount(float(rate.n), float(rate.n * rate.positive_rate))
        for name, rate in evaluation.fairness.items()
    }
    impact = disparate_impact(counts, float(limit.confidence))
    if impact is None:
        return Evidence(Verdict.UNKNOWN, "the evaluation compares no cohorts")
    judgement = judge(
        impact.ratio,
        Limit(Side.AT_LEAST, float(limit.minimum), limit.minimum_sample),
        # An evaluation belongs to its version for good: it does not go stale.
        Fresh(0.0),
        impact.smallest_n,
    )
    ratio = impact.ratio
    return Evidence(
        judgement.verdict,
        f"evaluation: disparate impact {ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f}) of {impact.lowest} to"
        f" {impact.highest}, n {ratio.n}, at least {limit.minimum} asked for; {judgement.reason}",
    )


def offline_drift(policy: AIAlignmentPolicySpec, evaluation: Evaluation) -> Evidence | None:
    """None where the policy limits no drift. An evaluation that measured none gives ``unknown``, never ``fine``."""
    limit, drift = policy.drift, evaluation.drift
    if limit is None:
        return None
    if drift is None:
        return Evidence(Verdict.UNKNOWN, "the evaluation measured no drift")
    interval = stability_interval(float(drift.psi), drift.n, drift.bins)
    bound = Limit(Side.AT_MOST, float(limit.maximum_psi), limit.minimum_sample)
    judgement = judge(interval, bound, Fresh(0.0), drift.n)
    shown = "" if interval is None else f" ({interval.low:.3f} to {interval.high:.3f})"
    return Evidence(
        judgement.verdict,
        f"evaluation: drift {drift.psi} PSI{shown}, n {drift.n}, at most {limit.maximum_psi} asked for; {judgement.reason}",
    )


def stability_interval(psi: float, n: int, bins: int, confidence: float = 0.95) -> Interval | None:
    """Interval of a population stability index of ``n`` rows over ``bins`` bins against a fixed reference; None without rows.

    n times the index is asymptotically a noncentral chi-square variable with ``bins - 1`` degrees of freedom (B. Yurdakul,
    J. Naranjo, Journal of Risk Model Validation 14(4), 2020), here by its first two moments: chance alone makes the index
    ``(bins - 1) / n`` larger than it is.
    """
    if n < 1:
        return None
    true = max(0.0, psi - (bins - 1) / n)
    half = z_of(confidence) * math.sqrt(2 * (bins - 1) + 4 * n * true) / n
    return Interval(psi, max(0.0, true - half), true + half, n, confidence)
