"""Policies at the API server: it allows and denies what rendering does, by the same ids."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

import pytest
import urllib3

from tests.lab.cluster import Cluster
from tests.lab.processes import wait_for
from tests.policy_inputs import tables
from trimtab_config.catalog import Catalog, build_catalog
from trimtab_config.cost.estimate import Estimator
from trimtab_config.plan.planner import Planner
from trimtab_config.policy.admission import EXPRESSIONS, validating_policies
from trimtab_config.policy.cases import base_fleet, changed
from trimtab_config.policy.gate import PolicyGate
from trimtab_config.policy.input import PolicyInputs
from trimtab_config.policy.interface import PolicyLevel
from trimtab_config.policy.shipped import gate_of
from trimtab_config.render.bundle import Compiler
from trimtab_config.render.evidence import offline_evidence
from trimtab_config.spec.reader import read_documents
from trimtab_kernel.decisions import BASELINE_CPU, BASELINE_MODELS

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("trimtab_kinds")]
PATHS = {
    "EdgeAIDeployment": "apis/apexlogic.ai/v1/namespaces/{namespace}/edgeaideployments",
    "OnDeviceModel": "apis/mobileai.apexlogic.com/v1/namespaces/{namespace}/ondevicemodels",
}
ID = re.compile(r"\b(?:finops|alignment|input)\.[a-z-]+(?::\w+)?@\S+?(?=: got)")


@dataclass(frozen=True)
class Asked:
    """One rendered object, and the ids that rendering finds against it, by level."""

    case: str
    item: dict[str, Any]
    denied: frozenset[str]
    warned: frozenset[str]


def unique(fleet: dict[str, Any]) -> dict[str, Any]:
    """The fleet with policies whose names say what they hold, so that those of all cases fit into one cluster."""
    for kind, reference in (("finops", "finopsPolicyRef"), ("alignment", "aiAlignmentPolicyRef")):
        policy = fleet[kind]
        old = policy["metadata"]["name"]
        if old in BASELINE_CPU or old in BASELINE_MODELS:
            continue
        text = json.dumps(policy["spec"], sort_keys=True, default=str)
        policy["metadata"]["name"] = new = f"{old}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        for deployment in ("deployment", "mobile"):
            if fleet[deployment]["spec"].get(reference) == old:
                fleet[deployment]["spec"][reference] = new
    return fleet


def catalog_of(documents: dict[str, Any]) -> Catalog | None:
    read = read_documents({f"{name}.yaml": json.dumps(item, default=str).encode() for name, item in documents.items()})
    catalog, problems = build_catalog(read.documents, read.lost)
    return None if read.problems or problems else catalog


def cases() -> tuple[list[Asked], Catalog]:
    """Every case of the rules that CEL can say, as rendered objects; and the policies of all of them together."""
    gate, asked = gate_of(), []
    policies: dict[str, Any] = {}
    for table in tables():
        if table.rule not in EXPRESSIONS:
            continue
        for case in table.cases:
            fleet = unique(changed(base_fleet(), {**table.given, **case.change}))
            catalog = catalog_of(fleet)
            own = {f"{kind}-{fleet[kind]['metadata']['name']}": fleet[kind] for kind in ("finops", "alignment")}
            if catalog is None or any(policies.get(name, item) != item for name, item in own.items()):
                continue  # the second means: a baseline's name is taken by what another case says
            policies.update(own)
            asked += asked_of(catalog, gate, f"{table.rule} {case.change}")
    found = catalog_of(policies)
    assert found is not None
    return asked, found


def asked_of(catalog: Catalog, gate: PolicyGate, case: str) -> list[Asked]:
    inputs, planner, estimator = PolicyInputs(catalog, offline_evidence), Planner(catalog), Estimator(catalog, None)
    asked = []
    for group in catalog.groups:
        plan, _ = planner.plan(group)
        bundle, _ = Compiler(catalog).compile(group)
        if bundle is None:
            continue
        decisions = gate.decide(inputs.of_group(plan, estimator.estimate(plan)[0]))
        items = {item["kind"]: dict(item) for item in bundle.objects if item["kind"] in PATHS}
        for placement, decision in zip(plan.placements, decisions, strict=True):
            denied, warned = (
                frozenset(item.id for item in decision.findings if item.rule in EXPRESSIONS and item.level is level)
                for level in (PolicyLevel.DENY, PolicyLevel.WARN)
            )
            asked.append(Asked(case, items[placement.document.kind], denied, warned))
    return asked


def answer(pool: urllib3.PoolManager, cluster: Cluster, item: dict[str, Any]) -> tuple[int, str, frozenset[str]]:
    """Status, message and the ids of all warnings for an object that is created and not kept."""
    path = PATHS[item["kind"]].format(namespace=item["metadata"]["namespace"])
    found = pool.request(
        "POST",
        f"{cluster.url}/{path}?dryRun=All&fieldValidation=Strict",
        body=json.dumps(item),
        headers={"Authorization": f"Bearer {cluster.token}", "Content-Type": "application/json"},
        timeout=60,
    )
    warnings = " ".join(found.headers.getlist("Warning"))
    return found.status, str(found.json().get("message", "")), frozenset(ID.findall(warnings))


def apart(pool: urllib3.PoolManager, cluster: Cluster, asked: list[Asked]) -> list[str]:
    """Where the API server says otherwise than rendering."""
    found = []
    for each in asked:
        status, message, warned = answer(pool, cluster, each.item)
        ids = frozenset(ID.findall(message))
        # Of several refusals it tells one.
        agrees = status in {403, 422} and ids and ids <= each.denied if each.denied else status == 201
        if not agrees or (not each.denied and warned != each.warned):
            found.append(
                f"{each.case} {each.item['kind']}: {status} {message} warned {warned}, expected {each.denied} {each.warned}"
            )
    return found


def test_the_api_server_decides_by_itself_what_rendering_decides(cluster: Cluster) -> None:
    asked, policies = cases()
    assert len(asked) >= 150
    assert sum(bool(each.denied) for each in asked) >= 40
    # The plan refuses an offload before policy does.
    refused = set(EXPRESSIONS) - {"alignment.data-egress"}
    assert {identity.partition("@")[0].partition(":")[0] for each in asked for identity in each.denied} == refused
    namespaces = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        for name in sorted({"policies", *(each.item["metadata"]["namespace"] for each in asked)})
    ]
    cluster.apply(namespaces)
    installed = validating_policies(policies, "policies")
    cluster.apply(installed)
    try:
        with urllib3.PoolManager(ca_certs=str(cluster.authority), retries=False) as pool:
            left: list[str] = []

            def agree() -> bool:
                left[:] = apart(pool, cluster, asked)
                return not left

            wait_for(agree, "admission agrees with rendering", 120, told=lambda: "\n".join(left[:10]))
            stranger = json.loads(json.dumps(asked[0].item))
            stranger["spec"]["finopsPolicyRef"] = "nobodys"
            status, message, _ = answer(pool, cluster, stranger)
            assert status in {403, 422}
            assert "input.shape:finops@fleet/counting/cameras: got nobodys" in message
            leaving = json.loads(json.dumps(next(each.item for each in asked if not each.denied)))
            leaving["spec"]["offload"] = {"endpoint": "https://v2.example", "jurisdiction": "US"}
            status, message, _ = answer(pool, cluster, leaving)
            assert status in {403, 422}
            assert "alignment.data-egress@fleet/counting/cameras: got an offload to US, expected no offload" in message
    finally:
        for item in reversed(installed):
            cluster.resource(item["apiVersion"], item["kind"]).delete(
                name=item["metadata"]["name"], namespace=item["metadata"].get("namespace")
            )
