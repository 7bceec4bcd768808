"""The device's table: what Rego says of the same facts, word for word; what is missing denies."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from tests.policy_inputs import case_requests, generated
from trimtab_config.policy.interface import PolicyFinding
from trimtab_config.policy.shipped import gate_of
from trimtab_kernel.decisions import (
    COVERED,
    KINDS,
    DecisionTable,
    Finding,
    Row,
    TableError,
    row_from,
    row_json,
    rows_of,
)


def told(findings: Iterable[PolicyFinding]) -> list[tuple[Any, ...]]:
    return sorted(
        (item.id, item.rule, item.level.value, item.field, item.got, item.expected, item.arguments)
        for item in findings
        if item.rule in COVERED
    )


def table_says(document: dict[str, Any]) -> list[Finding]:
    """As a device does it: the rows go over the wire first."""
    rows = [
        row_from(json.loads(json.dumps(row_json(row)))) for row in rows_of(document["finops"], document["alignment"])
    ]
    return list(DecisionTable(rows).decide(document))


def compared(requests: list[bytes]) -> tuple[int, int, set[str]]:
    """How many documents were compared and denied, and the rules that found something. Fails where the two differ."""
    count, denied, hit = 0, 0, set()
    for request, decision in zip(requests, gate_of().decide(requests), strict=True):
        if any(finding.rule.startswith(("input.", "engine.")) for finding in decision.findings):
            continue  # no document of the compiler's; the device never sees it
        document = json.loads(request)
        if document["subject"]["kind"] not in KINDS:
            continue
        found = table_says(document)
        got = sorted((f.id, f.rule, f.level, f.field, f.got, f.expected, f.arguments) for f in found)
        assert got == told(decision.findings), request.decode()
        count += 1
        denied += any(finding.level == "deny" for finding in found)
        hit |= {finding.rule for finding in found}
    return count, denied, hit


def test_table_and_rego_agree_on_every_case() -> None:
    count, _, hit = compared([text for _, _, text in case_requests()])
    assert count >= 300
    assert hit == COVERED


def test_table_and_rego_agree_on_generated_documents() -> None:
    count, denied, hit = compared(generated(6, 2000))
    assert count >= 1000
    assert denied / count >= 0.3
    assert hit == COVERED


def test_policies_that_are_not_whole_make_no_table_and_odd_facts_never_raise() -> None:
    for request in generated(7, 1000):
        document = json.loads(request)
        try:
            rows = rows_of(document.get("finops"), document.get("alignment"))
        except TableError:
            continue
        DecisionTable(rows).decide(document)


def test_a_row_that_nobody_knows_denies() -> None:
    table = DecisionTable([Row("alignment.of-the-future", "deny", {})])
    [finding] = table.decide({"subject": {"kind": "OnDeviceModel", "namespace": "a", "name": "b", "group": "c"}})
    assert (finding.id, finding.level) == ("alignment.of-the-future@a/b/c", "deny")


def test_facts_that_are_missing_deny() -> None:
    rows = rows_of(
        None, {"name": "p", "level": "warn", "egress": {"allowed": False, "jurisdictions": []}, "signature": True}
    )
    [finding] = DecisionTable(rows).decide({"subject": {"kind": "EdgeAIDeployment"}})
    assert (finding.rule, finding.level) == ("engine.failed", "deny")
    assert DecisionTable(rows).decide({})[0].level == "deny"


@pytest.mark.parametrize(
    "data",
    [
        None, [], "a", {}, {"rule": "a", "level": "off", "limit": {}}, {"rule": 1, "level": "deny", "limit": {}},
        {"rule": "a", "level": "deny", "limit": {}, "more": 1}, {"rule": "a", "level": "deny", "limit": {}, "fixed": 1},
        {"rule": "a", "level": "deny", "limit": {}, "excuses": [{}]}, {"rule": "a", "level": "deny", "limit": [1]},
    ],
)  # fmt: skip
def test_what_is_no_row_is_refused(data: object) -> None:
    with pytest.raises(TableError):
        row_from(data)
