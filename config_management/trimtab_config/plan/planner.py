"""The plan of a device group: every deployment that selects it, with wave, holds and variant resolved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimtab_config.plan.holds import held_version
from trimtab_config.plan.mobile import ineligibility, is_meant_for
from trimtab_config.plan.placement import Choice, GroupPlan, HeldVersion, Placement, Skipped
from trimtab_config.plan.rollouts import EVERYONE, current_wave, percent_for
from trimtab_config.plan.sources import SourceDigests
from trimtab_config.plan.variants import NoFit, choose_variant, device_class
from trimtab_config.spec.kinds import Format, Level, ModelSpec, NetworkConstraint, Tier, UpdateStrategyType
from trimtab_kernel.desired import Alignment, Artifact, Cohort, Conditions, UpdateWindow
from trimtab_kernel.identity import IdentityError, parse_name
from trimtab_kernel.problems import Collector, Problem, quoted
from trimtab_kernel.records import dataclass
from trimtab_kernel.waves import default_salt

if TYPE_CHECKING:
    from collections.abc import Iterable
    from fractions import Fraction

    from trimtab_config.catalog import Catalog
    from trimtab_config.plan.variants import Fit
    from trimtab_config.spec.kinds import (
        DeviceGroupSpec,
        Document,
        EdgeAIDeploymentSpec,
        FinOpsPolicySpec,
        ModelAlignment,
        ModelVersion,
        OnDeviceModelSpec,
    )

RUNTIME_OS = "linux"
"""Where the runtime of an EdgeAIDeployment runs: K3s nodes."""
_WINDOW_RULE = "finops.update-window"
_STRICTNESS = {NetworkConstraint.ANY: 0, NetworkConstraint.UNMETERED: 1, NetworkConstraint.WIFI: 2}


def plan_group(catalog: Catalog, group_name: str) -> tuple[GroupPlan, tuple[Problem, ...]]:
    """The plan of one group. Where there are problems the plan is incomplete and must not be rendered.

    Raises KeyError for a group that the catalog does not have.
    """
    return Planner(catalog).plan(group_name)


@dataclass(frozen=True, slots=True)
class _Version:
    """A version on a group: the choice, or the reason why there is none."""

    choice: Choice
    held: HeldVersion | None


class Planner:
    """Plans groups of one catalog, one after another; what is the same for many groups is worked out once."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._digests = SourceDigests()
        self._versions: dict[int, tuple[Document, dict[str, ModelVersion]]] = {}
        self._choices: dict[tuple[object, ...], tuple[ModelVersion, Choice | NoFit]] = {}
        self._holds = tuple(sorted(catalog.holds.values(), key=lambda hold: hold.metadata.name))

    def after(self, catalog: Catalog) -> Planner:
        """A planner of another catalog that keeps what was worked out of objects that are still the same ones."""
        found = Planner(catalog)
        found._digests, found._versions, found._choices = self._digests, self._versions, self._choices
        return found

    @property
    def digests(self) -> SourceDigests:
        """What was written out of documents to tell them apart."""
        return self._digests

    def plan(self, group_name: str) -> tuple[GroupPlan, tuple[Problem, ...]]:
        """As :func:`plan_group`."""
        group = self._catalog.groups[group_name]
        problems = Collector()
        placements: list[Placement] = []
        skipped: list[Skipped] = []
        for deployment in self._catalog.deployments_of(group_name):
            placement = self._edge(deployment, group, problems)
            if placement is not None:
                placements.append(placement)
        for model in self._catalog.on_device_models.values():
            targets = model.spec.target_devices
            if not is_meant_for(targets, group):
                continue
            reason = ineligibility(targets, group)
            if reason:
                skipped.append(Skipped(model, reason))
                continue
            placement = self._on_device(model, group, problems)
            if placement is not None:
                placements.append(placement)
        placements.sort(key=_order)
        _refuse_repeats(placements, group_name, problems)
        skipped.sort(key=lambda item: (item.document.metadata.namespace, item.document.metadata.name))
        return GroupPlan(group, tuple(placements), tuple(skipped)), problems.sorted()

    def plan_with(self, known: GroupPlan, document: Document) -> tuple[GroupPlan, tuple[Problem, ...]]:
        """The plan of a group in which ``document`` takes the place of the one of its kind, namespace and name in ``known``.

        ``known`` is the group's plan in a catalog that differs in that document alone. Problems are those of the document.
        """
        own, group, problems = _identity(document), known.group, Collector()
        kept = [each for each in known.placements if _identity(each.document) != own]
        skipped = tuple(each for each in known.skipped if _identity(each.document) != own)
        placement = None
        if document.kind == "EdgeAIDeployment":
            if any(each is document for each in self._catalog.deployments_of(group.metadata.name)):
                placement = self._edge(document, group, problems)
        elif is_meant_for(document.spec.target_devices, group):
            reason = ineligibility(document.spec.target_devices, group)
            placement = None if reason else self._on_device(document, group, problems)
        placements = sorted([*kept, placement] if placement is not None else kept, key=_order)
        return GroupPlan(group, tuple(placements), skipped), problems.sorted()

    # ------------------------------------------------------------ EdgeAIDeployment

    def _edge(self, deployment: Document, group: Document, problems: Collector) -> Placement | None:
        spec: EdgeAIDeploymentSpec = deployment.spec
        name = group.metadata.name
        if group.spec.hardware.os.lower() != RUNTIME_OS:
            problems.add(
                _problem(
                    "F305",
                    deployment,
                    "spec.targetDevices.labels",
                    f"group {name} with os {group.spec.hardware.os}",
                    f"groups with os {RUNTIME_OS}",
                    "choose labels that leave it out, or deliver an OnDeviceModel",
                )
            )
            return None
        model = self._catalog.models.get(spec.model_ref.name)
        if model is None:  # a reference problem of the catalog already
            return None
        target = self._version(deployment, model, spec.model_ref.version, "spec.modelRef.version", group, problems)
        if target is None:
            return None
        percent = percent_for(spec.rollout, name)
        wave = current_wave(spec.rollout)
        why = [] if percent == EVERYONE else [f"wave {wave.name if wave else spec.rollout.wave} reaches {percent} %"]
        stable = self._stable(deployment, model, group, percent, target, problems)
        held: tuple[HeldVersion, ...] = ()
        chosen, rest = target.choice, stable
        if target.held is not None:
            if stable is None:
                problems.add(
                    _problem(
                        "F303",
                        deployment,
                        "spec.modelRef.version",
                        f"{spec.model_ref.name} {target.held.version}, held in group {name} by {target.held.hold}",
                        "a version that no Hold keeps out, or a stable one to fall back to",
                        "name another version or spec.rollout.stable, or remove the Hold",
                    )
                )
                return None
            held, chosen, rest, percent = (target.held,), stable, None, EVERYONE
            why.append(f"{target.held.version} is held by {target.held.hold}: everyone runs stable {stable.version}")
        versions = [chosen.version] + ([rest.version] if rest else [])
        table = self._table(model)
        return Placement(
            document=deployment,
            model=spec.model_ref.name,
            asked=spec.model_ref.version,
            percent=percent,
            wave=wave.name if wave else "",
            target=chosen,
            stable=rest,
            salt=_salt(deployment, spec.rollout.salt),
            source_digest=self._digests.digest(deployment, group, model, [table[version] for version in versions]),
            conditions=Conditions(
                min_battery=spec.update.min_battery_level,
                network=_network(spec.update.network_constraint, group),
                window=self._window(deployment, group, spec.update.window),
            ),
            alignment=_alignment(model.spec.alignment),
            held=held,
            why=tuple(why),
        )

    def _window(self, document: Document, group: Document, own: str | None) -> UpdateWindow | None:
        """When devices may begin an update: the deployment's own window, which policy has judged already, or its policy's.

        The policy's own holds where its rule refuses what has none; a rule that warns, or is excused, binds no device.
        """
        policy = self._catalog.finops_policies.get(document.spec.finops_policy_ref or "")
        limits: FinOpsPolicySpec | None = None if policy is None else policy.spec
        text = own
        if text is None and limits is not None and limits.levels.get(_WINDOW_RULE, limits.level) is Level.DENY:
            excused = any(
                item.rule == _WINDOW_RULE
                and (not item.deployments or document.metadata.name in item.deployments)
                and (not item.groups or group.metadata.name in item.groups)
                for item in limits.exceptions
            )
            text = None if excused else limits.update_window
        if text is None:
            return None
        return UpdateWindow.parse(
            text, group.spec.time_zone, ways_back=True if limits is None else limits.rollback_any_time
        )

    def _stable(
        self,
        deployment: Document,
        model: Document,
        group: Document,
        percent: Fraction,
        target: _Version,
        problems: Collector,
    ) -> Choice | None:
        """What devices outside the wave run. A problem only where some device would need it and cannot have it."""
        spec: EdgeAIDeploymentSpec = deployment.spec
        if spec.rollout.stable is None or spec.rollout.stable.version == spec.model_ref.version:
            return None
        needed = percent < EVERYONE or target.held is not None
        sink = problems if needed else Collector()
        field = "spec.rollout.stable.version"
        stable = self._version(deployment, model, spec.rollout.stable.version, field, group, sink)
        if stable is None:
            return None
        if stable.held is not None:
            sink.add(
                _problem(
                    "F303",
                    deployment,
                    field,
                    f"{model.metadata.name} {stable.held.version}, held in group {group.metadata.name}"
                    f" by {stable.held.hold}",
                    "a stable version that no Hold keeps out",
                    "name another one, or advance the wave to all devices",
                )
            )
            return None
        return stable.choice

    def _table(self, model: Document) -> dict[str, ModelVersion]:
        found = self._versions.get(id(model))
        if found is None:
            spec: ModelSpec = model.spec
            found = self._versions[id(model)] = (model, {version.version: version for version in spec.versions})
        return found[1]

    def _version(
        self, deployment: Document, model: Document, version: str, field: str, group: Document, problems: Collector
    ) -> _Version | None:
        spec: EdgeAIDeploymentSpec = deployment.spec
        released = self._table(model).get(version)
        if released is None:  # a reference problem of the catalog already
            return None
        fit = self._choice(released, group, spec)
        name = group.metadata.name
        if isinstance(fit, NoFit):
            problems.add(
                _problem(
                    "F301",
                    deployment,
                    field,
                    f"{model.metadata.name} {version}, of which no variant fits group {name}",
                    "a variant that fits: " + ("; ".join(fit.reasons) or "the version has none"),
                    "release one for such devices, or choose labels that leave the group out",
                )
            )
            return None
        digest = fit.artifact.digest
        held = held_version(self._holds, model=model.metadata.name, version=version, digest=digest, group=name)
        return _Version(fit, held)

    def _choice(self, released: ModelVersion, group: Document, spec: EdgeAIDeploymentSpec) -> Choice | NoFit:
        """The variant for the group's kind of device: one answer for all groups that are alike in what variants ask."""
        memory = spec.resource_limits.memory
        key = (id(released), spec.tier.value, memory.value.numerator, memory.value.denominator, *device_class(group))
        known = self._choices.get(key)
        if known is not None:
            return known[1]
        fit = choose_variant(released.variants, group, spec.tier, memory)
        choice: Choice | NoFit = fit if isinstance(fit, NoFit) else _chosen(fit, released)
        self._choices[key] = (released, choice)
        return choice

    # ------------------------------------------------------------ OnDeviceModel

    def _on_device(self, document: Document, group: Document, problems: Collector) -> Placement | None:
        spec: OnDeviceModelSpec = document.spec
        targets, name = spec.target_devices, group.metadata.name
        try:
            model = parse_name(spec.model_id)
        except IdentityError as error:
            # The id becomes a directory on the device and a label of its metrics.
            expected = str(error).removeprefix("expected ")
            problems.add(_problem("F307", document, "spec.modelId", quoted(spec.model_id), expected))
            return None
        held = held_version(self._holds, model=model, version=spec.version, digest=spec.checksum, group=name)
        if held is not None:
            problems.add(
                _problem(
                    "F303",
                    document,
                    "spec.version",
                    f"{model} {spec.version}, held in group {name} by {held.hold}",
                    "a version that no Hold keeps out",
                    "deliver another version, or remove the Hold",
                )
            )
            return None
        strategy = spec.update_strategy
        percent = EVERYONE
        if strategy.type is UpdateStrategyType.STAGED_ROLLOUT and strategy.rollout_percentage is not None:
            percent = strategy.rollout_percentage
        artifact = Artifact(
            version=spec.version,
            tier=Tier.STANDARD.value,
            format=Format.OTHER.value,
            quantization=spec.inference_config.quantization or "none",
            uri=spec.model_uri,
            digest=spec.checksum,
            size=spec.size,
        )
        return Placement(
            document=document,
            model=model,
            asked=spec.version,
            percent=percent,
            wave="",
            target=Choice(artifact, ("an OnDeviceModel has one file",)),
            stable=None,
            salt=_salt(document, None),
            source_digest=self._digests.digest(document, group, None, ()),
            conditions=Conditions(
                min_battery=strategy.min_battery_level,
                network=_network(strategy.network_constraint, group),
                min_memory_mb=targets.min_memory_mb,
                min_os_version=targets.min_os_version,
                min_api_level=targets.min_api_level,
                window=self._window(document, group, None),
            ),
            why=() if percent == EVERYONE else (f"staged rollout reaches {percent} % of eligible devices",),
        )


def held_problems(plans: Iterable[GroupPlan]) -> tuple[Problem, ...]:
    """Every version that is asked for and held (F304), one problem for each deployment and Hold.

    Rendering goes on with the stable version; validation says so, since what is written in Git is not what runs.
    """
    problems = Collector()
    fallbacks: dict[tuple[int, str], tuple[Placement, HeldVersion, list[str]]] = {}
    for plan in plans:
        for placement in plan.placements:
            for held in placement.held:
                key = (id(placement.document), held.hold)
                groups = fallbacks.setdefault(key, (placement, held, []))[2]
                groups.append(plan.group.metadata.name)
    for placement, held, groups in fallbacks.values():
        problems.add(
            _problem(
                "F304",
                placement.document,
                "spec.modelRef.version",
                f"{placement.model} {held.version}, held by {held.hold} in {', '.join(groups)}",
                f"a version that is not held; {placement.target.version} is rendered instead",
                f"{held.owner} holds it: {held.reason}",
            )
        )
    return problems.sorted()


def _chosen(fit: Fit, released: ModelVersion) -> Choice:
    variant = fit.variant
    artifact = Artifact(
        version=released.version,
        tier=variant.tier.value,
        format=variant.format.value,
        quantization=variant.quantization,
        uri=variant.uri,
        digest=variant.digest,
        size=variant.size,
    )
    return Choice(artifact, fit.why, variant.profile, released.evaluation)


def _order(placement: Placement) -> tuple[str, str, str, str]:
    metadata = placement.document.metadata
    return placement.model, placement.document.kind, metadata.namespace, metadata.name


def _refuse_repeats(placements: list[Placement], group: str, problems: Collector) -> None:
    first: dict[str, Placement] = {}
    for placement in placements:
        earlier = first.setdefault(placement.model, placement)
        if earlier is placement:
            continue
        other = earlier.document
        problems.add(
            _problem(
                "F302",
                placement.document,
                "spec.modelRef.name" if hasattr(placement.document.spec, "model_ref") else "spec.modelId",
                f"{placement.model}, which {other.kind} {other.metadata.name} brings to group {group} as well",
                "each model once in a group",
                f"change the labels of one of them ({other.origin.file}:{other.origin.line})",
            )
        )


def _identity(document: Document) -> tuple[str, str, str]:
    return document.kind, document.metadata.namespace, document.metadata.name


def _problem(code: str, document: Document, field: str, got: str, expected: str, hint: str = "") -> Problem:
    return Problem(code, document.origin.file, document.origin.line_of(field), field, got, expected, hint)


def _salt(document: Document, given: str | None) -> str:
    return given or default_salt(document.metadata.namespace, document.metadata.name, document.kind)


def _network(asked: NetworkConstraint, group: Document) -> str | None:
    """The stricter of what the deployment and the group ask for; None where neither asks for anything."""
    spec: DeviceGroupSpec = group.spec
    strictest = max(asked, spec.network.constraint, key=_STRICTNESS.__getitem__)
    return None if strictest is NetworkConstraint.ANY else strictest.value


def _alignment(alignment: ModelAlignment | None) -> Alignment | None:
    if alignment is None:
        return None
    attribute, outcome = alignment.attribute, alignment.outcome
    return Alignment(
        attribute_input=attribute.input,
        attribute_column=attribute.column,
        cohorts=tuple(
            Cohort(name, rule.value, rule.low, rule.high) for name, rule in sorted(attribute.cohorts.items())
        ),
        outcome_output=outcome.output,
        positive=outcome.positive,
        score_output=outcome.score.output if outcome.score else None,
        score_column=outcome.score.column if outcome.score else None,
    )
