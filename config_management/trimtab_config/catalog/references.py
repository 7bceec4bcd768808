"""References between the objects of a tree: each must lead somewhere, and the message names the nearest right name."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from trimtab_config.spec.nearest import did_you_mean
from trimtab_config.spec.reader import Lost
from trimtab_kernel.problems import Problem, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trimtab_config.catalog.index import Catalog
    from trimtab_config.spec.kinds import Document, EdgeAIDeploymentSpec, HoldSpec, OnDeviceModelSpec

_SHOWN = 8  # names after "expected one of"


def reference_problems(catalog: Catalog, lost: Lost) -> tuple[Problem, ...]:
    """Everything that refers to nothing. What may have been among ``lost`` is not reported."""
    check = _Check(catalog, lost)
    for deployment in catalog.deployments.values():
        check.deployment(deployment)
    for model in catalog.on_device_models.values():
        check.on_device_model(model)
    for hold in catalog.holds.values():
        check.hold(hold)
    return tuple(check.problems)


def references_of(catalog: Catalog, document: Document, groups: Iterable[str]) -> tuple[Problem, ...]:
    """Of these problems those of one deployment or OnDeviceModel of the catalog, which reaches ``groups``."""
    check = _Check(catalog, Lost(), {id(document): set(groups)})
    if document.kind == "EdgeAIDeployment":
        check.deployment(document)
    else:
        check.on_device_model(document)
    return tuple(check.problems)


def _listed(names: Iterable[str]) -> str:
    known = sorted(names)
    if not known:
        return "a known name (the tree has none)"
    if len(known) == 1:
        return quoted(known[0])
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    return f"one of {', '.join(known[:_SHOWN])}{more}"


def _chosen(catalog: Catalog) -> dict[int, set[str]]:
    """The groups that each deployment reaches, by its identity."""
    found: dict[int, set[str]] = {}
    for name in catalog.groups:
        for deployment in catalog.deployments_of(name):
            found.setdefault(id(deployment), set()).add(name)
    return found


class _Check:
    def __init__(self, catalog: Catalog, lost: Lost, chosen: dict[int, set[str]] | None = None) -> None:
        self.catalog = catalog
        self.lost = lost
        self.problems: list[Problem] = []
        self.versions = {
            name: {version.version for version in model.spec.versions} for name, model in catalog.models.items()
        }
        self.chosen = _chosen(catalog) if chosen is None else chosen
        self.mobile_ids = {model.spec.model_id for model in catalog.on_device_models.values()}

    @cached_property
    def labels(self) -> dict[str, set[str]]:
        """The values that each label of the device groups has."""
        found: dict[str, set[str]] = {}
        for group in self.catalog.groups.values():
            for key, value in group.metadata.labels.items():
                found.setdefault(key, set()).add(value)
        return found

    def add(self, code: str, document: Document, path: str, got: str, expected: str, hint: str = "") -> None:
        origin = document.origin
        self.problems.append(Problem(code, origin.file, origin.line_of(path), path, got, expected, hint))

    def name(self, code: str, document: Document, path: str, kind: str, name: str, known: Iterable[str]) -> None:
        """``name`` must be among ``known``, the names of objects of ``kind``."""
        known = tuple(known)
        if name not in known and not self.lost.may_hold(kind, name):
            self.add(code, document, path, f"{kind} {quoted(name)}", _listed(known), did_you_mean(name, known))

    def deployment(self, document: Document) -> None:
        spec: EdgeAIDeploymentSpec = document.spec
        model = spec.model_ref.name
        self.name("F202", document, "spec.modelRef.name", "Model", model, self.catalog.models)
        versions = self.versions.get(model)
        if versions is not None:
            self.version(document, "spec.modelRef.version", model, spec.model_ref.version, versions)
            if spec.rollout.stable:
                self.version(document, "spec.rollout.stable.version", model, spec.rollout.stable.version, versions)
            for index, arm in enumerate(spec.experiment.arms if spec.experiment else ()):
                self.version(document, f"spec.experiment.arms[{index}].version", model, arm.version, versions)
        self.policies(document, spec)
        if not self.lost.may_hold("DeviceGroup"):
            self.groups(document, spec)

    def version(self, document: Document, path: str, model: str, version: str, known: set[str]) -> None:
        if version not in known:
            got = f"version {quoted(version)} of Model {model}"
            self.add("F203", document, path, got, _listed(known), did_you_mean(version, sorted(known), 0.8))

    def policies(self, document: Document, spec: EdgeAIDeploymentSpec | OnDeviceModelSpec) -> None:
        if spec.finops_policy_ref is not None:
            known = self.catalog.finops_policies
            self.name("F204", document, "spec.finopsPolicyRef", "FinOpsPolicy", spec.finops_policy_ref, known)
        if spec.ai_alignment_policy_ref is not None:
            known = self.catalog.alignment_policies
            name = spec.ai_alignment_policy_ref
            self.name("F204", document, "spec.aiAlignmentPolicyRef", "AIAlignmentPolicy", name, known)

    def groups(self, document: Document, spec: EdgeAIDeploymentSpec) -> None:
        chosen = self.chosen.get(id(document), set())
        if not chosen:
            self.nowhere(document, spec.target_devices.labels)
        for index, wave in enumerate(spec.rollout.waves):
            for position, group in enumerate(wave.groups):
                path = f"spec.rollout.waves[{index}].groups[{position}]"
                if group not in self.catalog.groups:
                    self.name("F205", document, path, "DeviceGroup", group, self.catalog.groups)
                elif chosen and group not in chosen:
                    hint = "spec.targetDevices.labels leave this group out"
                    self.add("F205", document, path, f"DeviceGroup {quoted(group)}", _listed(chosen), hint)

    def nowhere(self, document: Document, labels: Mapping[str, str]) -> None:
        """Labels that choose no group: nearly always a slip, and what it deploys would run nowhere in silence."""
        path = "spec.targetDevices.labels"
        for key, value in labels.items():
            where = f"{path}.{key}"
            if key not in self.labels:
                hint = did_you_mean(key, sorted(self.labels))
                self.add(
                    "F206",
                    document,
                    where,
                    f"label {quoted(key)}, which no device group has",
                    _listed(self.labels),
                    hint,
                )
                return
            if value not in self.labels[key]:
                got = f"{key}: {quoted(value)}, which no device group has"
                hint = did_you_mean(value, sorted(self.labels[key]))
                self.add("F206", document, where, got, _listed(self.labels[key]), hint)
                return
        got = ", ".join(f"{key}: {quoted(value)}" for key, value in labels.items())
        self.add("F206", document, path, got, "labels that some device group has together")

    def on_device_model(self, document: Document) -> None:
        spec: OnDeviceModelSpec = document.spec
        self.policies(document, spec)
        labels = spec.target_devices.labels
        if labels and not self.lost.may_hold("DeviceGroup"):
            wanted = labels.items()
            if not any(wanted <= group.metadata.labels.items() for group in self.catalog.groups.values()):
                self.nowhere(document, labels)

    def hold(self, document: Document) -> None:
        """The version is not judged: a rollback may remove it from its model, and the Hold must outlive that."""
        spec: HoldSpec = document.spec
        known = (*self.catalog.models, *sorted(self.mobile_ids))
        if not self.lost.may_hold("OnDeviceModel"):
            self.name("F202", document, "spec.model", "Model", spec.model, known)
        for index, group in enumerate(spec.groups):
            self.name("F205", document, f"spec.groups[{index}]", "DeviceGroup", group, self.catalog.groups)
