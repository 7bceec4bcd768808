"""Whether what a group's deployments ask for is there on one device."""

from __future__ import annotations

from fractions import Fraction
from math import lcm
from typing import TYPE_CHECKING

from trimtab_config.spec.kinds import EdgeAIDeploymentSpec, ResourceLimits, Workload
from trimtab_kernel.problems import Problem
from trimtab_kernel.quantity import Quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trimtab_config.plan.placement import GroupPlan
    from trimtab_config.spec.kinds import DeviceGroupSpec, Document

AGENT_CPU = Quantity(Fraction(1, 10))
AGENT_MEMORY = Quantity(Fraction(128 * 2**20))
"""Limits of the agent beside the server, on top of the deployments' own."""
_NOTHING = Quantity(Fraction(0))


def runtime_deployments(plan: GroupPlan) -> tuple[Document, ...]:
    """The deployments that the group's runtime serves: its EdgeAIDeployments, in the order of the plan."""
    documents = (placement.document for placement in plan.placements)
    return tuple(document for document in documents if isinstance(document.spec, EdgeAIDeploymentSpec))


def sum_of_limits(deployments: Sequence[Document]) -> ResourceLimits:
    """The limits of one runtime that serves all of ``deployments``; ``gpu`` is None where none asks for one."""
    limits: list[ResourceLimits] = [deployment.spec.resource_limits for deployment in deployments]
    gpu = _sum(each.gpu for each in limits if each.gpu is not None)
    return ResourceLimits(
        _sum(each.cpu for each in limits), _sum(each.memory for each in limits), gpu if gpu.value else None
    )


def _sum(quantities: Iterable[Quantity]) -> Quantity:
    """The exact sum, over one denominator as long as it holds: adding fractions one by one takes five times as long."""
    over, total = 1, 0
    for quantity in quantities:
        value = quantity.value
        if over % value.denominator:
            wider = lcm(over, value.denominator)
            total *= wider // over
            over = wider
        total += value.numerator * (over // value.denominator)
    return Quantity(Fraction(total, over))


def capacity_problems(plan: GroupPlan) -> tuple[Problem, ...]:
    """Limits beyond the device (F306: the scheduler would never place the runtime), and two kinds of workload (F308).

    The problem is written at the last deployment in the order of the plan; the others are named.
    """
    deployments = runtime_deployments(plan)
    if not deployments:
        return ()
    spec: DeviceGroupSpec = plan.group.spec
    name = plan.group.metadata.name
    limits = sum_of_limits(deployments)
    last = deployments[-1]
    together = " + ".join(deployment.metadata.name for deployment in deployments)
    problems = []
    asked = (
        ("cpu", limits.cpu, AGENT_CPU, spec.hardware.cpu),
        ("memory", limits.memory, AGENT_MEMORY, spec.hardware.memory),
        ("gpu", limits.gpu or _NOTHING, _NOTHING, Quantity(Fraction(spec.hardware.gpus))),
    )
    for resource, wanted, agent, there in asked:
        if wanted + agent <= there or not wanted.value:
            continue
        field = f"spec.resourceLimits.{resource}"
        own = f" and {agent} for the agent" if agent.value else ""
        problems.append(
            Problem(
                "F306",
                last.origin.file,
                last.origin.line_of(field),
                field,
                f"{wanted} for {together}{own} in group {name}",
                f"at most {there}, which a device of the group has",
                "lower the limits, or choose labels that leave the group out",
            )
        )
    kinds: dict[Workload, Document] = {}
    for deployment in deployments:
        kinds.setdefault(deployment.spec.workload, deployment)
    if len(kinds) > 1:
        first, second = list(kinds.values())[:2]
        problems.append(
            Problem(
                "F308",
                second.origin.file,
                second.origin.line_of("spec.workload"),
                "spec.workload",
                f"{second.spec.workload.value}, and {first.spec.workload.value} in {first.metadata.name}"
                f" for the same group {name}",
                "one kind for all deployments of a group: they share one runtime",
            )
        )
    return tuple(problems)
