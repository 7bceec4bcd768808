"""Policy where fleets are compiled: render and validate refuse, warn and annotate alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trimtab_config.cli import main
from trimtab_config.compilation import FleetCompiler
from trimtab_config.policy.cases import base_fleet, changed
from trimtab_config.policy.gate import PolicyRefusedError
from trimtab_config.sources.folder import load_folder
from trimtab_kernel import vocabulary
from trimtab_kernel.problems import InputError

EXAMPLE = Path(__file__).parents[2] / "examples/fleet"
FORBIDDEN = {
    "model.metadata.name": "facial-recognition-v3",
    "deployment.spec.modelRef.name": "facial-recognition-v3",
    "alignment.metadata.name": "ai-alignment-policy-vision-sensitive",
    "deployment.spec.aiAlignmentPolicyRef": "ai-alignment-policy-vision-sensitive",
    "mobile.spec.aiAlignmentPolicyRef": "ai-alignment-policy-vision-sensitive",
}
CAPPED = {"finops.spec.caps.cpu": "750m", "deployment.spec.resourceLimits.cpu": "751m"}


def files(**changes: Any) -> dict[str, bytes]:  # noqa: ANN401 - any value of YAML
    """The fleet of the tables, one JSON file (which is YAML) for each object."""
    fleet = changed(base_fleet(), {path.replace("__", "."): value for path, value in changes.items()})
    return {f"{name}.yaml": json.dumps(item, indent=1).encode() for name, item in fleet.items()}


def fleet_of(changes: dict[str, Any]) -> dict[str, bytes]:
    return files(**{path.replace(".", "__"): value for path, value in changes.items()})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def write(folder: Path, changes: dict[str, Any]) -> Path:
    for name, content in fleet_of(changes).items():
        (folder / name).write_bytes(content)
    return folder


def annotated(rendered: Any) -> dict[str, str]:  # noqa: ANN401 - a RenderedGroup
    [found] = [item for item in rendered.objects if item["kind"] == "EdgeAIDeployment"]
    made: dict[str, str] = found["metadata"]["annotations"]
    return made


@pytest.mark.parametrize(
    ("changes", "field", "got", "rule"),
    [
        (CAPPED, "spec.resourceLimits.cpu", "751m", "finops.cpu-cap"),
        (FORBIDDEN, "spec.modelRef.name", "facial-recognition-v3", "alignment.baseline-models"),
    ],
    ids=["cpu", "model"],
)
def test_a_refusal_names_file_line_field_and_the_way_out(
    changes: dict[str, Any], field: str, got: str, rule: str
) -> None:
    with pytest.raises(PolicyRefusedError) as caught:
        FleetCompiler().open(fleet_of(changes), "fleet").render("cameras")
    [problem] = caught.value.problems
    assert (problem.code, problem.file, problem.field, problem.got) == ("F501", "fleet/deployment.yaml", field, got)
    assert problem.line > 1
    assert problem.hint.startswith(f"{rule}: ")
    assert "Lower" in problem.hint or "Deploy" in problem.hint


def test_only_the_group_that_is_refused_is_not_rendered() -> None:
    fleet = FleetCompiler().open(fleet_of(CAPPED))
    assert fleet.render("phones").objects
    with pytest.raises(PolicyRefusedError):
        fleet.render_all()


def test_something_wrong_beside_a_refusal_is_a_problem_not_a_refusal() -> None:
    broken = {**CAPPED, "mobile.spec.modelId": "Not A Name"}
    with pytest.raises(InputError) as caught:
        FleetCompiler().open(fleet_of(broken)).render_all()
    assert not isinstance(caught.value, PolicyRefusedError)
    assert {problem.code for problem in caught.value.problems} == {"F307", "F501"}


def test_a_warning_is_rendered_and_told() -> None:
    rendered = FleetCompiler().open(fleet_of({**CAPPED, "finops.spec.level": "warn"})).render("cameras")
    assert [finding.code for finding in rendered.findings] == ["F502"]


def test_annotations_carry_the_verdict_and_what_it_rests_on() -> None:
    prohibited = {"alignment.spec.prohibitedModels": ["counter"], "alignment.spec.level": "warn"}
    fine = annotated(FleetCompiler().open(fleet_of({})).render("cameras"))
    assert fine[vocabulary.ALIGNMENT_VERDICT] == "fine"
    assert fine[vocabulary.ALIGNMENT_EVIDENCE]
    warned = annotated(FleetCompiler().open(fleet_of(prohibited)).render("cameras"))
    assert warned[vocabulary.ALIGNMENT_VERDICT] == "breach"
    assert "alignment.prohibited-models" in warned[vocabulary.ALIGNMENT_EVIDENCE]


def test_the_example_fleet_passes_and_its_costly_version_warns() -> None:
    tree = load_folder(EXAMPLE)
    rendered = FleetCompiler().open(tree).render_all()
    assert not [finding for group in rendered.values() for finding in group.findings if finding.code == "F502"]
    name = "deployments/digits.yaml"
    costly = {**tree, name: tree[name].replace(b'version: "2.1.0"', b'version: "2.2.0"')}
    found = FleetCompiler().open(costly).render("kiosk-emea").findings
    assert "finops.cost-ceiling" in next(finding.hint for finding in found if finding.code == "F502")


# ---------------------------------------------------------------- commands


def test_render_exits_with_2_and_writes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, CAPPED)
    assert main(["render", str(folder), "--all", "--output-dir", str(folder / "out")]) == 2
    output = capsys.readouterr()
    assert "F501 got 751m, expected at most 750m" in output.err
    assert not (folder / "out").exists()


def test_render_prints_warnings_and_goes_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, {**CAPPED, "finops.spec.level": "warn"})
    assert main(["render", str(folder), "--group", "cameras"]) == 0
    output = capsys.readouterr()
    assert "F502 got 751m" in output.err
    assert "kind: DaemonSet" in output.out


@pytest.mark.parametrize(
    ("level", "shown", "codes"),
    [
        ("deny", "deny", []), ("deny", "warn", []), ("deny", "dry-run", ["F503"]),
        ("warn", "deny", []), ("warn", "warn", ["F502"]), ("warn", "dry-run", ["F502", "F503"]),
    ],
)  # fmt: skip
def test_validate_shows_what_its_level_asks_for(
    folder: Path, capsys: pytest.CaptureFixture[str], level: str, shown: str, codes: list[str]
) -> None:
    tags = {"finops.spec.requiredTags": ["app"], "finops.spec.level": "warn"} if level == "warn" else {}
    write(folder, {**tags, "alignment.spec.fairness": {"minimum": 0.8, "minimumSample": 5000}})
    asked = ["validate", str(folder), "--as-of", "2026-11-22", "--policy-level", shown, "--output", "json"]
    assert main(asked) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["valid"] is True
    assert sorted({problem["code"] for problem in found["problems"]}) == codes


def test_validate_exits_with_2_where_policy_alone_refuses(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, CAPPED)
    assert main(["validate", str(folder), "--as-of", "2026-11-22"]) == 2
    assert "F501" in capsys.readouterr().err


def test_validate_judges_the_budget_of_the_whole_fleet(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither deployment alone is beyond it in any group; both together are."""
    second = changed(base_fleet(), {"group.metadata.name": "more-cameras"})["group"]
    write(folder, {"finops.spec.budget": {"monthly": {"amount": 2000, "currency": "EUR"}}})
    assert main(["validate", str(folder), "--as-of", "2026-11-22"]) == 0
    (folder / "second.yaml").write_text(json.dumps(second), "utf-8")
    capsys.readouterr()
    assert main(["validate", str(folder), "--as-of", "2026-11-22"]) == 2
    error = capsys.readouterr().err
    assert "finops.yaml" in error
    assert "spec.budget.monthly: F501" in error


@pytest.mark.parametrize(
    "changes",
    [
        {"finops.spec.levels": {"finops.cpu-capp": "warn"}},
        {"finops.spec.levels": {"alignment.fairness": "warn"}},
        {"alignment.spec.exceptions": [{"rule": "fairness", "owner": "a", "reason": "b", "until": "2027-01-01"}]},
    ],
    ids=["misspelt", "of the other policy", "exception"],
)
def test_a_level_or_an_exception_of_no_rule_is_a_problem(
    folder: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any]
) -> None:
    write(folder, changes)
    assert main(["validate", str(folder), "--as-of", "2026-11-22"]) == 1
    assert "F508" in capsys.readouterr().err


def test_an_exception_is_over_on_its_day_for_validate_and_not_for_render(folder: Path) -> None:
    exception = {"rule": "finops.cpu-cap", "owner": "finance", "reason": "trial", "until": "2026-11-30"}
    changes = {**CAPPED, "finops.spec.exceptions": [exception]}
    write(folder, changes)
    assert main(["validate", str(folder), "--as-of", "2026-11-30"]) == 0
    assert main(["validate", str(folder), "--as-of", "2026-12-01"]) == 2
    [finding] = FleetCompiler().open(fleet_of(changes)).render("cameras").findings
    assert "finance excuses it until 2026-11-30: trial" in finding.hint


def test_an_old_model_is_told_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, {"alignment.spec.maximumModelAge": "30d"})
    assert main(["validate", str(folder), "--as-of", "2026-11-22"]) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if "spec.modelRef.version" in line]
    assert len(lines) == 1
    assert "F603" in lines[0]


# ---------------------------------------------------------------- trimtab policy


def test_explain_lists_the_rules_and_says_how_to_get_unblocked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "explain"]) == 0
    assert "finops.cpu-cap" in capsys.readouterr().out
    assert main(["policy", "explain", "finops.cpu-cap"]) == 0
    output = capsys.readouterr().out
    assert "how to get unblocked:" in output
    assert "Lower spec.resourceLimits.cpu" in output
    assert main(["policy", "explain", "--output", "json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["rules"]) >= 20


def test_explain_of_no_rule_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "explain", "finops.cpu-capp"]) == 1
    assert "finops.cpu-cap" in capsys.readouterr().err


def test_a_case_that_comes_out_otherwise_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = {
        "rule": "finops.cpu-cap",
        "given": {"finops.spec.caps.cpu": "750m"},
        "sample": {"allowed": {}, "denied": {"deployment.spec.resourceLimits.cpu": "1"}},
        "cases": [{"field": "deployment.spec.resourceLimits.cpu", "allowed": ["500m", "751m"]}],
    }
    (tmp_path / "cases.yaml").write_text(json.dumps(table), "utf-8")
    assert main(["policy", "test", str(tmp_path), "--no-rego"]) == 1
    error = capsys.readouterr().err
    assert "F507 got denied, expected allowed" in error
    assert "751m" in error
    assert "1 problem" in error


@pytest.mark.parametrize("command", ["check", "test", "build"])
def test_a_program_that_is_not_there_is_an_outside_failure(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extra = ["-o", str(tmp_path / "out")] if command == "build" else []
    assert main(["policy", command, str(tmp_path), "--opa", "no-such-opa", *extra]) == 3
    assert "no-such-opa" in capsys.readouterr().err
