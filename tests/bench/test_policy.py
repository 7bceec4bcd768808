"""The bench of policies measures what it says: whole documents, every rule, and a budget that can be missed."""

from __future__ import annotations

import pytest

from bench import policy
from trimtab_config.policy.shipped import gate_of, shipped_bundle
from trimtab_kernel.decisions import ON_DEVICE


def test_its_documents_are_whole_and_none_is_refused() -> None:
    documents = policy.documents()
    assert len(documents) == 500
    assert all(decision.allowed for decision in gate_of().decide(documents))


def test_its_twelve_rules_are_shipped_ones() -> None:
    rules = {name.replace("/", ".").replace("_", "-") for name in policy._TWELVE}
    assert len(rules) == 12
    assert rules <= set(shipped_bundle().rules)


def row(single: float, batched: float, memory: float) -> dict[str, float]:
    return {"1": single, "5": batched, "50": batched, "ready": 0.01, "rss": memory}


def test_budgets_and_ratios_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    policy._show(
        {
            "all shipped rules": row(1999, 15_000, 64.5),
            "twelve rules": row(4000, 16_000, 40),
            "opa run --server": row(1000, 2000, 50),
        }
    )
    said = capsys.readouterr().out.splitlines()
    assert "twelve rules against opa run --server: 4.0, 8.0 and 8.0 times as many" in said
    assert said[-2].endswith("all shipped rules: 1 a call BEYOND, 50 a call within, memory BEYOND")
    assert said[-1].endswith("twelve rules: 1 a call within, 50 a call within, memory within")


def test_the_device_table_that_is_measured_has_every_rule_that_a_device_judges_and_lets_all_pass() -> None:
    documents = policy.documents()[:20]
    assert {row.rule for row in policy.judging_table().rows} == ON_DEVICE
    assert policy.device_table(documents, 0.001) > 0
    assert policy._judged(10.1).endswith("BEYOND")
    assert policy._judged(9.9).endswith("within")
