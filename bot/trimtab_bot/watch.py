"""What is watched: which figure of which model, on which device groups, against which limit. Made from Git alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab_bot.findings import Concern
from trimtab_config.cost.estimate import core_hour
from trimtab_config.plan.mobile import is_meant_for
from trimtab_kernel.problems import InputError
from trimtab_kernel.verdict import Limit, Side

if TYPE_CHECKING:
    from collections.abc import Iterator
    from decimal import Decimal

    from trimtab_config.catalog import Catalog
    from trimtab_config.spec.kinds import (
        AIAlignmentPolicySpec,
        EdgeAIDeploymentSpec,
        FinOpsPolicySpec,
        OnDeviceModelSpec,
    )
    from trimtab_kernel.money import Grade


@dataclass(frozen=True, slots=True)
class CoreHour:
    """What one core costs for one hour, with the bounds of the price book. ``source`` names the book."""

    value: Decimal
    low: Decimal
    high: Decimal
    currency: str
    grade: Grade
    source: str


@dataclass(frozen=True, slots=True)
class Unpriced:
    """Why a group's core-hour has no price: one lowercase phrase."""

    reason: str


@dataclass(frozen=True, slots=True)
class WatchedGroup:
    """A device group that the watched deployments name. ``price`` matters to the concern of cost alone."""

    name: str
    price: CoreHour | Unpriced


@dataclass(frozen=True, slots=True)
class WatchTarget:
    """One limit of one policy, for all versions of one model, pooled over the groups of the deployments that refer to both.

    ``unit`` is ``ratio``, or the currency of a ceiling. ``cohorts`` are those that the model declares; others that
    devices may report are not judged. ``problem`` says why nothing can be judged (``""`` where all is well).
    """

    concern: Concern
    model: str
    policy: str
    limit: Limit
    confidence: float
    unit: str
    groups: tuple[WatchedGroup, ...]
    cohorts: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class _Use:
    """One manifest that puts a model on device groups under policies."""

    model: str
    groups: frozenset[str]
    alignment_policy: str | None
    finops_policy: str | None


def watch_targets(catalog: Catalog, price_book: str | None = None) -> tuple[WatchTarget, ...]:
    """What the deployments and OnDeviceModels of a tree ask to be watched, sorted by concern, model and policy.

    A model whose deployments refer to two policies is judged against each on the groups of its own deployments. A
    reference that leads nowhere is skipped: `trimtab validate` reports it. ``price_book`` names the book to use instead
    of the newest that prices a group's region. Pure: equal trees give equal targets.
    """
    fairness: dict[tuple[str, str], set[str]] = {}
    cost: dict[tuple[str, str], set[str]] = {}
    for use in _uses(catalog):
        if use.alignment_policy is not None:
            fairness.setdefault((use.model, use.alignment_policy), set()).update(use.groups)
        if use.finops_policy is not None:
            cost.setdefault((use.model, use.finops_policy), set()).update(use.groups)
    prices = {
        name: _price(catalog, name, price_book) for name in sorted({name for names in cost.values() for name in names})
    }
    targets = [
        *(_fairness_target(catalog, model, policy, groups) for (model, policy), groups in fairness.items()),
        *(_cost_target(catalog, model, policy, groups, prices) for (model, policy), groups in cost.items()),
    ]
    found = [target for target in targets if target is not None]
    return tuple(sorted(found, key=lambda target: (target.concern.value, target.model, target.policy)))


def _uses(catalog: Catalog) -> Iterator[_Use]:
    groups: dict[str, set[str]] = {}
    for name in catalog.groups:
        for deployment in catalog.deployments_of(name):
            groups.setdefault(f"{deployment.metadata.namespace}/{deployment.metadata.name}", set()).add(name)
    for key, document in catalog.deployments.items():
        edge: EdgeAIDeploymentSpec = document.spec
        chosen = frozenset(groups.get(key, ()))
        yield _Use(edge.model_ref.name, chosen, edge.ai_alignment_policy_ref, edge.finops_policy_ref)
    for document in catalog.on_device_models.values():
        mobile: OnDeviceModelSpec = document.spec
        meant = (name for name, group in catalog.groups.items() if is_meant_for(mobile.target_devices, group))
        yield _Use(mobile.model_id, frozenset(meant), mobile.ai_alignment_policy_ref, mobile.finops_policy_ref)


def _fairness_target(catalog: Catalog, model: str, policy: str, groups: set[str]) -> WatchTarget | None:
    document = catalog.alignment_policies.get(policy)
    if document is None:
        return None
    spec: AIAlignmentPolicySpec = document.spec
    fairness = spec.fairness
    if fairness is None:
        return None
    declared = catalog.models[model].spec.alignment if model in catalog.models else None
    unpriced = Unpriced("fairness needs no price")
    return WatchTarget(
        concern=Concern.FAIRNESS,
        model=model,
        policy=policy,
        limit=Limit(Side.AT_LEAST, float(fairness.minimum), fairness.minimum_sample),
        confidence=float(fairness.confidence),
        unit="ratio",
        groups=tuple(WatchedGroup(name, unpriced) for name in sorted(groups)),
        cohorts=tuple(sorted(declared.attribute.cohorts)) if declared else (),
        problem="" if declared else "the model declares no sensitive attribute (spec.alignment)",
    )


def _cost_target(
    catalog: Catalog, model: str, policy: str, groups: set[str], prices: dict[str, CoreHour | Unpriced]
) -> WatchTarget | None:
    document = catalog.finops_policies.get(policy)
    if document is None:
        return None
    spec: FinOpsPolicySpec = document.spec
    ceilings = spec.ceilings
    ceiling = ceilings.cost_per_1k_inferences
    if ceiling is None:
        return None
    return WatchTarget(
        concern=Concern.COST,
        model=model,
        policy=policy,
        limit=Limit(Side.AT_MOST, float(ceiling.amount), ceilings.minimum_sample),
        confidence=float(ceilings.confidence),
        unit=ceiling.currency,
        groups=tuple(WatchedGroup(name, prices[name]) for name in sorted(groups)),
    )


def _price(catalog: Catalog, group: str, price_book: str | None) -> CoreHour | Unpriced:
    try:
        figure, currency, book = core_hour(catalog, group, price_book)
    except InputError as error:
        problem = error.problems[0]
        return Unpriced(f"{problem.code} {problem.got}" if problem.got else problem.code)
    return CoreHour(figure.value, figure.low, figure.high, currency, figure.grade, book)
