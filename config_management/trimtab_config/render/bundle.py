"""The objects of one device group, and the one function that every door of the compiler calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trimtab_config.cost.amounts import amount_text, significant_text
from trimtab_config.cost.estimate import Estimator
from trimtab_config.cost.report import CostReport, total_of
from trimtab_config.plan.capacity import capacity_problems, runtime_deployments
from trimtab_config.plan.egress import egress_problems
from trimtab_config.plan.planner import Planner, held_problems
from trimtab_config.policy.gate import refuses
from trimtab_config.policy.input import PolicyInputs
from trimtab_config.policy.interface import Decision, PolicyLevel
from trimtab_config.policy.review import budget_problems, unknown_rules
from trimtab_config.render.decisions import DevicePolicies
from trimtab_config.render.evidence import offline_evidence
from trimtab_config.render.monitoring import operator_objects, rules_config_map
from trimtab_config.render.names import MANAGED_BY, cost_name, desired_name, labels, narrowed_name
from trimtab_config.render.network import ingress, network_policy
from trimtab_config.render.options import Monitoring, RenderOptions
from trimtab_config.render.workload import PORTS, SERVE_PORT_NAME, runtime_objects
from trimtab_config.spec.kinds import EdgeAIDeploymentSpec, Workload
from trimtab_config.spec.plain import plain_document
from trimtab_config.spec.tags import tags_of
from trimtab_kernel import vocabulary
from trimtab_kernel.canonical import canonical_json
from trimtab_kernel.desired import (
    MAX_BYTES,
    MAX_MODELS,
    DesiredDocument,
    DesiredModel,
    InferenceRules,
    ModelPolicy,
    OffloadTarget,
    model_bytes,
)
from trimtab_kernel.problems import Collector, Problem
from trimtab_kernel.records import dataclass
from trimtab_kernel.verdict import Verdict

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterable, Mapping, Sequence

    from trimtab_config.catalog import Catalog
    from trimtab_config.cost.report import Row
    from trimtab_config.plan.placement import GroupPlan, Placement
    from trimtab_config.policy.gate import PolicyGate
    from trimtab_config.render.evidence import Evidence
    from trimtab_config.spec.kinds import AIAlignmentPolicySpec, Document, Evaluation
    from trimtab_kernel.canonical import Json

_MOST_CHANGES = 1000
_VARIABLE = "${"
_DIGEST_KEY = b'"sourceDigest":"'  # quotes within a text are escaped in JSON: this is the key
_DEFAULTS = RenderOptions()
_UNJUDGED = Decision.of(())
COST_FILE = "cost.json"
"""Key of the cost report in its ConfigMap."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """Everything that is applied for one group: Kubernetes objects sorted by apiVersion, kind, namespace and name.

    ``objects`` are plain JSON values, and never empty: a group without models has its empty desired document and cost
    report, since an empty output would let a host tool prune everything.
    """

    group: str
    namespace: str
    objects: tuple[Mapping[str, Any], ...]
    desired: DesiredDocument
    costs: CostReport
    findings: tuple[Problem, ...] = ()
    """What policies say of it without refusing it: warnings (F502) and rules on trial (F503)."""


def compile_group(
    catalog: Catalog, group_name: str, options: RenderOptions = _DEFAULTS
) -> tuple[Bundle | None, tuple[Problem, ...]]:
    """The bundle of one group, or the problems that keep it from being rendered (then the bundle is None).

    The catalog must come from a tree without problems: an object that was refused would be missing from the output,
    and pruned. Raises KeyError for a group that the catalog does not have.
    """
    return Compiler(catalog, options).compile(group_name)


def fleet_problems(
    catalog: Catalog,
    options: RenderOptions = _DEFAULTS,
    gate: PolicyGate | None = None,
    as_of: datetime.date | None = None,
) -> tuple[Problem, ...]:
    """What keeps any group from being rendered, what is asked for and held, and what policies find: for validation.

    Policies are asked with the day ``as_of``, and about the budgets of the whole fleet as well.
    """
    compiler = Compiler(catalog, options, gate, as_of)
    problems = Collector()
    plans: list[GroupPlan] = []
    costs: list[CostReport] = []
    for name in catalog.groups:
        plan, bundle, found = compiler.plan_and_compile(name)
        plans.append(plan)
        problems.extend(found)
        if bundle is not None:
            problems.extend(bundle.findings)
            costs.append(bundle.costs)
    problems.extend(held_problems(plans))
    if gate is not None:
        problems.extend(unknown_rules(gate, catalog))
        if len(costs) == len(plans):
            problems.extend(budget_problems(gate, PolicyInputs(catalog, offline_evidence, as_of), costs))
    return problems.sorted()


class Compiler:
    """Compiles groups of one catalog, one after another; what is the same for many groups is worked out once."""

    def __init__(
        self,
        catalog: Catalog,
        options: RenderOptions = _DEFAULTS,
        gate: PolicyGate | None = None,
        as_of: datetime.date | None = None,
    ) -> None:
        """``gate`` judges every placement by policy, a group in one call; None asks nobody.

        ``as_of`` is the day that it judges by; None, as when rendering, where no date may matter.
        """
        self._catalog = catalog
        self._options = options
        self._gate = gate
        self._inputs = None if gate is None else PolicyInputs(catalog, self._evidence_of, as_of)
        self._changes = 0
        self._planner = Planner(catalog)
        self._estimator = Estimator(catalog, options.price_book)
        self._devices = DevicePolicies(catalog)
        self._plain: dict[int, tuple[Document, dict[str, Json], bool]] = {}
        self._model_texts: dict[tuple[object, ...], tuple[Placement, bytes, bytes]] = {}
        self._evidence: dict[tuple[int, int], tuple[AIAlignmentPolicySpec, Evaluation, Evidence | None]] = {}

    def after(self, catalog: Catalog, options: RenderOptions | None = None) -> Compiler:
        """A compiler of the tree as it is after a change, which gives what a new one would give.

        What was worked out of objects that the two catalogs share (the very same ones, of files that did not change) is
        kept. After very many changes it begins anew, so that what is kept of objects that are gone stays little.
        """
        found = Compiler(catalog, self._options if options is None else options, self._gate)
        found._changes = self._changes + 1
        if found._changes >= _MOST_CHANGES:
            found._changes = 0
            return found
        found._planner = self._planner.after(catalog)
        found._estimator = self._estimator.after(catalog, found._options.price_book)
        found._plain, found._evidence, found._model_texts = self._plain, self._evidence, self._model_texts
        if catalog.differs_in_groups_alone(self._catalog):
            # What policies are told of a model depends on all deployments, and on no group but the one in question.
            found._inputs = self._inputs
        return found

    def forms(self, documents: Iterable[Document]) -> tuple[list[Any], ...]:
        """What was written out of ``documents`` and what they hold, for :meth:`know` in a later process."""
        kept = {id(document) for document in documents}
        plain = [found for key, found in self._plain.items() if key in kept]
        return (*self._planner.digests.forms(kept), plain)

    def know(
        self, documents: Iterable[Any], versions: Iterable[Any], models: Iterable[Any], plain: Iterable[Any]
    ) -> None:
        """Take what :meth:`forms` gave, of the very same objects, as written out."""
        self._planner.digests.know(documents, versions, models)
        self._plain.update((id(each[0]), each) for each in plain)

    def compile(self, group_name: str) -> tuple[Bundle | None, tuple[Problem, ...]]:
        """As :func:`compile_group`."""
        _, bundle, problems = self.plan_and_compile(group_name)
        return bundle, problems

    def plan_and_compile(self, group_name: str) -> tuple[GroupPlan, Bundle | None, tuple[Problem, ...]]:
        """The plan, and the bundle or the problems."""
        problems = Collector()
        plan, found = self._planner.plan(group_name)
        problems.extend(found)
        problems.extend(capacity_problems(plan))
        problems.extend(egress_problems(plan, self._catalog.alignment_policies))
        costs, found = self._estimator.estimate(plan)
        problems.extend(found)
        desired = desired_document(plan, self._devices)
        content = self._desired_bytes(plan, desired)
        report = costs.to_bytes()
        problems.extend(_size_problems(plan, len(desired.models), {"desired document": content, "cost report": report}))
        problems.extend(_name_problems(plan))
        if problems.problems:
            return plan, None, problems.sorted()
        decisions = self._decisions(plan, costs)
        if self._gate is not None:
            for placement, decision in zip(plan.placements, decisions, strict=True):
                if decision.findings:
                    problems.extend(self._gate.problems(placement.document, decision))
        findings = problems.sorted()
        if refusals := tuple(filter(refuses, findings)):
            return plan, None, refusals
        metadata = plan.group.metadata
        objects = self._objects(plan, content, report, costs.rows, decisions)
        objects.sort(key=_object_key)
        return plan, Bundle(metadata.name, metadata.namespace, tuple(objects), desired, costs, findings), ()

    def _desired_bytes(self, plan: GroupPlan, desired: DesiredDocument) -> bytes:
        """The document's canonical bytes. But for its source's digest a model's text is the same in all groups of a kind."""
        if len({model.model for model in desired.models}) < len(desired.models):
            return desired.to_bytes()  # refused as a repetition
        texts: dict[str, bytes] = {}
        for placement, model in zip(plan.placements, desired.models, strict=True):
            target, stable, percent = placement.target, placement.stable, placement.percent
            if not isinstance(placement.document.spec, EdgeAIDeploymentSpec):
                texts[model.model] = model_bytes(model)
                continue
            network = placement.conditions.network
            judged = () if model.policy is None else model.policy.tables
            key = (
                id(placement.document),
                id(target),
                id(stable),
                percent.numerator,
                percent.denominator,
                network,
                placement.conditions.window,
                judged,
            )
            known = self._model_texts.get(key)
            digest = str(model.source_digest).encode()
            if known is None:
                before, _, after = model_bytes(model).partition(_DIGEST_KEY + digest)
                # With what the key names by identity, so that the ids stay their own.
                known = self._model_texts[key] = (placement, before + _DIGEST_KEY, after)
            texts[model.model] = known[1] + digest + known[2]
        return desired.to_bytes_of(texts)

    def _decisions(self, plan: GroupPlan, costs: CostReport) -> Sequence[Decision]:
        """What policy says of each placement; nothing where nobody is asked."""
        if self._gate is None or self._inputs is None:
            return [_UNJUDGED] * len(plan.placements)
        return self._gate.decide(self._inputs.of_group(plan, costs))

    def _objects(
        self, plan: GroupPlan, desired: bytes, report: bytes, rows: Sequence[Row], decisions: Sequence[Decision]
    ) -> list[dict[str, Any]]:
        name = plan.group.metadata.name
        summary = cost_annotations(rows)
        objects = [
            _config_map(plan.group, desired_name(name), "desired", vocabulary.DESIRED_FILE, desired, {}),
            _config_map(plan.group, cost_name(name), "cost", COST_FILE, report, summary),
        ]
        if self._options.with_namespace:
            objects.append(_namespace(plan.group.metadata.namespace))
        deployments = runtime_deployments(plan)
        if deployments:
            objects += runtime_objects(plan.group, deployments, summary, self._options.monitoring)
            objects.append(network_policy(plan, tuple(PORTS.values())))
            if deployments[0].spec.workload is Workload.DEPLOYMENT:
                objects.append(ingress(plan.group, SERVE_PORT_NAME))
            if self._options.monitoring is Monitoring.OPERATOR:
                objects += operator_objects(plan.group, tuple(PORTS))
            else:
                objects.append(rules_config_map(plan.group))
        by_deployment: dict[tuple[str, str, str], list[Row]] = {}
        for row in rows:
            by_deployment.setdefault((row.kind, row.namespace, row.name), []).append(row)
        for placement, decision in zip(plan.placements, decisions, strict=True):
            own = placement.document.metadata
            found = by_deployment.get((placement.document.kind, own.namespace, own.name), [])
            objects.append(self._narrowed(plan, placement, found, decision))
        for item in objects:
            _keep_from_substitution(item)
        return objects

    def _narrowed(
        self, plan: GroupPlan, placement: Placement, rows: Sequence[Row], decision: Decision
    ) -> dict[str, Any]:
        """The deployment as it stands for this group alone."""
        document = placement.document
        group = plan.group.metadata
        written, dollars = self._plain_of(document)
        spec: dict[str, Any] = dict(_mapping(written["spec"]))
        targets = dict(_mapping(spec.get("targetDevices", {})))
        targets["labels"] = {**_mapping(targets.get("labels", {})), vocabulary.FLEET_GROUP: group.name}
        spec["targetDevices"] = targets
        if isinstance(document.spec, EdgeAIDeploymentSpec):
            # The object has another name than the deployment, so the salt is said: waves must not be dealt anew.
            spec["rollout"] = {**_mapping(spec.get("rollout", {})), "salt": placement.salt}
        own = document.metadata
        annotations = {
            **own.annotations,
            **cost_annotations(rows),
            **{f"{vocabulary.COST_TAG_PREFIX}{name}": value for name, value in tags_of(document)},
            **_placement_annotations(group.name, placement),
            **self._alignment_annotations(placement, decision),
        }
        if dollars:
            annotations[vocabulary.FLUX_SUBSTITUTE] = vocabulary.FLUX_DISABLED
        return {
            "apiVersion": document.api_version,
            "kind": document.kind,
            "metadata": {
                "name": narrowed_name(own.name, group.name),
                "namespace": group.namespace,
                "labels": {**own.labels, **labels(group.name, "deployment")},
                "annotations": annotations,
            },
            "spec": spec,
        }

    def _plain_of(self, document: Document) -> tuple[dict[str, Json], bool]:
        """The document as JSON, and whether a variable of Flux could stand in it."""
        found = self._plain.get(id(document))
        if found is None:
            written = plain_document(document)
            found = self._plain[id(document)] = (document, written, _VARIABLE in canonical_json(written).decode())
        return found[1], found[2]

    def _evidence_of(self, policy: AIAlignmentPolicySpec, evaluation: Evaluation) -> Evidence | None:
        key = (id(policy), id(evaluation))
        found = self._evidence.get(key)
        if found is None:
            found = self._evidence[key] = (policy, evaluation, offline_evidence(policy, evaluation))
        return found[2]

    def _alignment_annotations(self, placement: Placement, decision: Decision) -> dict[str, str]:
        """The policy, and the verdict over the version's own evaluation and what rules of policy found, with reasons.

        A warning of policy is a breach that is let through and told.
        """
        reference = placement.document.spec.ai_alignment_policy_ref
        policy = None if reference is None else self._catalog.alignment_policies.get(reference)
        found: dict[str, str] = {}
        verdict, reasons = None, []
        if policy is not None:
            found[vocabulary.ALIGNMENT_POLICY] = policy.metadata.name
            evidence = self._evidence_of(policy.spec, placement.target.evaluation)
            if evidence is not None:
                verdict = evidence.verdict
                reasons.append(evidence.text)
        for finding in decision.findings:
            # Rules on trial, and those that cannot be sure, are no breach.
            if finding.level is not PolicyLevel.WARN or not finding.rule.startswith("alignment."):
                continue
            verdict = Verdict.BREACH
            reasons.append(f"{finding.level.value} {finding.rule}: got {finding.got}, expected {finding.expected}")
        if policy is not None and verdict is None:
            verdict = Verdict.FINE
            reasons.append("no rule of policy has anything against it")
        if verdict is not None:
            found[vocabulary.ALIGNMENT_VERDICT] = verdict.value
            found[vocabulary.ALIGNMENT_EVIDENCE] = "; ".join(reasons)
        return found


def desired_document(plan: GroupPlan, policies: DevicePolicies) -> DesiredDocument:
    """What the group's devices should run, and the rules that they judge it by."""
    group = plan.group
    judged = [policies.of_model(placement) for placement in plan.placements]
    models = tuple(map(_desired_model, plan.placements, judged))
    tables = policies.tables(judged, group.metadata.name)
    return DesiredDocument(group.metadata.name, group.metadata.namespace, group.spec.jurisdiction, models, tables)


def _desired_model(placement: Placement, policy: ModelPolicy | None) -> DesiredModel:
    document = placement.document
    flags: Mapping[str, bool] = getattr(document.spec, "feature_flags", {})
    return DesiredModel(
        model=placement.model,
        kind=document.kind,
        namespace=document.metadata.namespace,
        name=document.metadata.name,
        salt=placement.salt,
        percent=placement.percent,
        target=placement.target.artifact,
        stable=placement.stable.artifact if placement.stable else None,
        source_digest=placement.source_digest,
        alignment=placement.alignment,
        conditions=placement.conditions,
        tags=tags_of(document),
        flags=tuple(sorted(flags.items())),
        inference=_inference_rules(document.spec),
        policy=policy,
    )


def _inference_rules(spec: object) -> InferenceRules | None:
    """What the devices enforce; None where nothing is asked for."""
    if not isinstance(spec, EdgeAIDeploymentSpec):
        return None
    budget, offload = spec.inference, spec.offload
    rules = InferenceRules(
        maximum_per_minute=budget.maximum_per_minute,
        daily_cpu_seconds=budget.daily_cpu_seconds,
        daily_data=None if budget.daily_data is None else int(budget.daily_data.value),
        offload=OffloadTarget(offload.endpoint, offload.jurisdiction, offload.when) if offload is not None else None,
    )
    return rules if rules != InferenceRules() else None


def cost_annotations(rows: Sequence[Row]) -> dict[str, str]:
    """The cost of some rows as annotations, rounded so that noise makes no difference; none without rows.

    The cost per thousand inferences is that of the dearest row. Rows are of one group, so of one currency and book.
    """
    if not rows:
        return {}
    total = total_of((row.total for row in rows), complete=not any(row.absent for row in rows))
    found = {
        vocabulary.COST_MONTHLY: amount_text(total.value),
        vocabulary.COST_LOW: amount_text(total.low),
        vocabulary.COST_HIGH: amount_text(total.high),
        vocabulary.COST_CURRENCY: rows[0].currency,
        vocabulary.COST_GRADE: total.grade.value,
        vocabulary.COST_UPDATE_BYTES: str(sum(row.update_bytes for row in rows)),
        vocabulary.COST_PRICE_BOOK: rows[0].price_book,
    }
    dearest = max((row.per_1k.value for row in rows if row.per_1k is not None), default=None)
    if dearest is not None:
        found[vocabulary.COST_PER_1K] = significant_text(dearest)
    return found


def _placement_annotations(group: str, placement: Placement) -> dict[str, str]:
    found = {
        vocabulary.FLEET_GROUP: group,
        vocabulary.FLEET_MODEL: placement.model,
        vocabulary.FLEET_VERSION: placement.target.version,
        vocabulary.FLEET_VARIANT: placement.target.artifact.tier,
        vocabulary.FLEET_SOURCE_DIGEST: str(placement.source_digest),
    }
    if placement.wave:
        found[vocabulary.FLEET_WAVE] = placement.wave
    return found


def _namespace(name: str) -> dict[str, Any]:
    """The Namespace, the same for every group that stands in it: no host tool may prune it with one of them."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "labels": {"app.kubernetes.io/managed-by": MANAGED_BY},
            "annotations": {
                vocabulary.ARGOCD_SYNC_OPTIONS: vocabulary.ARGOCD_KEEP,
                vocabulary.FLUX_PRUNE: vocabulary.FLUX_DISABLED,
            },
        },
    }


def _keep_from_substitution(item: dict[str, Any]) -> None:
    """Mark an object in whose data or annotations Flux would put variables in.

    The rest of an object holds names, numbers and words of this package; a narrowed deployment, which holds anything, is
    marked where it is made.
    """
    annotations: dict[str, str] = item["metadata"].get("annotations", {})
    data: Mapping[str, str] = item.get("data", {})
    if any(_VARIABLE in text for text in annotations.values()) or any(_VARIABLE in text for text in data.values()):
        annotations = item["metadata"].setdefault("annotations", annotations)
        annotations[vocabulary.FLUX_SUBSTITUTE] = vocabulary.FLUX_DISABLED


def _config_map(
    group: Document, name: str, component: str, key: str, content: bytes, annotations: Mapping[str, str]
) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": group.metadata.namespace,
        "labels": labels(group.metadata.name, component),
        "annotations": {vocabulary.FLEET_GROUP: group.metadata.name, **annotations},
    }
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {key: content.decode()}}


def _size_problems(plan: GroupPlan, models: int, contents: Mapping[str, bytes]) -> Iterable[Problem]:
    """What a ConfigMap cannot hold, or the device's reader would refuse (F310)."""
    origin = plan.group.origin
    name = plan.group.metadata.name
    if models > MAX_MODELS:
        yield Problem("F310", origin.file, origin.line, "", f"{models} models in {name}", f"at most {MAX_MODELS}")
        return
    for what, content in contents.items():
        if len(content) > MAX_BYTES:
            got = f"a {what} of {len(content)} bytes for {name}"
            yield Problem("F310", origin.file, origin.line, "", got, f"at most {MAX_BYTES} bytes")


def _name_problems(plan: GroupPlan) -> Iterable[Problem]:
    """Two deployments of one name from two namespaces would become one object (F309)."""
    seen: dict[tuple[str, str], Document] = {}
    for placement in plan.placements:
        document = placement.document
        first = seen.setdefault((document.kind, document.metadata.name), document)
        if first is not document:
            yield Problem(
                "F309",
                document.origin.file,
                document.origin.line_of("metadata.name"),
                "metadata.name",
                f"{document.metadata.name} in namespace {document.metadata.namespace}, and the same name in namespace"
                f" {first.metadata.namespace} for group {plan.group.metadata.name}",
                f"names that differ: both are rendered into namespace {plan.group.metadata.namespace}",
                f"rename one of them ({first.origin.file}:{first.origin.line})",
            )


def _mapping(value: object) -> Mapping[str, Any]:
    assert isinstance(value, dict)
    return value


def _object_key(item: Mapping[str, Any]) -> tuple[str, str, str, str]:
    metadata = item["metadata"]
    return item["apiVersion"], item["kind"], metadata.get("namespace", ""), metadata["name"]
