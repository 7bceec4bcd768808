"""Judges one deployment that somebody applies, by the fleet that it belongs to. Pure.

What is applied is either as people write it, or as it was rendered for one group: then the rollout's salt says the
deployment's own namespace and name, and an annotation the group. It takes its own place in the fleet, and each group that
it reaches is judged as at render, so that findings have the same ids.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trimtab_config.catalog import build_catalog, with_deployment
from trimtab_config.cost.estimate import Estimator
from trimtab_config.plan.mobile import is_meant_for
from trimtab_config.plan.planner import Planner
from trimtab_config.policy.answers import UNDEFINED, engine_denial
from trimtab_config.policy.input import PolicyInputs
from trimtab_config.policy.interface import Decision
from trimtab_config.render.evidence import offline_evidence
from trimtab_config.spec.plain import plain_document
from trimtab_config.spec.reader import read_documents
from trimtab_kernel import vocabulary
from trimtab_kernel.records import replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trimtab_config.catalog import Catalog
    from trimtab_config.plan.placement import GroupPlan
    from trimtab_config.policy.gate import PolicyGate
    from trimtab_config.spec.kinds import Document
    from trimtab_kernel.problems import Problem

KINDS = frozenset({"EdgeAIDeployment", "OnDeviceModel"})
_WRITTEN_BY_PEOPLE = ("name", "namespace", "labels", "annotations")
_FILE = "admission.yaml"
MOST_DECISIONS = 2_048
MOST_FINDINGS = 256
"""Of one decision that is kept: 2,048 of these are some megabytes."""
MOST_PLACEMENTS = 5_000
"""Of all plans that are kept: about a kilobyte each."""


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


class Judge:
    """Judges one object after another by one fleet and one gate. Used from one thread at a time.

    What is the same for many questions is kept, within bounds: decisions by the digest of what was asked, and the plans of
    groups. So an object that is applied again costs its digest, and one that is new to the fleet only what it changes.
    """

    def __init__(self, fleet: Fleet, gate: PolicyGate) -> None:
        self._fleet, self._gate = fleet, gate
        self._planner = Planner(fleet.catalog)
        self._plans: OrderedDict[str, GroupPlan] = OrderedDict()
        self._planned = 0
        self._decisions: OrderedDict[bytes, Decision] = OrderedDict()
        self._asked = 0

    @property
    def kept(self) -> tuple[int, int]:
        """How many decisions, and placements of plans, are kept."""
        return len(self._decisions), self._planned

    def warm(self) -> None:
        """Ask nothing yet, but put one question together: the first one that comes then takes no longer than the next."""
        catalog = self._fleet.catalog
        for name in catalog.groups:
            for document in catalog.deployments_of(name):
                self._requests(self._planner, catalog, document, name)
                read_documents({_FILE: json.dumps(plain_document(document)).encode()})
                return

    def decide(self, item: Mapping[str, Any]) -> Decision:
        """The decision about an object of the API server. What cannot be judged is denied."""
        written, group = _as_people_write_it(item)
        text = json.dumps(written, sort_keys=True, separators=(",", ":")).encode()
        key = hashlib.sha256(group.encode("utf-8", "surrogatepass") + b"\0" + text).digest()
        known = self._decisions.get(key)
        if known is not None:
            self._decisions.move_to_end(key)
            return known
        self._asked += 1
        if self._asked % MOST_DECISIONS == 0:
            self._planner = Planner(self._fleet.catalog)  # what it worked out for objects that are gone goes with it
        decision = self._judged(text, group)
        if len(decision.findings) <= MOST_FINDINGS:
            self._decisions[key] = decision
            if len(self._decisions) > MOST_DECISIONS:
                self._decisions.popitem(last=False)
        return decision

    def _judged(self, text: bytes, group: str) -> Decision:
        read = read_documents({_FILE: text})
        if read.problems or len(read.documents) != 1:
            return _undefined("; ".join(map(str, read.problems)) or "no deployment")
        [document] = read.documents
        catalog, problems = with_deployment(self._fleet.catalog, document)
        if problems:
            return _undefined("; ".join(map(str, problems)))
        if group and group not in catalog.groups:
            return _undefined(f"no device group {group} in the fleet")
        planner = self._planner.after(catalog)
        try:
            requests = self._requests(planner, catalog, document, group)
        finally:
            planner.digests.forget(document)
        if not requests:
            # As it was rendered it runs in that group; as it is written it may run nowhere yet.
            name = document.metadata.name
            return _undefined(f"{name} does not reach the group {group}") if group else Decision.of(())
        decisions = self._gate.decide(requests)
        return Decision.of([finding for decision in decisions for finding in decision.findings])

    def _requests(self, planner: Planner, catalog: Catalog, document: Document, group: str) -> list[bytes]:
        """What the rules are asked: the document's place in each group that it reaches."""
        estimator, inputs = Estimator(catalog, None), PolicyInputs(catalog, offline_evidence)
        edge = document.kind == "EdgeAIDeployment"
        requests: list[bytes] = []
        for name in (group,) if group else catalog.groups:
            if edge and not any(each is document for each in catalog.deployments_of(name)):
                continue
            if not edge and not is_meant_for(document.spec.target_devices, catalog.groups[name]):
                continue
            plan, _ = planner.plan_with(self._plan(name), document)
            own = tuple(placement for placement in plan.placements if placement.document is document)
            if own:
                report, _ = estimator.estimate(plan, document)
                requests += inputs.of_group(replace(plan, placements=own), report)
        return requests

    def _plan(self, name: str) -> GroupPlan:
        """A group's plan by the fleet as it is."""
        known = self._plans.get(name)
        if known is None:
            known, _ = self._planner.plan(name)
            self._plans[name] = known
            self._planned += len(known.placements)
            while self._planned > MOST_PLACEMENTS and len(self._plans) > 1:
                self._planned -= len(self._plans.popitem(last=False)[1].placements)
        return known


def judge(fleet: Fleet, gate: PolicyGate, item: Mapping[str, Any]) -> Decision:
    """As :meth:`Judge.decide`, once."""
    return Judge(fleet, gate).decide(item)


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
