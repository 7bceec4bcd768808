"""What policies are asked: one JSON document for each placement, made of the plan and its costs. Pure.

The document (version 1); absent keys mean that nothing is said, and a rule that needs more denies:

| key | what |
|---|---|
| ``version`` | 1 |
| ``subject`` | ``kind``, ``namespace``, ``name`` of the deployment, and ``group`` |
| ``group`` | ``labels``, ``jurisdiction``, ``devices``, ``os``, ``power``, ``connectivity``, ``owner`` |
| ``model`` | ``name``, ``capabilities``, ``modalities``, and ``versions``: the target first, then the stable one |
| ``model.versions[]`` | ``version``, ``role`` (target or stable), ``tier``, ``format``, ``quantization``, ``size`` (bytes), ``signed``, ``released`` and ``released_day``, ``pipeline``, ``per_1k`` (``value_pico``, ``low_pico``, ``high_pico``, ``currency``, ``text``) or null, ``fairness`` (``verdict``, ``text``) or null, ``drift`` likewise, where the policy limits it |
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
from trimtab_config.render.evidence import offline_drift
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
        DeviceGroupSpec,
        Document,
        Evaluation,
        FinOpsPolicySpec,
        ModelSpec,
        ModelVersion,
        PolicyException,
    )
    from trimtab_kernel.money import Figure
    from trimtab_kernel.quantity import Quantity

    EvidenceOf = Callable[[AIAlignmentPolicySpec, Evaluation], Evidence | None]

VERSION = 1
_EPOCH = datetime.date(1970, 1, 1)
_PLACES = {"micro": 6, "pico": 12}
_MOST_FIGURES = 10_000
_NO_COST = '{"monthly":{"value_micro":0,"low_micro":0,"high_micro":0,"currency":"","text":"nothing"}}'
_LEVELS = {Level.DENY: "deny", Level.WARN: "warn", Level.DRY_RUN: "dry-run"}


class PolicyInputs:
    """Makes input documents for one catalog. What is the same for many groups is worked out once.

    ``evidence_of`` judges a version's own evaluation by a policy's fairness limit. ``as_of`` is the day that dates are
    judged by; None where no date is known, as when rendering.
    """

    def __init__(self, catalog: Catalog, evidence_of: EvidenceOf, as_of: datetime.date | None = None) -> None:
        self._catalog = catalog
        self._evidence_of = evidence_of
        self._end = "}" if as_of is None else f',"as_of_day":{_day(as_of)}}}'
        self._texts: dict[tuple[int, str], tuple[object, str]] = {}
        self._tables: dict[int, tuple[Document, dict[str, ModelVersion]]] = {}
        self._used: dict[str, set[str]] | None = None
        self._figures: dict[tuple[Decimal, Decimal, Decimal, str, str], str] = {}

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
            text = (
                f'{{"version":{VERSION},"subject":{_json(_subject(policy, ""))},"finops":{self._budget_policy(policy)}'
                f',"alignment":null,"tags":{{}},"cost":{self._month(rows[name], policy)}{self._end}'
            )
            found.append((policy, text.encode()))
        return found

    def _placement(
        self, group: Document, placement: Placement, rows: Mapping[tuple[str, str, str], list[Row]]
    ) -> bytes:
        document = placement.document
        own = document.metadata
        costs = rows.get((document.kind, own.namespace, own.name), [])
        finops = self._catalog.finops_policies.get(document.spec.finops_policy_ref or "")
        alignment = self._catalog.alignment_policies.get(document.spec.ai_alignment_policy_ref or "")
        # What many documents share is text already: most of a document is put together, not written anew.
        text = (
            f'{{"version":{VERSION},"subject":{_json(_subject(document, group.metadata.name))}'
            f',"group":{self._text(group, _group)},"model":{self._model(placement, costs, alignment)}'
            f"{self._text(document, _of_document)}"
            f',"cost":{self._month(costs, finops)}'
            f',"finops":{self._policy(finops, _finops, document, group)}'
            f',"alignment":{self._policy(alignment, _alignment, document, group)}{self._end}'
        )
        return text.encode()

    def _text(self, document: Document, make: Callable[[Document], str]) -> str:
        """``make`` of a document, once."""
        known = self._texts.get((id(document), make.__name__))
        if known is None:
            known = self._texts[id(document), make.__name__] = (document, make(document))
        return known[1]

    def _policy(
        self, policy: Document | None, make: Callable[[Document], str], document: Document, group: Document
    ) -> str:
        if policy is None:
            return "null"
        own = [item for item in policy.spec.exceptions if _excuses(item, document, group)]
        return _with_exceptions(self._text(policy, make), own)

    def _budget_policy(self, policy: Document) -> str:
        own = [item for item in policy.spec.exceptions if not item.deployments and not item.groups]
        return _with_exceptions(self._text(policy, _finops), own)

    def _model(self, placement: Placement, rows: Sequence[Row], policy: Document | None) -> str:
        is_edge = isinstance(placement.document.spec, EdgeAIDeploymentSpec)
        model = self._catalog.models.get(placement.model) if is_edge else None
        versions = self._version("target", placement.target, model, rows, policy)
        if placement.stable is not None:
            versions = f"{versions},{self._version('stable', placement.stable, model, rows, policy)}"
        said = '"capabilities":[],"modalities":[]' if model is None else self._text(model, self._of_model)
        return f'{{"name":{_json(placement.model)},{said},"versions":[{versions}]}}'

    def _of_model(self, model: Document) -> str:
        spec: ModelSpec = model.spec
        if self._used is None:
            self._used = _used_versions(self._catalog)
        used = self._used.get(model.metadata.name, set())
        found: dict[str, Any] = {"capabilities": list(spec.capabilities), "modalities": list(spec.modalities)}
        days = [version.released for version in spec.versions if version.released is not None]
        if days:
            found["newest"] = max(days).isoformat()
            found["newest_day"] = _day(max(days))
        found["unused"] = [
            {"version": version.version, **_release(version)}
            for version in spec.versions
            if version.version not in used
        ]
        return _json(found)[1:-1]

    def _version(
        self, role: str, choice: Choice, model: Document | None, rows: Sequence[Row], policy: Document | None
    ) -> str:
        key = (id(choice), "" if policy is None else policy.metadata.name)
        known = self._texts.get(key)
        if known is None:
            found = self._of_choice(choice, model, None if policy is None else policy.spec)
            known = self._texts[key] = (choice, _json(found)[1:])
        return f'{{"role":"{role}","per_1k":{self._per_1k(rows, choice.version)},{known[1]}'

    def _of_choice(
        self, choice: Choice, model: Document | None, policy: AIAlignmentPolicySpec | None
    ) -> dict[str, Any]:
        artifact = choice.artifact
        released = None if model is None else self._table(model).get(choice.version)
        found: dict[str, Any] = {
            "version": choice.version,
            "tier": artifact.tier,
            "format": artifact.format,
            "quantization": artifact.quantization,
            "size": artifact.size,
            "signed": False,
            "fairness": None,
        }
        if released is not None:
            found["signed"] = any(
                variant.digest == artifact.digest and variant.signature is not None for variant in released.variants
            )
            found.update(_release(released))
            if released.lineage.pipeline is not None:
                found["pipeline"] = released.lineage.pipeline
        evidence = None if policy is None else self._evidence_of(policy, choice.evaluation)
        if evidence is not None:
            found["fairness"] = {"verdict": evidence.verdict.value, "text": evidence.text}
        drift = None if policy is None else offline_drift(policy, choice.evaluation)
        if drift is not None:
            found["drift"] = {"verdict": drift.verdict.value, "text": drift.text}
        return found

    def _table(self, model: Document) -> dict[str, ModelVersion]:
        known = self._tables.get(id(model))
        if known is None:
            table = {version.version: version for version in model.spec.versions}
            known = self._tables[id(model)] = (model, table)
        return known[1]

    def _per_1k(self, rows: Sequence[Row], version: str) -> str:
        """The dearest of the rows of one version; null where there is none, or one has no figure."""
        found: tuple[Figure, str] | None = None
        for row in rows:
            if row.version != version:
                continue
            if row.per_1k is None:
                return "null"
            if found is None or row.per_1k.high > found[0].high:
                found = (row.per_1k, row.currency)
        return "null" if found is None else self._figure(*found, "pico")

    def _month(self, rows: Sequence[Row], policy: Document | None) -> str:
        """What a month costs, in one currency: nothing is said where it is another one than the budget's, which denies."""
        if not rows:
            return _NO_COST
        unit = rows[0].currency
        budget = None if policy is None else policy.spec.budget
        if any(row.currency != unit for row in rows) or (budget is not None and budget.monthly.currency != unit):
            return "{}"
        total = rows[0].total if len(rows) == 1 else total_of((row.total for row in rows), complete=True)
        return f'{{"monthly":{self._figure(total, unit, "micro")}}}'

    def _figure(self, figure: Figure, currency: str, unit: str) -> str:
        key = (figure.value, figure.low, figure.high, currency, unit)
        known = self._figures.get(key)
        if known is None:
            if len(self._figures) >= _MOST_FIGURES:
                self._figures.clear()
            known = self._figures[key] = _figure(figure, currency, unit)
        return known


def _json(value: dict[str, Any] | list[dict[str, Any]] | str) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _subject(document: Document, group: str) -> dict[str, str]:
    metadata = document.metadata
    return {"kind": document.kind, "namespace": metadata.namespace, "name": metadata.name, "group": group}


def _group(group: Document) -> str:
    spec: DeviceGroupSpec = group.spec
    return _json(
        {
            "labels": dict(group.metadata.labels),
            "jurisdiction": spec.jurisdiction,
            "devices": spec.device_count,
            "os": spec.hardware.os,
            "power": spec.power.source.value,
            "connectivity": spec.connectivity.value,
            "owner": spec.owner.team,
        }
    )


def _release(version: ModelVersion) -> dict[str, Any]:
    day = version.released
    return {} if day is None else {"released": day.isoformat(), "released_day": _day(day)}


def _used_versions(catalog: Catalog) -> dict[str, set[str]]:
    """By model, the versions that some deployment names: as its own, as the stable one, or in an experiment."""
    found: dict[str, set[str]] = {}
    for document in catalog.deployments.values():
        spec: EdgeAIDeploymentSpec = document.spec
        used = found.setdefault(spec.model_ref.name, set())
        used.add(spec.model_ref.version)
        if spec.rollout.stable is not None:
            used.add(spec.rollout.stable.version)
        if spec.experiment is not None:
            used.update(arm.version for arm in spec.experiment.arms)
    return found


def _excuses(exception: PolicyException, document: Document, group: Document) -> bool:
    deployments, groups = exception.deployments, exception.groups
    return (not deployments or document.metadata.name in deployments) and (not groups or group.metadata.name in groups)


def _with_exceptions(text: str, exceptions: Sequence[PolicyException]) -> str:
    if not exceptions:
        return text
    found = [
        {
            "rule": item.rule,
            "owner": item.owner,
            "reason": item.reason,
            "until": item.until.isoformat(),
            "until_day": _day(item.until),
        }
        for item in exceptions
    ]
    return f'{text[:-1]},"exceptions":{_json(found)}}}'


def _levels(levels: Mapping[str, Level]) -> dict[str, str]:
    return {rule: _LEVELS[level] for rule, level in levels.items()}


def _of_document(document: Document) -> str:
    """What a deployment says by itself, whatever the group: the inside of an object, after a comma."""
    return f",{_json(_said(document))[1:-1]}"


def _said(document: Document) -> dict[str, Any]:
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


def _finops(policy: Document) -> str:
    spec: FinOpsPolicySpec = policy.spec
    found: dict[str, Any] = {"name": policy.metadata.name, "level": _LEVELS[spec.level]}
    if spec.levels:
        found["levels"] = _levels(spec.levels)
    caps = {
        "cpu": _cap(spec.caps.cpu, 1000, "milli"),
        "memory": _cap(spec.caps.memory, 1, "bytes"),
        "gpu": _cap(spec.caps.gpu, 1000, "milli"),
    }
    found["caps"] = {name: cap for name, cap in caps.items() if cap is not None}
    ceiling = spec.ceilings.cost_per_1k_inferences
    if ceiling is not None:
        found["ceiling"] = {
            "pico": _whole(ceiling.amount, _PLACES["pico"], ROUND_FLOOR),
            "currency": ceiling.currency,
            "text": price_text(ceiling.amount, ceiling.currency),
        }
    if spec.budget is not None:
        found["budget"] = {
            "micro": _whole(spec.budget.monthly.amount, _PLACES["micro"], ROUND_FLOOR),
            "currency": spec.budget.monthly.currency,
            "text": _amount(spec.budget.monthly),
        }
    update = _cap(spec.update_bytes, 1, "bytes")
    if update is not None:
        found["update"] = update
    if spec.update_window is not None:
        found["window"] = _window(spec.update_window)
    found["required_tags"] = list(spec.required_tags)
    return _json(found)


def _alignment(policy: Document) -> str:
    spec: AIAlignmentPolicySpec = policy.spec
    found: dict[str, Any] = {
        "name": policy.metadata.name,
        "level": _LEVELS[spec.level],
        "levels": _levels(spec.levels),
        "prohibited_models": list(spec.prohibited_models),
        "prohibited_capabilities": list(spec.prohibited_capabilities),
        "egress": {"allowed": spec.data_egress.allowed, "jurisdictions": list(spec.data_egress.jurisdictions)},
    }
    if spec.fairness is not None:
        found["fairness"] = {
            "minimum_sample": spec.fairness.minimum_sample,
            "text": decimal_text(spec.fairness.minimum),
        }
    if spec.drift is not None:
        found["drift"] = {"minimum_sample": spec.drift.minimum_sample, "text": decimal_text(spec.drift.maximum_psi)}
    if spec.maximum_inferences_per_minute is not None:
        found["maximum_per_minute"] = spec.maximum_inferences_per_minute
    if spec.maximum_model_age is not None:
        found["maximum_age_days"] = spec.maximum_model_age.days
    if spec.refresh_cycle is not None:
        found["refresh_days"] = spec.refresh_cycle.days
    if spec.unused_version_age is not None:
        found["unused_days"] = spec.unused_version_age.days
    if spec.require_signature:
        found["signature"] = True
    if spec.approved_pipelines:
        found["approved_pipelines"] = list(spec.approved_pipelines)
    if spec.jurisdictions:
        found["jurisdictions"] = list(spec.jurisdictions)
    return _json(found)


def policy_parts(policy: Document, group: str | None) -> dict[str, Any]:
    """A FinOpsPolicy or AIAlignmentPolicy as input documents have it, with all exceptions for ``group`` (None: for any).

    Each exception also has ``deployments`` and ``groups``, the names that it is for (all, where there are none).
    """
    found: dict[str, Any] = json.loads((_finops if policy.kind == "FinOpsPolicy" else _alignment)(policy))
    found["exceptions"] = [
        {
            "rule": item.rule,
            "owner": item.owner,
            "reason": item.reason,
            "until": item.until.isoformat(),
            "until_day": _day(item.until),
            "deployments": list(item.deployments),
            "groups": list(item.groups),
        }
        for item in policy.spec.exceptions
        if group is None or not item.groups or group in item.groups
    ]
    return found


def release_day(version: ModelVersion) -> tuple[str, int] | None:
    """The day of release, as text and in days since 1970-01-01; None where it is not known."""
    return None if version.released is None else (version.released.isoformat(), _day(version.released))


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


def _figure(figure: Figure, currency: str, unit: str) -> str:
    places = _PLACES[unit]
    shown = price_text(figure.value, currency) if unit == "pico" else f"{amount_text(figure.value)} {currency}"
    found: dict[str, Any] = {
        f"{name}_{unit}": _whole(amount, places, ROUND_CEILING)
        for name, amount in (("value", figure.value), ("low", figure.low), ("high", figure.high))
    }
    return _json({**found, "currency": currency, "text": shown})


def _amount(amount: Amount) -> str:
    return f"{decimal_text(amount.amount)} {amount.currency}"
