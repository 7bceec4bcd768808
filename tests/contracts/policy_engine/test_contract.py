"""What every PolicyEngine promises, whatever runs the rules."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.policy_inputs import POLICIES, generated
from trimtab_config.policy.cases import Case, Table, requests_of
from trimtab_config.policy.interface import PolicyEngine, PolicyLevel
from trimtab_config.policy.opa_binary import Opa, OpaPolicyEngine
from trimtab_config.policy.shipped import shipped_bundle
from trimtab_config.policy.wasm import WasmPolicyEngine

CAPPED = Table("", "finops.cpu-cap", {"finops.spec.caps.cpu": "750m", "mobile.spec.finopsPolicyRef": None}, None, ())


def asked(cpu: str) -> bytes:
    """What is asked about the deployment with this CPU limit under a cap of 750m."""
    found = requests_of(CAPPED, Case({"deployment.spec.resourceLimits.cpu": cpu}, ""))
    return next(text for text in found if b'"EdgeAIDeployment"' in text)


def wasm(_: pytest.FixtureRequest) -> PolicyEngine:
    return WasmPolicyEngine(shipped_bundle())


def opa(request: pytest.FixtureRequest) -> PolicyEngine:
    programs: Callable[[str], Path] = request.getfixturevalue("lab_programs")
    return OpaPolicyEngine(Opa(programs("opa")), [POLICIES])


@pytest.fixture(params=[wasm, pytest.param(opa, marks=pytest.mark.lab)], ids=["wasm", "opa"])
def engine(request: pytest.FixtureRequest) -> PolicyEngine:
    made: PolicyEngine = request.param(request)
    return made


def test_one_decision_for_each_request_in_order(engine: PolicyEngine) -> None:
    found = engine.decide([asked("500m"), asked("751m"), asked("750m"), asked("1")])
    assert [decision.allowed for decision in found] == [True, False, True, False]
    assert list(engine.decide([])) == []


def test_a_refusal_says_rule_field_got_and_expected(engine: PolicyEngine) -> None:
    [decision] = engine.decide([asked("751m")])
    assert decision.level is PolicyLevel.DENY
    [finding] = decision.findings
    assert finding.id == "finops.cpu-cap@fleet/counting/cameras"
    assert (finding.rule, finding.field) == ("finops.cpu-cap", "spec.resourceLimits.cpu")
    assert (finding.got, finding.expected) == ("751m", "at most 750m")
    assert finding.title == "CPU limit above the policy's cap"


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"null", b"[]", b"1", b'"a"', b"{}{}", b"\xff", b'{"a":NaN}', b"{},{}", b'{"a":1}]}', b"[" * 100_000],
    ids=["empty", "cut", "null", "list", "number", "text", "two", "no UTF-8", "NaN", "comma", "closing", "deep"],
)
def test_what_is_no_document_denies_and_touches_no_other_request(engine: PolicyEngine, text: bytes) -> None:
    found = engine.decide([asked("500m"), text, asked("751m")])
    assert [decision.allowed for decision in found] == [True, False, False]
    assert found[1].findings[0].rule.startswith("engine.")
    assert found[2].findings[0].rule == "finops.cpu-cap"


def test_two_requests_that_make_sense_only_together_are_refused_each(engine: PolicyEngine) -> None:
    """They would shift the answers by one if they were put side by side unread."""
    whole = asked("500m")
    found = engine.decide([b'{"a":[1', b"2]}," + whole, asked("751m")])
    assert [decision.allowed for decision in found] == [False, False, False]


def test_an_empty_document_lacks_everything(engine: PolicyEngine) -> None:
    [decision] = engine.decide([b"{}"])
    assert not decision.allowed
    assert {finding.rule for finding in decision.findings} == {"input.shape"}


@pytest.mark.parametrize(
    "key", ["version", "subject", "group", "model", "limits", "tags", "cost", "finops", "alignment"]
)
def test_a_document_without_a_part_denies(engine: PolicyEngine, key: str) -> None:
    document = json.loads(asked("500m"))
    del document[key]
    [decision] = engine.decide([json.dumps(document).encode()])
    assert not decision.allowed


def test_nothing_of_one_call_is_there_in_the_next(engine: PolicyEngine) -> None:
    before = [engine.decide([asked(cpu)]) for cpu in ("500m", "751m")]
    engine.decide([b"{"])
    engine.decide(generated(7, 50))
    assert [engine.decide([asked(cpu)]) for cpu in ("500m", "751m")] == before


def test_alone_or_together_a_request_gets_the_same_answer(engine: PolicyEngine) -> None:
    requests = generated(11, 30)
    together = list(engine.decide(requests))
    assert [engine.decide([request])[0] for request in requests] == together
    assert not all(decision.allowed for decision in together)


def test_many_requests_are_no_trouble(engine: PolicyEngine) -> None:
    found = engine.decide([asked("500m"), asked("751m")] * 1500)
    assert [decision.allowed for decision in found] == [True, False] * 1500


def test_the_digest_is_that_of_the_rules(engine: PolicyEngine) -> None:
    before = engine.digest
    assert len(bytes.fromhex(before)) == 32
    engine.decide([asked("751m")])
    assert engine.digest == before
