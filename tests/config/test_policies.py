"""The shipped rules: tables of cases, what every rule says of itself, and the bundle that is built from them."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from tests.policy_inputs import POLICIES, case_requests, generated, tables
from trimtab_config.policy.cases import Table, case_problems, outcome_of, read_tables, requests_of
from trimtab_config.policy.gate import PolicyGate
from trimtab_config.policy.opa_binary import CORE, digests_of
from trimtab_config.policy.shipped import gate_of, shipped_bundle
from trimtab_kernel.problems import InputError

RULES = sorted(path for path in POLICIES.glob("*/*.rego") if not path.name.endswith("_test.rego"))


@pytest.fixture(scope="module")
def gate() -> PolicyGate:
    return gate_of()


def name_of(path: Path) -> str:
    return f"{path.parent.name}.{path.stem.replace('_', '-')}"


@pytest.mark.parametrize("table", tables(), ids=lambda table: table.rule)
def test_every_case_comes_out_as_its_table_says(gate: PolicyGate, table: Table) -> None:
    assert case_problems(table, gate) == ()


def test_a_table_of_no_rule_is_told_and_not_passed_over(gate: PolicyGate) -> None:
    """Each of its cases would be allowed."""
    [table] = [table for table in tables() if table.rule == "finops.cpu-cap"]
    [problem] = case_problems(dataclasses.replace(table, rule="finops.cpu-caps"), gate)
    assert (problem.code, problem.field, problem.hint) == ("F507", "rule", 'did you mean "finops.cpu-cap"?')


def test_a_table_that_cannot_be_read_is_one_problem_on_one_line(tmp_path: Path) -> None:
    for text in ("[1,2", "rule: a\n", "rule: a\nasOf: tomorrow\nsample: {allowed: {}, denied: {}}\ncases: []\n"):
        (tmp_path / "table.yaml").write_text(text, "utf-8")
        with pytest.raises(InputError) as caught:
            read_tables(tmp_path)
        [problem] = caught.value.problems
        assert problem.code == "F507"
        assert "\\u000a" not in str(problem)


def test_there_are_at_least_three_hundred_cases() -> None:
    assert sum(len(table.cases) for table in tables()) >= 300


@pytest.mark.parametrize("path", RULES, ids=name_of)
def test_every_rule_has_its_texts_its_test_its_table_and_two_samples(path: Path) -> None:
    text = shipped_bundle().rules[name_of(path)]
    assert text.title
    assert text.why
    assert text.unblock
    assert path.with_name(f"{path.stem}_test.rego").is_file()
    [table] = [table for table in tables() if table.rule == name_of(path)]
    assert [case.outcome for case in table.cases if case.of_all] == ["allowed", "denied"]


def test_no_two_tables_are_of_one_rule_and_none_is_of_no_rule() -> None:
    names = [table.rule for table in tables()]
    assert sorted(names) == sorted(name_of(path) for path in RULES)


def test_the_shipped_bundle_is_built_from_these_very_sources() -> None:
    """`trimtab policy build policies -o config_management/trimtab_config/policy/shipped` builds it anew."""
    assert shipped_bundle().sources == digests_of([CORE, POLICIES])


@pytest.mark.parametrize("path", [*RULES, *sorted(CORE.glob("*.rego"))], ids=lambda path: path.stem)
def test_no_rule_negates_a_call_over_a_path(path: Path) -> None:
    """In "not f(input.a.b)" a missing b makes the whole body undefined: the finding vanishes, and with it the refusal."""
    text = re.sub(r"#.*", "", path.read_text("utf-8"))
    assert not re.search(r"\bnot [\w.]+\([^)]*\b\w+\.\w+", text)
    assert not re.search(r"\bnot [\w.]+\.[\w.]+ (in|==|<|>|<=|>=) ", text)


def test_generated_documents_hit_every_rule_and_are_refused_often_enough(gate: PolicyGate) -> None:
    decisions = gate.decide(generated(2026, 3000))
    hit = {finding.rule for decision in decisions for finding in decision.findings}
    assert set(shipped_bundle().rules) <= hit
    denied = sum(not decision.allowed for decision in decisions)
    assert 0.3 <= denied / len(decisions) <= 0.95
    assert not any(finding.rule.startswith("engine.") for decision in decisions for finding in decision.findings)


def test_what_the_compiler_asks_is_always_whole(gate: PolicyGate) -> None:
    requests = [text for _, _, text in case_requests()]
    assert len(requests) >= 600
    assert outcome_of(gate.decide(requests), "input.shape") == "allowed"


@pytest.mark.parametrize(
    ("cpu", "refused"), [("500m", False), ("750m", False), ("751m", True), ("1", True), (0.75, False)]
)
def test_the_named_policy_denies_more_than_750m(gate: PolicyGate, cpu: str | float, *, refused: bool) -> None:
    [table] = [table for table in tables() if table.rule == "finops.baseline-cpu"]
    case = table.cases[0]
    requests = requests_of(table, type(case)({"deployment.spec.resourceLimits.cpu": cpu}, ""))
    assert outcome_of(gate.decide(requests), None) == ("denied" if refused else "allowed")
