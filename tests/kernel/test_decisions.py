"""The device's table: what Rego says of the same facts, word for word; what is missing denies."""

from __future__ import annotations

import json

import pytest

from tests.policy_inputs import case_requests, compared_with_table, generated
from trimtab_config.policy.shipped import gate_of
from trimtab_kernel.decisions import COVERED, DecisionTable, Row, TableError, row_from, rows_of


def compared(requests: list[bytes]) -> tuple[int, int, set[str]]:
    return compared_with_table(requests, gate_of().decide(requests))


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


def test_names_that_no_terminal_should_see_are_told_as_engines_tell_them() -> None:
    """A finding's id is the same everywhere, with a line separator and a text longer than any other in it, too."""
    base = json.loads(case_requests()[0][2])
    base["alignment"] = {
        "name": "p\u2028", "level": "deny", "egress": {"allowed": False, "jurisdictions": []}, "signature": True
    }  # fmt: skip
    base["model"]["versions"][0] |= {"version": "é\u2028\U0001f600" + "9" * 600, "signed": False}
    request = json.dumps(base).encode()
    count, denied, hit = compared([request])
    assert (count, denied) == (1, 1)
    assert "alignment.signed-artifacts" in hit
