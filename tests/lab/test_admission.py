"""Policies at the API server: it allows and denies what rendering does, by the same ids."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3

from tests.lab.cluster import Cluster
from tests.lab.processes import Processes, free_port, listening, system_program, wait_for
from tests.policy_inputs import POLICIES, tables
from trimtab_config.catalog import Catalog, build_catalog
from trimtab_config.cost.estimate import Estimator
from trimtab_config.plan.planner import Planner
from trimtab_config.policy.admission import EXPRESSIONS, validating_policies, webhook_configuration
from trimtab_config.policy.cases import base_fleet, changed
from trimtab_config.policy.gate import PolicyGate
from trimtab_config.policy.gatekeeper import RULES, gatekeeper_objects
from trimtab_config.policy.input import PolicyInputs
from trimtab_config.policy.interface import PolicyLevel
from trimtab_config.policy.opa_binary import CORE
from trimtab_config.policy.shipped import gate_of, shipped_bundle
from trimtab_config.render.bundle import Compiler
from trimtab_config.render.evidence import offline_evidence
from trimtab_config.spec.reader import read_documents
from trimtab_kernel.decisions import BASELINE_CPU, BASELINE_MODELS

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("trimtab_kinds")]
PATHS = {
    "EdgeAIDeployment": "apis/apexlogic.ai/v1/namespaces/{namespace}/edgeaideployments",
    "OnDeviceModel": "apis/mobileai.apexlogic.com/v1/namespaces/{namespace}/ondevicemodels",
}
ID = re.compile(r"\b(?:finops|alignment|input)\.[a-z-]+(?::[\w.-]+)?@\S+?(?=: got)")


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
    """Cases of the rules that CEL can say, as rendered objects; and the policies, groups and models of all of them together."""
    gate, asked = gate_of(), []
    policies: dict[str, Any] = {}
    for table in tables():
        if table.rule not in EXPRESSIONS:
            continue
        for case in table.cases:
            fleet = unique(changed(base_fleet(), {**table.given, **case.change}))
            catalog = catalog_of(fleet)
            own = {
                f"{kind}-{fleet[kind]['metadata']['name']}": fleet[kind]
                for kind in ("finops", "alignment", "group", "phones", "model")
            }
            if catalog is None or any(policies.get(name, item) != item for name, item in own.items()):
                continue  # the second means: a baseline's name, a group or a model is taken by what another case says
            policies.update(own)
            asked += asked_of(catalog, gate, f"{table.rule} {case.change}")
    found = catalog_of(policies)
    assert found is not None
    return asked, found


def asked_of(catalog: Catalog, gate: PolicyGate, case: str, rules: Container[str] = EXPRESSIONS) -> list[Asked]:
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
                frozenset(item.id for item in decision.findings if item.rule in rules and item.level is level)
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


def agreed(pool: urllib3.PoolManager, cluster: Cluster, asked: list[Asked]) -> None:
    """Waits until the API server has taken up what was applied, and says what rendering says of everything."""
    left: list[str] = []

    def agree() -> bool:
        left[:] = apart(pool, cluster, asked)
        return not left

    wait_for(agree, "admission agrees with rendering", 90, told=lambda: "\n".join(left[:10]))


@pytest.mark.timeout(300)
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
            agreed(pool, cluster, asked)
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


@pytest.mark.timeout(300)
def test_the_webhook_decides_for_the_api_server_what_rendering_decides(
    cluster: Cluster, tmp_path: Path, lab_processes: Processes
) -> None:
    """The rules that need the fleet: the real API server asks a real process over TLS."""
    changes = {
        "finops.spec.ceilings": {"costPer1kInferences": {"amount": "0.000001", "currency": "EUR"}},
        "alignment.spec.requireSignature": True,
        "mobile.spec.aiAlignmentPolicyRef": None,
        "finops.spec.requiredTags": ["app"],
        "finops.spec.levels": {"finops.required-tags": "warn"},
    }
    folder = tmp_path / "fleet"
    folder.mkdir()

    def publish(more: dict[str, Any]) -> list[Asked]:
        documents = changed(base_fleet(), {**changes, **more})
        for name, item in documents.items():
            (folder / f"{name}.yaml").write_text(json.dumps(item, default=str), "utf-8")
        catalog = catalog_of(documents)
        assert catalog is not None
        return asked_of(catalog, gate_of(), "", shipped_bundle().rules)

    unsigned = publish({"model.spec.versions.1.variants.0.signature": None})
    subprocess.run(
        [
            *(system_program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(tmp_path / "tls.key"), "-out", str(tmp_path / "tls.crt")),
        ],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    port = free_port()
    program = "import sys; from trimtab_config.cli import main; sys.exit(main())"
    webhook = lab_processes.start(
        "admission-webhook",
        [
            *(sys.executable, "-c", program, "admission-webhook", "--folder", folder, "--port", str(port)),
            *("--tls-cert", tmp_path / "tls.crt", "--tls-key", tmp_path / "tls.key", "--interval", "0.5"),
            *("--timeout", "25"),
        ],
    )
    lab_processes.wait_until_ready(webhook, lambda: listening(port))
    namespace = unsigned[0].item["metadata"]["namespace"]
    cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}])
    [configuration] = [webhook_configuration("trimtab-admission", "trimtab", fail_open=False, timeout=30)]
    authority = base64.b64encode((tmp_path / "tls.crt").read_bytes()).decode()
    configuration["webhooks"][0]["clientConfig"] = {"url": f"https://127.0.0.1:{port}/admit", "caBundle": authority}
    cluster.apply([configuration])
    try:
        with urllib3.PoolManager(ca_certs=str(cluster.authority), retries=False) as pool:
            agreed(pool, cluster, unsigned)
            agreed(pool, cluster, publish({"finops.spec.ceilings": None}))
            assert any(each.denied for each in unsigned)
            assert any(each.warned for each in unsigned)
            assert webhook.stop() == 0
            status, message, _ = answer(pool, cluster, unsigned[0].item)
            assert status == 500, message
            assert "policies.apexlogic.ai" in message
    finally:
        cluster.resource(configuration["apiVersion"], configuration["kind"]).delete(name="trimtab-admission")


def test_the_rego_of_the_gatekeeper_template_decides_what_rendering_decides(
    lab_programs: Callable[[str], Path], tmp_path: Path
) -> None:
    """Gatekeeper itself is not here: its template's Rego is run by OPA, on reviews of the shape that it documents."""
    asked, policies = cases()
    core = {name: (CORE / name).read_text("utf-8") for name in ("lib.rego", "main.rego")}
    sources = {
        rule: (POLICIES / f"{rule.replace('.', '/').replace('-', '_')}.rego").read_text("utf-8") for rule in RULES
    }
    template, *constraints = gatekeeper_objects(policies, core, sources)
    [target] = template["spec"]["targets"]
    source = target["code"][0]["source"]
    (tmp_path / "rego").mkdir()
    for number, text in enumerate((source["rego"], *source["libs"])):
        assert number == 0 or re.search(r"^package lib\.", text, re.MULTILINE)
        (tmp_path / "rego" / f"{number}.rego").write_text(text, "utf-8")
    (tmp_path / "rego" / "all.rego").write_text(
        "package all\n\nviolations := [[violation | some violation in data.trimtabpolicies.violation"
        ' with input as {"review": review, "parameters": parameters}] | some review in input.reviews;'
        " some parameters in input.parameters]\n",
        "utf-8",
    )
    document = {
        "reviews": [{"object": each.item} for each in asked],
        "parameters": [constraint["spec"]["parameters"] for constraint in constraints],
    }
    done = subprocess.run(
        [lab_programs("opa"), "eval", "-d", tmp_path / "rego", "-I", "-f", "raw", "data.all.violations"],
        input=json.dumps(document).encode(), capture_output=True, timeout=120, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    levels = [constraint["spec"]["parameters"]["level"] for constraint in constraints]
    assert len(found) == len(asked) * len(levels)
    for place, each in enumerate(asked):
        ids = {
            level: frozenset(str(violation["details"]["id"]) for violation in found[place * len(levels) + number])
            for number, level in enumerate(levels)
        }
        expected = [
            frozenset(identity for identity in told if identity.partition("@")[0].partition(":")[0] in RULES)
            for told in (each.denied, each.warned)
        ]
        assert [ids["deny"], ids["warn"]] == expected, each.case
