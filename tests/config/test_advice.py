"""Advice: what it says is saved is saved, what it hands out applies, and what must not be is not advised."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.config.small_fleet import deployment, files_of, group, model, price_book
from trimtab_config.advice.advice import Advice, Topic, patch
from trimtab_config.advice.observed import Need, read_needs
from trimtab_config.advice.replicas import Peak
from trimtab_config.advice.steps import advise
from trimtab_config.advice.trials import Trials
from trimtab_config.catalog import build_catalog
from trimtab_config.cli import main
from trimtab_config.compilation import FleetCompiler
from trimtab_config.cost.estimate import estimate
from trimtab_config.sources.folder import load_folder
from trimtab_config.spec.reader import read_documents
from trimtab_kernel.problems import ExitCode, InputError

EXAMPLE = Path(__file__).parents[2] / "examples/fleet"
FILES = load_folder(EXAMPLE)
TRIAGE = "deployments/triage.yaml"


def changed(path: str, *pairs: tuple[str, str]) -> dict[str, bytes]:
    text = FILES[path].decode()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new, 1)
    return {**FILES, path: text.encode()}


def found(files: dict[str, bytes], needs: dict[tuple[str, str, str], Need] | None = None) -> tuple[Advice, ...]:
    return advise(Trials(files, FleetCompiler()), needs or {})


def applied(files: dict[str, bytes], advice: Advice) -> dict[str, bytes]:
    after = {**files, **advice.changes}
    return {path: content for path, content in after.items() if content is not None}


def total(files: dict[str, bytes]) -> dict[str, tuple[Decimal, Decimal, Decimal]]:
    catalog, problems = build_catalog(read_documents(files).documents)
    report, more = estimate(catalog)
    assert not (*problems, *more)
    return {each.currency: (each.figure.value, each.figure.low, each.figure.high) for each in report.totals}


def of(advice: tuple[Advice, ...], topic: Topic, name: str) -> Advice:
    (only,) = (each for each in advice if each.topic is topic and each.key.name == name)
    return only


def test_every_piece_of_advice_compiles_and_saves_what_it_says_by_another_sum() -> None:
    """The whole fleet is estimated before and after; the advice only looked at the groups that it touches."""
    advice = found(FILES)
    assert advice
    before = total(FILES)
    for each in advice:
        after = applied(FILES, each)
        FleetCompiler().open(after).render_all()
        if each.topic is Topic.UNUSED:
            assert total(after) == before  # what runs nothing is in no line of the estimate
            continue
        for saving in each.savings:
            then, now = before[saving.currency], total(after)[saving.currency]
            differences = [old - new for old, new in zip(then, now, strict=True)]
            assert (saving.value, saving.low, saving.high) == (differences[0], min(differences), max(differences))


def test_limits_come_down_to_what_was_measured_and_no_further() -> None:
    advice = of(found(FILES), Topic.LIMITS, "triage-gateways")
    assert advice.title == "set limits to memory 112Mi"
    assert all(saving.low > 0 for saving in advice.savings)
    after = applied(FILES, advice)
    assert of_kind(found(after), Topic.LIMITS, "triage-gateways") == []


def of_kind(advice: tuple[Advice, ...], topic: Topic, name: str) -> list[Advice]:
    return [each for each in advice if each.topic is topic and each.key.name == name]


def test_limits_below_what_was_observed_are_raised_first_of_all_although_that_costs() -> None:
    needs = {
        (group, "triage", version): Need(Decimal(400 * 2**20))
        for group in ("gateway-amer", "gateway-andes", "gateway-emea")
        for version in ("1.0.0", "1.1.0")
    }
    first = found(changed(TRIAGE, ("memory: 768Mi", "memory: 256Mi")), needs)[0]
    assert (first.topic, first.key.name) == (Topic.LIMITS, "triage-gateways")
    assert first.title == "set limits to memory 624Mi"
    assert first.savings[0].value < 0
    assert "safety" in first.heed[0]


def test_a_group_that_nobody_observed_keeps_the_cpu_limit() -> None:
    needs = {("gateway-amer", "triage", "1.1.0"): Need(cpu_peak_cores=Decimal("0.1"))}
    assert "cpu" not in of(found(FILES, needs), Topic.LIMITS, "triage-gateways").title


def test_a_cheaper_variant_is_advised_where_its_inferences_cost_less() -> None:
    """Reserved apart, a variant that takes a tenth of the CPU of another shows in the bill once use is beyond the limits."""
    digits = "deployments/digits.yaml"
    files = changed(digits, ("expectedRequestsPerDeviceDay: 40000", "expectedRequestsPerDeviceDay: 40000000000"))
    catalog, _ = build_catalog(read_documents(files).documents)
    versions = {each.version: each for each in catalog.models["digits"].spec.versions}
    seconds = {each.tier.value: each.profile.cpu_seconds.value for each in versions["2.1.0"].variants}
    cheaper = seconds["lite"] < seconds["standard"] * Decimal("0.9")
    advice = of_kind(found(files), Topic.VARIANT, "digits-kiosks")
    assert bool(advice) is cheaper


def test_a_frequency_that_fits_the_daily_budget() -> None:
    catalog, _ = build_catalog(read_documents(FILES).documents)
    most = max(
        variant.profile.cpu_seconds.value
        for version in catalog.models["triage"].spec.versions
        for variant in version.variants
    )
    budget = most * 10_000  # half of the 20,000 requests that are expected
    files = changed(
        TRIAGE, ("    maximumPerMinute: 600", f"    maximumPerMinute: 600\n    dailyCpuSeconds: {budget:f}")
    )
    advice = of(found(files), Topic.FREQUENCY, "triage-kiosks")
    after = read_documents(applied(files, advice)).documents
    (document,) = (each for each in after if each.metadata.name == "triage-kiosks")
    inference = document.spec.inference
    assert 1 <= inference.maximum_per_minute < 600
    assert inference.expected_requests_per_device_day <= inference.maximum_per_minute * 1440


def test_what_nobody_uses_is_named_and_can_be_taken_away() -> None:
    spare = FILES["models/claims.yaml"].replace(b"name: claims\n", b"name: spare\n", 1)
    files = {**FILES, "models/spare.yaml": spare}
    advice = of(found(files), Topic.UNUSED, "spare")
    assert dict(advice.changes) == {"models/spare.yaml": None}


def test_limits_that_no_device_has_room_for_are_told_without_a_patch() -> None:
    needs = {
        (group, "triage", version): Need(Decimal(2**40))
        for group in ("gateway-amer", "gateway-andes", "gateway-emea")
        for version in ("1.0.0", "1.1.0")
    }
    first = found(FILES, needs)[0]
    assert (first.topic, first.key.name, dict(first.changes)) == (Topic.LIMITS, "triage-gateways", {})
    assert "does not fit" in first.title


def test_the_patches_apply_with_git(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fleet, patches = tmp_path / "fleet", tmp_path / "patches"
    shutil.copytree(EXAMPLE, fleet)
    assert main(["advise", str(fleet), "--patches", str(patches), "--output", "json"]) == ExitCode.DONE
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    names = [advice["name"] for advice in report["advice"]]
    assert sorted(path.stem for path in patches.iterdir()) == sorted(names)
    for advice in report["advice"]:
        (patches / "one.patch").write_text(advice["patch"])
        subprocess.run(["git", "apply", "--check", str(patches / "one.patch")], cwd=fleet, check=True)
    subprocess.run(["git", "apply", str(patches / f"{names[0]}.patch")], cwd=fleet, check=True)
    assert main(["validate", str(fleet)]) == ExitCode.DONE
    assert main(["advise", str(fleet)]) == ExitCode.DONE
    assert f"{names[0]}:" not in capsys.readouterr().out


def test_a_patch_of_files_without_a_line_end_and_of_new_and_old_files(tmp_path: Path) -> None:
    before = {"a.txt": b"one\ntwo", "b.txt": b"gone\n"}
    changes = {"a.txt": b"one\n2", "b.txt": None, "c.txt": b"new"}
    for path, content in before.items():
        (tmp_path / path).write_bytes(content)
    subprocess.run(["git", "apply", "-"], cwd=tmp_path, check=True, input=patch(before, changes).encode())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.txt": b"one\n2", "c.txt": b"new"}


CSV = "device_group,model,version,memory_peak_bytes,cpu_peak_cores,requests_per_device_day\n"


def test_observations_as_csv_and_as_json_lines_are_the_same() -> None:
    lines = (
        b'{"device_group": "g", "model": "m", "version": "1.0.0", "memory_peak_bytes": 1000, "cpu_peak_cores": 0.25}\n'
    )
    expected = {("g", "m", "1.0.0"): Need(Decimal(1000), Decimal("0.25"), None)}
    assert read_needs("n.csv", f"{CSV}g,m,1.0.0,1000,0.25,\n".encode()) == expected
    assert read_needs("n.jsonl", lines) == expected


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"device_group,model\ng,m\n", 1),
        (CSV.encode() + b"g,m,1.0.0,-1,,\n", 2),
        (CSV.encode() + b"g,m,1.0.0,NaN,,\n", 2),
        (CSV.encode() + b"g,m,1.0.0,1\n", 2),
        (CSV.encode() + b"g,,1.0.0,1,,\n", 2),
        (CSV.encode() + b"g,m,1.0.0,1,,\ng,m,1.0.0,2,,\n", 3),
        (b'{"device_group": "g", "model": "m", "version": "1", "cpu_peak_cores": true}\n', 1),
        (b'{"device_group": "g"}\n[' + b"[" * 100_000, 1),
        (b"\xff\xfe", 1),
    ],
)
def test_an_observation_that_cannot_be_read_is_a_problem_with_its_line(content: bytes, line: int) -> None:
    with pytest.raises(InputError) as caught:
        read_needs("n.csv", content)
    first = caught.value.problems[0]
    assert (first.code, first.file, first.line) == ("F140", "n.csv", line)


def test_advice_is_about_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["advise", str(EXAMPLE / "groups/emea.yaml")]) == ExitCode.PROBLEMS
    assert "F141" in capsys.readouterr().err


# ---------------------------------------------------------------- replicas


def site(workload: str = "Deployment") -> dict[str, bytes]:
    """Ten servers whose replica may use two cores."""
    served = deployment(spec__workload=workload, spec__resourceLimits={"cpu": "2", "memory": "1Gi"})
    return files_of(group(), model(), served, price_book())


def peak(high: float) -> dict[str, Peak]:
    return {"kiosks": Peak(datetime(2026, 11, 1, 14, tzinfo=UTC), high * 0.9, high, 168)}


def replicas(files: dict[str, bytes], high: float) -> list[Advice]:
    advice = advise(Trials(files, FleetCompiler()), {}, peak(high))
    return [each for each in advice if each.topic is Topic.REPLICAS]


@pytest.mark.parametrize(("high", "needed"), [(16.0, None), (16.1, 11), (31.9, 20), (14.3, 9), (0.0, 1)])
def test_replicas_keep_the_busiest_hour_within_four_fifths_of_their_limits(high: float, needed: int | None) -> None:
    files = site()
    found = replicas(files, high)
    assert [each.title for each in found] == ([f"run {needed} replicas instead of 10"] if needed else [])
    for each in found:
        assert f"deviceCount: {needed}" in patch(files, each.changes)
        before, after = total(files)["EUR"], total(applied(files, each))["EUR"]
        assert each.savings[0].value == before[0] - after[0]
        assert (each.savings[0].value > 0) is (needed is not None and needed < 10)


def test_a_daemon_set_has_no_replicas_to_choose() -> None:
    assert replicas(site("DaemonSet"), 30.0) == []


def test_the_command_reads_a_history_of_cores_and_puts_missing_replicas_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content in site().items():
        (tmp_path / name).write_bytes(content)
    history = tmp_path.with_name(f"{tmp_path.name}.csv")
    start = datetime(2026, 9, 7, tzinfo=UTC)
    lines = [f"{(start + timedelta(hours=hour)).isoformat()},kiosks,{10 + hour % 24}" for hour in range(24 * 36)]
    history.write_text("\n".join(["time,device_group,cores", *lines]), "utf-8")
    assert main(["advise", str(tmp_path), "--history", str(history), "--output", "json"]) == ExitCode.DONE
    first = json.loads(capsys.readouterr().out)["advice"][0]
    assert first["name"] == "replicas-fleet-kiosks"
    assert first["title"] == "run 21 replicas instead of 10"
    assert "23:00 with 33.0 cores" in first["why"][0]
