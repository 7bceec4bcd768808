"""Judges one deployment that somebody applies, by the fleet that it belongs to. Pure.

What is applied is either as people write it, or as it was rendered for one group: then the rollout's salt says the
deployment's own namespace and name, and an annotation the group. It takes its own place in the fleet, and each group that
it reaches is judged as at render, so that findings have the same ids.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trimtab_config.catalog import build_catalog
from trimtab_config.cost.estimate import Estimator
from trimtab_config.plan.planner import Planner
from trimtab_config.policy.answers import UNDEFINED, engine_denial
from trimtab_config.policy.input import PolicyInputs
from trimtab_config.policy.interface import Decision, PolicyFinding
from trimtab_config.render.evidence import offline_evidence
from trimtab_config.spec.reader import read_documents
from trimtab_kernel import vocabulary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trimtab_config.catalog import Catalog
    from trimtab_config.policy.gate import PolicyGate
    from trimtab_config.spec.kinds import Document
    from trimtab_kernel.problems import Problem

KINDS = frozenset({"EdgeAIDeployment", "OnDeviceModel"})
_WRITTEN_BY_PEOPLE = ("name", "namespace", "labels", "annotations")
_FILE = "admission.yaml"


@dataclass(frozen=True, slots=True)
class Fleet:
    """A fleet that was found sound: its objects, and the catalog of them."""

    documents: tuple[Document, ...]
    catalog: Catalog


def fleet_of(files: Mapping[str, bytes]) -> tuple[Fleet | None, tuple[Problem, ...]]:
    """The fleet in files, or what is wrong with it."""
    read = read_documents(files)
    catalog, found = build_catalog(read.documents, read.lost)
    problems = (*read.problems, *found)
    return (None, problems) if problems else (Fleet(read.documents, catalog), ())


def judge(fleet: Fleet, gate: PolicyGate, item: Mapping[str, Any]) -> Decision:
    """The decision about an object of the API server. What cannot be judged is denied."""
    written, group = _as_people_write_it(item)
    read = read_documents({_FILE: json.dumps(written).encode()})
    if read.problems or len(read.documents) != 1:
        return _undefined("; ".join(map(str, read.problems)) or "no deployment")
    [document] = read.documents
    own = (document.kind, document.metadata.namespace, document.metadata.name)
    others = (each for each in fleet.documents if (each.kind, each.metadata.namespace, each.metadata.name) != own)
    catalog, problems = build_catalog((*others, document))
    mine = [problem for problem in problems if problem.file == _FILE]
    if mine:
        return _undefined("; ".join(map(str, mine)))
    if group and group not in catalog.groups:
        return _undefined(f"no device group {group} in the fleet")
    findings: list[PolicyFinding] = []
    planner, estimator = Planner(catalog), Estimator(catalog, None)
    inputs = PolicyInputs(catalog, offline_evidence)
    judged = False
    for name in (group,) if group else catalog.groups:
        plan, problems = planner.plan(name)
        places = [place for place, placed in enumerate(plan.placements) if placed.document is document]
        if not places:
            continue
        report, _ = estimator.estimate(plan)
        requests = inputs.of_group(plan, report)
        for decision in gate.decide([requests[place] for place in places]):
            findings += decision.findings
        judged = True
    if not judged:
        # As it was rendered it runs in that group; as it is written it may run nowhere yet.
        return _undefined(f"{document.metadata.name} does not reach the group {group}") if group else Decision.of(())
    return Decision.of(findings)


def _undefined(got: str) -> Decision:
    return engine_denial(UNDEFINED, got, "a deployment of the fleet")


def _as_people_write_it(item: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The object without what the cluster and the renderer put in, and the group that it was rendered for, if any."""
    metadata, spec = dict(item.get("metadata") or {}), dict(item.get("spec") or {})
    group = str((metadata.get("annotations") or {}).get(vocabulary.FLEET_GROUP, ""))
    kept: dict[str, Any] = {key: metadata[key] for key in _WRITTEN_BY_PEOPLE if key in metadata}
    for key in ("labels", "annotations"):
        kept.pop(key, None)
    if group:
        rollout = dict(spec.get("rollout") or {})
        parts = str(rollout.get("salt", "")).split("/")
        if len(parts) == 3 and parts[2] == item.get("kind"):
            kept["namespace"], kept["name"] = parts[0], parts[1]
            rollout.pop("salt")
        elif str(kept.get("name", "")).endswith(f"-{group}"):
            kept["name"] = str(kept["name"])[: -len(group) - 1]
        if rollout:
            spec["rollout"] = rollout
        else:
            spec.pop("rollout", None)
        targets = dict(spec.get("targetDevices") or {})
        labels = {key: value for key, value in (targets.get("labels") or {}).items() if key != vocabulary.FLEET_GROUP}
        if labels:
            targets["labels"] = labels
        else:
            targets.pop("labels", None)
        spec["targetDevices"] = targets
    return {"apiVersion": item.get("apiVersion"), "kind": item.get("kind"), "metadata": kept, "spec": spec}, group
