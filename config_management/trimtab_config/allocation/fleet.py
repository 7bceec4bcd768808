"""What the fleet says about devices and deployments that the expressions need, in whole numbers. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from trimtab_config.cost.reservation import reserved_shares
from trimtab_config.plan.planner import Planner
from trimtab_config.spec.kinds import EdgeAIDeploymentSpec
from trimtab_config.spec.nearest import nearest
from trimtab_config.spec.tags import tags_of
from trimtab_kernel.problems import Collector, InputError, Problem, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trimtab_config.catalog import Catalog
    from trimtab_config.spec.kinds import DeviceGroupSpec, Document

_MICROS = 1_000_000


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """One device group: core-microseconds of a second, bytes of memory, what models reserve of a second, and their tags."""

    document: Document
    capacity: int
    memory: int
    requests: Mapping[str, int]
    tags: Mapping[str, tuple[tuple[str, str], ...]]


def group_facts(catalog: Catalog, names: Iterable[str]) -> dict[str, GroupFacts]:
    """Facts of the groups that a history names. Raises InputError (F410) for one that the fleet does not have."""
    planner = Planner(catalog)
    problems = Collector()
    found = {}
    for name in sorted(names):
        if name not in catalog.groups:
            near = nearest(name, catalog.groups)
            expected = "a device group of the fleet"
            hint = f'did you mean "{near}"?' if near else "name the fleet as it was when the history was written"
            problems.extend([Problem("F410", field="device_group", got=quoted(name), expected=expected, hint=hint)])
            continue
        plan, wrong = planner.plan(name)
        problems.extend(wrong)
        if wrong:
            continue
        spec: DeviceGroupSpec = plan.group.spec
        shares = reserved_shares(plan)
        capacity = int(spec.hardware.cpu.value * _MICROS)
        requests: dict[str, int] = {}
        tags: dict[str, tuple[tuple[str, str], ...]] = {}
        for placement in plan.placements:
            document = placement.document
            tags.setdefault(placement.model, tags_of(document))
            if isinstance(document.spec, EdgeAIDeploymentSpec):
                share = shares[(document.metadata.namespace, document.metadata.name)]
                own = int(share * capacity + Fraction(1, 2))
                requests[placement.model] = max(own, requests.get(placement.model, 0))
        found[name] = GroupFacts(plan.group, capacity, int(spec.hardware.memory.value), requests, tags)
    if problems.sorted():
        raise InputError(*problems.sorted())
    return found
