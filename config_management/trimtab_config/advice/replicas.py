"""Replicas ahead of forecast peaks: how many servers a group of ``workload: Deployment`` needs for the hours to come.

A site server runs one replica (replicas = the group's ``deviceCount``, each on a host of its own), and a replica has the CPU
that the limits of the group's deployments add up to. Needed are as many as keep the upper bound of the busiest hour within
``SHARE`` of that CPU. DaemonSets have no replicas to choose: one runs on every device.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from trimtab_config.advice.advice import Advice, Topic
from trimtab_config.plan.capacity import runtime_deployments, sum_of_limits
from trimtab_config.restore.fields import field_path, set_fields
from trimtab_config.restore.proof import object_key
from trimtab_config.spec.kinds import EdgeAIDeploymentSpec, Workload

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from trimtab_config.advice.advice import Saving
    from trimtab_config.advice.trials import Trials
    from trimtab_config.plan.placement import GroupPlan

SHARE = Fraction(4, 5)
_WORTH = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Peak:
    """The busiest hour of those that were looked at: cores in use in the whole group, and their upper bound."""

    at: datetime
    cores: float
    high: float
    hours: int


def enough_replicas(trials: Trials, plans: Mapping[str, GroupPlan], peaks: Mapping[str, Peak]) -> Iterator[Advice]:
    """More servers where the peak needs them, fewer where that saves money by every bound."""
    for name in sorted(peaks.keys() & plans.keys()):
        plan, peak = plans[name], peaks[name]
        deployments = runtime_deployments(plan)
        if not deployments or not all(_is_deployment(each.spec) for each in deployments):
            continue
        each = sum_of_limits(deployments).cpu.value
        now = plan.group.spec.device_count
        if not each:
            continue
        needed = max(1, -(-Fraction(peak.high) // (each * SHARE)))
        if needed == now:
            continue
        key = object_key(plan.group)
        restoration, problems = set_fields(trials.files, key, {field_path("spec.deviceCount"): int(needed)})
        if problems or not restoration.changes:
            continue
        savings = trials.saving(restoration.changes, [name], (lambda _: True) if needed > now else _pays)
        if savings is None:
            continue
        why = (
            f"the busiest of the next {peak.hours} hours is {peak.at:%Y-%m-%d %H}:00 with {peak.cores:,.1f} cores, at most"
            f" {peak.high:,.1f}; a replica has {float(each):g}, of which {float(SHARE):.0%} are to be used"
        )
        heed = (
            "each replica runs on a server of its own: add it to the cluster before that hour"
            if needed > now
            else "look at a forecast of a whole season before servers are taken away",
            "the estimate keeps the requests of a device, though those of the group stay what they are",
        )
        yield Advice(
            Topic.REPLICAS,
            key,
            f"run {needed} replicas instead of {now}",
            (name,),
            savings,
            (why,),
            heed,
            restoration.changes,
        )


def _is_deployment(spec: object) -> bool:
    return isinstance(spec, EdgeAIDeploymentSpec) and spec.workload is Workload.DEPLOYMENT


def _pays(savings: tuple[Saving, ...]) -> bool:
    return any(saving.value >= _WORTH for saving in savings) and all(saving.low > -_WORTH for saving in savings)
