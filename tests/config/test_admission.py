"""What `trimtab policy admission` prints; that the API server decides by it alike is shown in the lab."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from trimtab_config.cli import main
from trimtab_config.policy.admission import EXPRESSIONS, NOT_AT_ADMISSION, WEBHOOK_ONLY
from trimtab_config.policy.cases import base_fleet, changed

ROOT = Path(__file__).parents[2]
POLICIES = {
    "finops.spec.caps": {"cpu": "750m", "memory": "1Gi", "gpu": 1},
    "finops.spec.requiredTags": ["team", "app"],
    "finops.spec.levels": {"finops.memory-cap": "warn", "finops.required-tags": "dryRun"},
    "finops.spec.exceptions": [
        {"rule": "finops.cpu-cap", "owner": "a", "reason": "b", "until": "2026-12-31", "groups": ["cameras"]}
    ],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, item in changed(base_fleet(), POLICIES).items():
        (tmp_path / f"{name}.yaml").write_text(json.dumps(item, default=str), "utf-8")
    return tmp_path


def test_one_policy_for_each_rule_a_binding_for_each_level_and_parameters_for_each_item(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["policy", "admission", str(folder), "--namespace", "rules"]) == 0
    objects = list(yaml.safe_load_all(capsys.readouterr().out))
    policies = {item["metadata"]["name"] for item in objects if item["kind"] == "ValidatingAdmissionPolicy"}
    expected = (
        "alignment.data-egress",
        "finops.cpu-cap",
        "finops.gpu-cap",
        "finops.memory-cap",
        "finops.required-tags",
    )
    assert policies == {f"trimtab-{rule}" for rule in (*expected, "input.shape")}
    bindings = {item["metadata"]["name"]: item["spec"] for item in objects if item["kind"].endswith("Binding")}
    assert bindings["trimtab-finops.memory-cap-warn"]["validationActions"] == ["Warn", "Audit"]
    assert bindings["trimtab-finops.required-tags-dry-run"]["validationActions"] == ["Audit"]
    assert {spec["paramRef"]["parameterNotFoundAction"] for spec in bindings.values()} == {"Deny"}
    data = [item["data"] for item in objects if item["kind"] == "ConfigMap"]
    assert {item["metadata"]["namespace"] for item in objects if item["kind"] == "ConfigMap"} == {"rules"}
    assert sorted(item["item"] for item in data if item.get("rule") == "finops.required-tags") == ["app", "team"]
    # An exception makes a warning of a refusal.
    caps = {item["applies"]: item for item in data if item.get("rule") == "finops.cpu-cap"}
    assert set(caps) == {"unless-excused", "if-excused"}
    assert caps["if-excused"]["excused"] == "*@cameras"
    assert "trimtab-finops.cpu-cap-warn" in bindings


def test_of_every_rule_it_is_said_once_who_judges_it_at_the_api_server() -> None:
    from trimtab_config.policy.shipped import shipped_bundle

    said = [*EXPRESSIONS, *WEBHOOK_ONLY, *NOT_AT_ADMISSION]
    assert sorted(said) == sorted(shipped_bundle().rules)


def test_the_documentation_says_who_judges_what() -> None:
    """The table is `places_table(shipped_bundle().rules)` of trimtab_config.policy, word for word."""
    from trimtab_config.policy.places import places_table
    from trimtab_config.policy.shipped import shipped_bundle

    assert places_table(shipped_bundle().rules) in (ROOT / "docs/policies.md").read_text("utf-8")


def test_what_a_rule_needs_of_the_fleet_is_listed_beside_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = {
        "alignment.spec.jurisdictions": ["EU", "GB"],
        "alignment.spec.prohibitedCapabilities": ["Counting", "reading"],
    }
    for name, item in changed(base_fleet(), changes).items():
        (folder / f"{name}.yaml").write_text(json.dumps(item, default=str), "utf-8")
    assert main(["policy", "admission", str(folder)]) == 0
    objects = list(yaml.safe_load_all(capsys.readouterr().out))
    found = {item["data"].get("rule"): item["data"] for item in objects if item["kind"] == "ConfigMap"}
    assert found["alignment.jurisdiction"]["places"] == "cameras EU\nphones US"
    assert found["alignment.jurisdiction"]["names"] == "EU\nGB"
    capable = found["alignment.prohibited-capabilities"]
    assert (capable["item"], capable["models"], capable["expected"]) == (
        "Counting",
        "counter",
        "none of Counting, reading",
    )


def test_the_webhook_fails_closed_unless_it_is_told_otherwise(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["policy", "admission", str(folder), "--format", "webhook", "-o", str(out)]) == 0
    [hook] = yaml.safe_load((out / "admission.yaml").read_text("utf-8"))["webhooks"]
    assert (hook["failurePolicy"], hook["sideEffects"], hook["timeoutSeconds"]) == ("Fail", "None", 10)
    assert main(["policy", "admission", str(folder), "--format", "webhook", "--fail-open", "-o", str(out)]) == 0
    [hook] = yaml.safe_load((out / "admission.yaml").read_text("utf-8"))["webhooks"]
    assert hook["failurePolicy"] == "Ignore"
