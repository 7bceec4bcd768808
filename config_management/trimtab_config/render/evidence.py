"""What a version's own evaluation says of its alignment policy: known before any device runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab_kernel.freshness import Fresh
from trimtab_kernel.intervals import CohortCount, disparate_impact
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
