"""What policies are asked: one JSON document for each placement, made of the plan and its costs. Pure.

The document (version 1); absent keys mean that nothing is said, and a rule that needs more denies:

| key | what |
|---|---|
| ``version`` | 1 |
| ``subject`` | ``kind``, ``namespace``, ``name`` of the deployment, and ``group`` |
| ``group`` | ``labels``, ``jurisdiction``, ``devices``, ``os``, ``power``, ``connectivity``, ``owner`` |
| ``model`` | ``name``, ``capabilities``, ``modalities``, and ``versions``: the target first, then the stable one |
| ``model.versions[]`` | ``version``, ``role`` (target or stable), ``tier``, ``format``, ``quantization``, ``size`` (bytes), ``signed``, ``released`` and ``released_day``, ``pipeline``, ``per_1k`` (``value_pico``, ``low_pico``, ``high_pico``, ``currency``, ``text``) or null, ``fairness`` (``verdict``, ``text``) or null |
| ``model.unused`` | versions that no deployment of the fleet names: ``version``, ``released``, ``released_day`` |
| ``limits`` | ``cpu.milli``, ``memory.bytes``, ``gpu.milli``, each with ``text`` as it was written; EdgeAIDeployment alone |
| ``tags``, ``inference``, ``update``, ``offload`` | of the deployment |
| ``cost.monthly`` | ``value_micro``, ``low_micro``, ``high_micro``, ``currency``, ``text`` |
| ``finops``, ``alignment`` | the policies that it refers to, or null |
| ``as_of_day`` | days since 1970-01-01, where a date is known; a rendering knows none |

Every number is a whole one: thousandths of a core or a GPU, bytes, minutes of the day, days, millionths of a currency
(``micro``) and millionths of those (``pico``). Quantities are rounded up, limits down, so that rounding never lets
anything through. A FinOpsPolicy is asked about too, with the month of all that refers to it, under ``subject.kind``
FinOpsPolicy.
"""

from __future__ import annotations

import datetime
import json
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext
from typing import TYPE_CHECKING, Any

from trimtab_config.cost.amounts import amount_text
from trimtab_config.cost.report import decimal_text, total_of
from trimtab_config.spec.kinds import EdgeAIDeploymentSpec, Level, OnDeviceModelSpec
from trimtab_config.spec.tags import tags_of
from trimtab_kernel.money import price_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from trimtab_config.catalog import Catalog
    from trimtab_config.cost.report import CostReport, Row
    from trimtab_config.plan.placement import Choice, GroupPlan, Placement
    from trimtab_config.render.evidence import Evidence
    from trimtab_config.spec.kinds import (
        AIAlignmentPolicySpec,
        Amount,
        Document,
        Evaluation,
        FinOpsPolicySpec,
        ModelVersion,
    )
    from trimtab_kernel.money import Figure
    from trimtab_kernel.quantity import Quantity

    EvidenceOf = Callable[[AIAlignmentPolicySpec, Evaluation], Evidence | None]

VERSION = 1
_EPOCH = datetime.date(1970, 1, 1)
_MICRO, _PICO = 6, 12
_LEVELS = {Level.DENY: "deny", Level.WARN: "warn", Level.DRY_RUN: "dry-run"}


class PolicyInputs:
    """Makes input documents for one catalog. What is the same for many groups is worked out once.

    ``evidence_of`` judges a version's own evaluation by a policy's fairness limit. ``as_of`` is the day that dates are
    judged by; None where no date is known, as when rendering.
    """

    def __init__(self, catalog: Catalog, evidence_of: EvidenceOf, as_of: datetime.date | None = None) -> None:
        self._catalog = catalog
        self._evidence_of = evidence_of
        self._as_of = as_of
        self._policies: dict[int, tuple[Document, dict[str, Any]]] = {}
        self._tables: dict[int, tuple[Document, dict[str, ModelVersion]]] = {}
        self._static: dict[int, tuple[Document, dict[str, Any]]] = {}
        self._groups: dict[int, tuple[Document, dict[str, Any]]] = {}

    def of_group(self, plan: GroupPlan, costs: CostReport) -> list[bytes]:
        """One document for each placement of the plan, in its order."""
        rows: dict[tuple[str, str, str], list[Row]] = {}
        for row in costs.rows:
            rows.setdefault((row.kind, row.namespace, row.name), []).append(row)
        return [self._placement(plan.group, placement, rows) for placement in plan.placements]

    def of_budgets(self, reports: Iterable[CostReport]) -> list[tuple[Document, bytes]]:
        """One document for each FinOpsPolicy with a budget, with the month of all rows of ``reports`` that refer to it."""
        rows: dict[str, list[Row]] = {}
        for report in reports:
            for row in report.rows:
                table = self._catalog.deployments if row.kind == "EdgeAIDeployment" else self._catalog.on_device_models
                document = table.get(f"{row.namespace}/{row.name}")
                if document is not None and document.spec.finops_policy_ref is not None:
                    rows.setdefault(document.spec.finops_policy_ref, []).append(row)
        found = []
        for name, policy in self._catalog.finops_policies.items():
            if policy.spec.budget is None or name not in rows:
                continue
            asked = {
                "version": VERSION,
                "subject": _subject(policy, ""),
                "finops": self._finops(policy, None, ""),
                "alignment": None,
                "tags": {},
                "cost": _month(rows[name], policy.spec.budget.monthly.currency),
            }
            found.append((policy, self._text(asked)))
        return found

    def _placement(
        self, group: Document, placement: Placement, rows: Mapping[tuple[str, str, str], list[Row]]
    ) -> bytes:
        document = placement.document
        own = document.metadata
        costs = rows.get((document.kind, own.namespace, own.name), [])
        finops = self._catalog.finops_policies.get(document.spec.finops_policy_ref or "")
        alignment = self._catalog.alignment_policies.get(document.spec.ai_alignment_policy_ref or "")
        budget = None if finops is None or finops.spec.budget is None else finops.spec.budget.monthly.currency
        asked = {
            "version": VERSION,
            "subject": _subject(document, group.metadata.name),
            "group": self._group(group),
            "model": self._model(placement, costs, None if alignment is None else alignment.spec),
            **self._of_document(document),
            "cost": _month(costs, budget),
            "finops": None if finops is None else self._finops(finops, document, group.metadata.name),
            "alignment": None if alignment is None else self._alignment(alignment, document, group.metadata.name),
        }
        return self._text(asked)

    def _text(self, asked: dict[str, Any]) -> bytes:
        if self._as_of is not None:
            asked["as_of_day"] = _day(self._as_of)
        return json.dumps(asked, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()

    def _group(self, group: Document) -> dict[str, Any]:
        known = self._groups.get(id(group))
        if known is None:
            spec = group.spec
            found = {
                "labels": dict(group.metadata.labels),
                "jurisdiction": spec.jurisdiction,
                "devices": spec.device_count,
                "os": spec.hardware.os,
                "power": spec.power.source.value,
                "connectivity": spec.connectivity.value,
                "owner": spec.owner.team,
            }
            known = self._groups[id(group)] = (group, found)
        return known[1]

    def _model(self, placement: Placement, rows: Sequence[Row], policy: AIAlignmentPolicySpec | None) -> dict[str, Any]:
        document = placement.document
        model = self._catalog.models.get(placement.model) if isinstance(document.spec, EdgeAIDeploymentSpec) else None
        chosen = [("target", placement.target)]
        if placement.stable is not None:
            chosen.append(("stable", placement.stable))
        versions = [self._version(role, choice, model, rows, policy) for role, choice in chosen]
        found: dict[str, Any] = {"name": placement.model, "capabilities": [], "modalities": [], "versions": versions}
        if model is not None:
            found["capabilities"] = list(model.spec.capabilities)
            found["modalities"] = list(model.spec.modalities)
        return found

    def _version(
        self,
        role: str,
        choice: Choice,
        model: Document | None,
        rows: Sequence[Row],
        policy: AIAlignmentPolicySpec | None,
    ) -> dict[str, Any]:
        artifact = choice.artifact
        released = None if model is None else self._table(model).get(choice.version)
        found: dict[str, Any] = {
            "version": choice.version,
            "role": role,
            "tier": artifact.tier,
            "format": artifact.format,
            "quantization": artifact.quantization,
            "size": artifact.size,
            "signed": False,
            "per_1k": _per_1k(row for row in rows if row.version == choice.version),
            "fairness": None,
        }
        if released is not None:
            found["signed"] = any(
                variant.digest == artifact.digest and variant.signature is not None for variant in released.variants
            )
            if released.released is not None:
                found["released"] = released.released.isoformat()
                found["released_day"] = _day(released.released)
            if released.lineage.pipeline is not None:
                found["pipeline"] = released.lineage.pipeline
        evidence = None if policy is None else self._evidence_of(policy, choice.evaluation)
        if evidence is not None:
            found["fairness"] = {"verdict": evidence.verdict.value, "text": evidence.text}
        return found

    def _table(self, model: Document) -> dict[str, ModelVersion]:
        known = self._tables.get(id(model))
        if known is None:
            table = {version.version: version for version in model.spec.versions}
            known = self._tables[id(model)] = (model, table)
        return known[1]

    def _of_document(self, document: Document) -> dict[str, Any]:
        known = self._static.get(id(document))
        if known is None:
            known = self._static[id(document)] = (document, _of_document(document))
        return known[1]

    def _finops(self, policy: Document, document: Document | None, group: str) -> dict[str, Any]:
        return self._with_exceptions(policy, _finops, document, group)

    def _alignment(self, policy: Document, document: Document, group: str) -> dict[str, Any]:
        return self._with_exceptions(policy, _alignment, document, group)

    def _with_exceptions(
        self, policy: Document, make: Callable[[Document], dict[str, Any]], document: Document | None, group: str
    ) -> dict[str, Any]:
        known = self._policies.get(id(policy))
        if known is None:
            known = self._policies[id(policy)] = (policy, make(policy))
        return known[1]


def _subject(document: Document, group: str) -> dict[str, str]:
    metadata = document.metadata
    return {"kind": document.kind, "namespace": metadata.namespace, "name": metadata.name, "group": group}


def _of_document(document: Document) -> dict[str, Any]:
    """What a deployment says by itself, whatever the group."""
    spec = document.spec
    found: dict[str, Any] = {"tags": dict(tags_of(document))}
    if isinstance(spec, OnDeviceModelSpec):
        return found
    limits = spec.resource_limits
    found["limits"] = {
        "cpu": {"milli": limits.cpu.milli, "text": str(limits.cpu)},
        "memory": {"bytes": limits.memory.units, "text": str(limits.memory)},
    }
    if limits.gpu is not None:
        found["limits"]["gpu"] = {"milli": limits.gpu.milli, "text": str(limits.gpu)}
    found["inference"] = {}
    if spec.inference.maximum_per_minute is not None:
        found["inference"]["maximum_per_minute"] = spec.inference.maximum_per_minute
    if spec.update.window is not None:
        found["update"] = {"window": _window(spec.update.window)}
    if spec.offload is not None:
        found["offload"] = {"endpoint": spec.offload.endpoint, "jurisdiction": spec.offload.jurisdiction}
    return found


def _finops(policy: Document) -> dict[str, Any]:
    spec: FinOpsPolicySpec = policy.spec
    found: dict[str, Any] = {"name": policy.metadata.name, "level": _LEVELS[spec.level]}
    caps = {
        "cpu": _cap(spec.caps.cpu, 1000, "milli"),
        "memory": _cap(spec.caps.memory, 1, "bytes"),
        "gpu": _cap(spec.caps.gpu, 1000, "milli"),
    }
    found["caps"] = {name: cap for name, cap in caps.items() if cap is not None}
    ceiling = spec.ceilings.cost_per_1k_inferences
    if ceiling is not None:
        found["ceiling"] = {
            "pico": _whole(ceiling.amount, _PICO, ROUND_FLOOR),
            "currency": ceiling.currency,
            "text": price_text(ceiling.amount, ceiling.currency),
        }
    if spec.budget is not None:
        found["budget"] = {
            "micro": _whole(spec.budget.monthly.amount, _MICRO, ROUND_FLOOR),
            "currency": spec.budget.monthly.currency,
            "text": _amount(spec.budget.monthly),
        }
    update = _cap(spec.update_bytes, 1, "bytes")
    if update is not None:
        found["update"] = update
    if spec.update_window is not None:
        found["window"] = _window(spec.update_window)
    found["required_tags"] = list(spec.required_tags)
    return found


def _alignment(policy: Document) -> dict[str, Any]:
    spec: AIAlignmentPolicySpec = policy.spec
    found: dict[str, Any] = {
        "name": policy.metadata.name,
        "level": _LEVELS[spec.level],
        "prohibited_models": list(spec.prohibited_models),
        "prohibited_capabilities": list(spec.prohibited_capabilities),
        "egress": {"allowed": spec.data_egress.allowed, "jurisdictions": list(spec.data_egress.jurisdictions)},
    }
    if spec.fairness is not None:
        found["fairness"] = {
            "minimum_sample": spec.fairness.minimum_sample,
            "text": decimal_text(spec.fairness.minimum),
        }
    if spec.maximum_inferences_per_minute is not None:
        found["maximum_per_minute"] = spec.maximum_inferences_per_minute
    if spec.maximum_model_age is not None:
        found["maximum_age_days"] = spec.maximum_model_age.days
    return found


def _cap(cap: Quantity | None, scale: int, unit: str) -> dict[str, Any] | None:
    """A limit, rounded down."""
    return None if cap is None else {unit: int(cap.value * scale // 1), "text": str(cap)}


def _window(text: str) -> dict[str, Any]:
    """``01:00-05:00`` in minutes of the day."""
    begin, _, end = text.partition("-")
    return {"from": _minute(begin), "until": _minute(end), "text": text}


def _minute(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)


def _day(date: datetime.date) -> int:
    return (date - _EPOCH).days


def _whole(amount: Decimal, places: int, rounding: str) -> int:
    with localcontext() as context:
        context.prec = 60
        return int(amount.scaleb(places).to_integral_value(rounding=rounding))


def _per_1k(rows: Iterable[Row]) -> dict[str, Any] | None:
    """The dearest of the rows of one version; None where one of them has no figure."""
    found: tuple[Figure, str] | None = None
    for row in rows:
        if row.per_1k is None:
            return None
        if found is None or row.per_1k.high > found[0].high:
            found = (row.per_1k, row.currency)
    if found is None:
        return None
    figure, currency = found
    return {
        "value_pico": _whole(figure.value, _PICO, ROUND_CEILING),
        "low_pico": _whole(figure.low, _PICO, ROUND_CEILING),
        "high_pico": _whole(figure.high, _PICO, ROUND_CEILING),
        "currency": currency,
        "text": price_text(figure.value, currency),
    }


def _month(rows: Sequence[Row], currency: str | None) -> dict[str, Any]:
    """What a month costs, in one currency: nothing is said where it is another one than the budget's, which denies."""
    currencies = {row.currency for row in rows}
    if len(currencies) != 1 or currency not in {None, *currencies}:
        return {} if rows else {"monthly": {"value_micro": 0, "low_micro": 0, "high_micro": 0, "text": "0"}}
    total = total_of((row.total for row in rows), complete=True)
    (unit,) = currencies
    return {
        "monthly": {
            "value_micro": _whole(total.value, _MICRO, ROUND_CEILING),
            "low_micro": _whole(total.low, _MICRO, ROUND_CEILING),
            "high_micro": _whole(total.high, _MICRO, ROUND_CEILING),
            "currency": unit,
            "text": f"{amount_text(total.value)} {unit}",
        }
    }


def _amount(amount: Amount) -> str:
    return f"{decimal_text(amount.amount)} {amount.currency}"
