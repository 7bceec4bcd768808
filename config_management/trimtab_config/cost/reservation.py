"""What deployments reserve of a device, whether they use it or not.

Rule of the OpenCost specification (v0.1, "Workload costs"): a workload costs the larger of what it requested and what
it used. A manifest's ``resourceLimits`` are its request: the scheduler places the runtime by them, so nobody else can
have them. A price book has one price for the whole device-hour, not one for each resource, so a deployment's share is
that of the resource of which it takes most: the dominant share of Ghodsi et al., "Dominant Resource Fairness", NSDI
2011, over CPU, memory and, where they are asked for, GPUs.

Two dominant shares can be of different resources, so that together they exceed a device on which both fit. They are
then scaled down to one device: models are never charged for more of it than there is. What no deployment reserves, the
agent's own limits included, is charged to no model here; sharing it out is a matter of allocation.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from trimtab_config.plan.capacity import runtime_deployments

if TYPE_CHECKING:
    from trimtab_config.plan.placement import GroupPlan
    from trimtab_config.spec.kinds import DeviceGroupSpec, Hardware, ResourceLimits

_WHOLE = Fraction(1)


def dominant_share(limits: ResourceLimits, hardware: Hardware) -> Fraction:
    """The largest of a deployment's shares of one device's CPU, memory and GPUs. At most 1 for limits that fit."""
    shares = [limits.cpu.value / hardware.cpu.value, limits.memory.value / hardware.memory.value]
    if limits.gpu is not None and hardware.gpus:
        shares.append(limits.gpu.value / hardware.gpus)
    return max(shares)


def reserved_shares(plan: GroupPlan) -> dict[tuple[str, str], Fraction]:
    """What each EdgeAIDeployment of a group, by namespace and name, reserves of one device: 0 to 1, together at most 1."""
    spec: DeviceGroupSpec = plan.group.spec
    shares = {
        (document.metadata.namespace, document.metadata.name): dominant_share(
            document.spec.resource_limits, spec.hardware
        )
        for document in runtime_deployments(plan)
    }
    together = sum(shares.values(), Fraction(0))
    if together <= _WHOLE:
        return shares
    return {key: share / together for key, share in shares.items()}
