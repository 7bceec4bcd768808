"""The webhook: the decisions of rendering by the same ids, and a refusal for everything that cannot be judged."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.policy_inputs import tables
from trimtab_config.catalog import build_catalog, with_deployment
from trimtab_config.cost.estimate import Estimator
from trimtab_config.plan.planner import Planner
from trimtab_config.policy.cases import base_fleet, changed
from trimtab_config.policy.following import FollowedBundles
from trimtab_config.policy.gate import PolicyGate
from trimtab_config.policy.input import PolicyInputs
from trimtab_config.policy.interface import Decision
from trimtab_config.policy.shipped import gate_of
from trimtab_config.render.bundle import Compiler
from trimtab_config.render.evidence import offline_evidence
from trimtab_config.spec.reader import read_documents
from trimtab_plugins.admission import judging
from trimtab_plugins.admission.app import MOST_BODY, Admission
from trimtab_plugins.admission.command import Followed
from trimtab_plugins.admission.judging import KINDS, Fleet, Judge, fleet_of, judge

CAPPED = {"finops.spec.caps.cpu": "750m"}


@pytest.fixture(scope="module")
def gate() -> PolicyGate:
    return gate_of()


def files_of(changes: dict[str, Any]) -> dict[str, bytes]:
    fleet = changed(base_fleet(), changes)
    return {f"{name}.yaml": json.dumps(item, default=str).encode() for name, item in fleet.items()}


def fleet(changes: dict[str, Any]) -> Fleet:
    found, problems = fleet_of(files_of(changes))
    assert found is not None, problems
    return found


def written(changes: dict[str, Any], name: str = "deployment") -> dict[str, Any]:
    """An object as the API server hands it over: with what it writes itself."""
    item: dict[str, Any] = json.loads(files_of(changes)[f"{name}.yaml"])
    item["metadata"] |= {"uid": "1", "resourceVersion": "7", "managedFields": [], "generation": 2}
    return {**item, "status": {"conditions": []}}


def test_what_was_rendered_and_what_is_written_are_judged_as_at_render(gate: PolicyGate) -> None:
    """By the fleet as it is without the change: the object under review takes its place."""
    compared = denied = 0
    for table in tables():
        if table.as_of is not None or table.rule == "finops.budget":
            continue  # the cluster knows no day; a budget is of the whole fleet as well
        for case in table.cases:
            if not case.of_all:
                continue
            changes = {**table.given, **case.change}
            read = read_documents(files_of(changes))
            catalog, problems = build_catalog(read.documents, read.lost)
            assert not problems
            plans = {name: Planner(catalog).plan(name)[0] for name in catalog.groups}
            inputs, kept = PolicyInputs(catalog, offline_evidence), Judge(Fleet(read.documents, catalog), gate)
            for name, plan in plans.items():
                decisions = gate.decide(inputs.of_group(plan, Estimator(catalog, None).estimate(plan)[0]))
                bundle, _ = Compiler(catalog).compile(name)
                if bundle is None:
                    continue  # refused by the plan, before policy is asked
                rendered = {item["kind"]: item for item in bundle.objects if item["kind"] in KINDS}
                for placement, decision in zip(plan.placements, decisions, strict=True):
                    item = json.loads(json.dumps(rendered[placement.document.kind], default=str))
                    assert kept.decide(item) == decision, case
                    own = "deployment" if item["kind"] == "EdgeAIDeployment" else "mobile"
                    assert kept.decide(written(changes, own)) == decision, case
                    assert kept.decide(item) == decision, case
                    compared += 1
                    denied += not decision.allowed
    assert compared >= 50
    assert denied >= 12


def test_judging_many_objects_leaves_no_trace_of_one_in_the_next_and_keeps_little(
    gate: PolicyGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept for the next question changes no answer: each is that of a judge who sees it first."""
    monkeypatch.setattr(judging, "MOST_DECISIONS", 4)
    monkeypatch.setattr(judging, "MOST_PLACEMENTS", 1)
    whole = fleet(CAPPED)
    kept = Judge(whole, gate)
    kept.warm()
    changes: list[dict[str, Any]] = [
        {"deployment.spec.resourceLimits.cpu": f"{500 + 50 * number}m"} for number in range(8)
    ]
    changes += [
        {"deployment.spec.targetDevices.labels": {"deviceType": "camera"}, "deployment.metadata.name": "second"},
        {"deployment.spec.targetDevices.labels": {"deviceType": "nobody"}},
        {"deployment.spec.modelRef.version": "9.9.9"},
    ]
    outcomes = set()
    for change in [*changes, *reversed(changes)]:
        item = written({**CAPPED, **change})
        decision = kept.decide(item)
        assert decision == judge(whole, gate, item), change
        outcomes.add(decision.allowed)
        decisions, placements = kept.kept
        assert decisions <= 4
        assert placements <= 3  # one plan is always kept
    assert outcomes == {True, False}


@pytest.mark.parametrize("name", ["deployment", "mobile"])
def test_a_catalog_with_one_document_replaced_is_the_catalog_of_all(name: str) -> None:
    read = read_documents(files_of(CAPPED))
    before, _ = build_catalog(read.documents, read.lost)
    for change in (
        {f"{name}.metadata.name": "other"},
        {f"{name}.spec.targetDevices.labels": {"deviceType": "camera"}},
        {f"{name}.spec.targetDevices.labels": {"deviceType": "nobody"}},
        {f"{name}.spec.finopsPolicyRef": "nobodys"},
    ):
        content = files_of({**CAPPED, **change})[f"{name}.yaml"]
        [document] = read_documents({"own.yaml": content}).documents
        own = (document.kind, document.metadata.namespace, document.metadata.name)
        others = [each for each in read.documents if (each.kind, each.metadata.namespace, each.metadata.name) != own]
        expected, problems = build_catalog([*others, document])
        found, mine = with_deployment(before, document)
        assert found == expected
        assert mine == tuple(problem for problem in problems if problem.file == "own.yaml")


def test_the_object_under_review_counts_not_the_one_in_the_fleet(gate: PolicyGate) -> None:
    raised = written({**CAPPED, "deployment.spec.resourceLimits.cpu": "2"})
    [finding] = judge(fleet(CAPPED), gate, raised).findings
    assert finding.id == "finops.cpu-cap@fleet/counting/cameras"


@pytest.mark.parametrize(
    "change",
    [
        {"deployment.spec.finopsPolicyRef": "nobodys"},
        {"deployment.spec.modelRef.version": "9.9.9"},
        {"deployment.spec.resourceLimits.cpu": "much"},
        {"deployment.spec.more": 1},
    ],
)
def test_what_cannot_be_judged_is_denied(gate: PolicyGate, change: dict[str, Any]) -> None:
    decision = judge(fleet(CAPPED), gate, written(change))
    assert not decision.allowed
    assert decision.findings[0].rule == "engine.undefined"


def test_a_group_that_the_fleet_does_not_have_is_no_way_round(gate: PolicyGate) -> None:
    item = written({**CAPPED, "deployment.spec.resourceLimits.cpu": "2"})
    item["metadata"]["annotations"] = {"fleet.apexlogic.ai/group": "elsewhere"}
    assert not judge(fleet(CAPPED), gate, item).allowed
    item["metadata"]["annotations"] = {"fleet.apexlogic.ai/group": "phones"}
    assert not judge(fleet(CAPPED), gate, item).allowed


# ---------------------------------------------------------------- over HTTP


class SlowGate(PolicyGate):
    """A gate whose engine answers when it is let go."""

    let_go = threading.Event()

    def decide(self, requests: Any) -> list[Decision]:  # noqa: ANN401 - as its base has it
        if requests != [b"{}"]:
            assert self.let_go.wait(60)
        return super().decide(requests)


@pytest.fixture
def admission() -> Iterator[Admission]:
    made = Admission(seconds=30, fail_open=False)
    yield made
    made.close()


def ask(admission: Admission, body: bytes, path: str = "/admit") -> httpx.Response:
    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(app=admission.application())
        async with httpx.AsyncClient(transport=transport, base_url="https://webhook") as client:
            return await (client.get(path) if path != "/admit" else client.post(path, content=body))

    return asyncio.run(asked())


def review(item: dict[str, Any] | None, kind: str = "EdgeAIDeployment") -> bytes:
    request = {"uid": "u-1", "kind": {"kind": kind}, "object": item, "operation": "CREATE"}
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()


def test_refusals_warnings_and_trials_go_where_the_api_server_wants_them(
    admission: Admission, gate: PolicyGate
) -> None:
    levels = {"finops.spec.levels": {"finops.required-tags": "warn"}, "finops.spec.requiredTags": ["app"]}
    limits = {"finops.spec.caps": {"cpu": "750m", "memory": "1Mi"}, "finops.spec.level": "dryRun"}
    changes = {**limits, **levels, "finops.spec.levels": {"finops.required-tags": "warn", "finops.cpu-cap": "deny"}}
    admission.take(fleet(changes), gate, "d" * 64)
    answer = ask(admission, review(written({**changes, "deployment.spec.resourceLimits.cpu": "2"}))).json()["response"]
    assert (answer["uid"], answer["allowed"], answer["status"]["code"]) == ("u-1", False, 403)
    assert answer["status"]["message"].startswith("finops.cpu-cap@fleet/counting/cameras: got 2, expected at most 750m")
    assert answer["warnings"] == [
        "finops.required-tags:app@fleet/counting/cameras: got no such tag, expected the tag app"
    ]
    assert answer["auditAnnotations"]["dry-run"] == "finops.memory-cap@fleet/counting/cameras"
    assert answer["auditAnnotations"]["policies"] == "d" * 12
    assert ask(admission, review(written(changes))).json()["response"]["allowed"] is True
    text = ask(admission, b"", "/metrics").text
    assert 'trimtab_admission_reviews_total{outcome="denied"} 1.0' in text


def test_what_goes_away_and_other_kinds_pass(admission: Admission, gate: PolicyGate) -> None:
    admission.take(fleet({}), gate, "")
    assert ask(admission, review(None)).json()["response"]["allowed"] is True
    assert ask(admission, review({"kind": "Pod"}, "Pod")).json()["response"]["allowed"] is True


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400), (b"{", 400), (b"[]", 400), (b"[" * 100_000, 400), (b"\xff", 400),
        (review({}).replace(b"/v1", b"/v1beta1"), 400), (review({}).replace(b'"u-1"', b"1"), 400),
        (review({}).replace(b'"object": {}', b'"object": 1'), 400), (b" " * (MOST_BODY + 1), 413),
    ],
)  # fmt: skip
def test_what_is_no_review_is_refused_by_its_status(admission: Admission, body: bytes, status: int) -> None:
    assert ask(admission, body).status_code == status


@pytest.mark.parametrize("fail_open", [False, True])
def test_no_decision_in_time_is_a_refusal_unless_told_otherwise(gate: PolicyGate, *, fail_open: bool) -> None:
    slow = SlowGate(gate.engines, gate.rules)
    slow.let_go.clear()
    made = Admission(seconds=0.05, fail_open=fail_open)
    try:
        made.take(fleet({}), slow, "")
        answer = ask(made, review(written({}))).json()["response"]
    finally:
        slow.let_go.set()
        made.close()
    assert answer["allowed"] is fail_open
    assert "no decision within" in json.dumps(answer)
    assert ("warnings" in answer) is fail_open


def test_it_is_ready_once_it_judges_and_refuses_before(admission: Admission, gate: PolicyGate) -> None:
    assert ask(admission, b"", "/readyz").status_code == 503
    assert ask(admission, review(written({}))).json()["response"]["allowed"] is False
    admission.take(fleet({}), gate, "")
    assert ask(admission, b"", "/readyz").status_code == 200
    assert ask(admission, b"", "/healthz").status_code == 200


def test_a_fleet_that_breaks_leaves_the_old_one_in_force(
    admission: Admission, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content in files_of(CAPPED).items():
        (tmp_path / name).write_bytes(content)
    followed = Followed(tmp_path, FollowedBundles([]), admission)
    followed.look()
    assert followed.judges
    (tmp_path / "finops.yaml").write_text("kind: [", "utf-8")
    followed.look()
    assert "stays in force" in capsys.readouterr().err
    assert "trimtab_admission_stale 1.0" in ask(admission, b"", "/metrics").text
    raised = written({"deployment.spec.resourceLimits.cpu": "2"})
    assert ask(admission, review(raised)).json()["response"]["allowed"] is False
    (tmp_path / "finops.yaml").write_bytes(files_of({})["finops.yaml"])
    followed.look()
    assert ask(admission, review(raised)).json()["response"]["allowed"] is True
