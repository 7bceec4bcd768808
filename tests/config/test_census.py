"""The census: every device counted where it would count itself, in one pass, and nothing counted that is not there."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab_config.catalog import build_catalog
from trimtab_config.cli import main
from trimtab_config.plan.census import Census
from trimtab_config.plan.planner import Planner
from trimtab_config.sources.folder import load_folder
from trimtab_config.spec.reader import read_documents
from trimtab_kernel.problems import ExitCode
from trimtab_kernel.waves import is_member

FLEET = Path(__file__).parents[2] / "examples/fleet"
FILES = load_folder(FLEET)
TRIAGE = "deployments/triage.yaml"
CATALOG, _ = build_catalog(read_documents(FILES).documents)
GATEWAYS = ("gateway-amer", "gateway-andes", "gateway-emea")


def _placed() -> dict[str, tuple[str, Fraction]]:
    """Salt and percentage of the rollout in each of its groups, as they go to the devices."""
    planner = Planner(CATALOG)
    return {
        group: (placement.salt, placement.percent)
        for group in GATEWAYS
        for placement in planner.plan(group)[0].placements
        if placement.document.metadata.name == "triage-gateways"
    }


PLACED = _placed()
ids = st.text(st.characters(codec="ascii", min_codepoint=33, exclude_characters=","), min_size=1, max_size=30)


@given(st.dictionaries(ids, st.sampled_from([*GATEWAYS, "kiosk-emea"]), max_size=60))
def test_the_current_wave_reaches_exactly_the_devices_that_say_so_themselves(devices: dict[str, str]) -> None:
    census = Census(CATALOG)
    census.count("list", [f"{device},{group}\n".encode() for device, group in devices.items()])
    (rollout,), problems = census.result("list")
    assert problems == ()
    own = [
        device
        for device, group in devices.items()
        if group in PLACED and is_member(PLACED[group][0], device, PLACED[group][1])
    ]
    assert rollout.reached == len(own)
    assert rollout.devices == sum(group in PLACED for group in devices.values())
    counts = [wave.devices for wave in rollout.waves]
    assert counts == sorted(counts)
    assert sum(wave.new for wave in rollout.waves) == counts[-1] == rollout.devices


@settings(max_examples=20)
@given(st.fractions(0, 100), st.binary(min_size=1, max_size=8).map(bytes.hex))
def test_any_percentage_is_cut_where_the_kernel_cuts_it(percent: Fraction, device: str) -> None:
    share = round(percent, 3)
    text = f"{share.numerator / share.denominator:.3f}"
    files = {**FILES, TRIAGE: FILES[TRIAGE].replace(b"percent: 10", f"percent: {text}".encode())}
    assert files != FILES
    catalog, problems = build_catalog(read_documents(files).documents)
    if problems:
        return
    census = Census(catalog)
    census.count("list", [f"{device},gateway-andes".encode()])
    (rollout,), _ = census.result("list")
    wave = next(each for each in rollout.waves if each.name == "tenth")
    assert wave.groups["gateway-andes"] == is_member("clinics/triage-gateways/EdgeAIDeployment", device, Fraction(text))


def test_the_command_counts_a_list_and_says_what_advancing_reaches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = tmp_path / "devices.csv"
    listed.write_text("".join(f"device-{index},{GATEWAYS[index % 3]}\r\n" for index in range(3000)) + "\n")
    assert main(["rollout", str(FLEET), "--devices", str(listed), "--output", "json"]) == ExitCode.DONE
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    (rollout,) = report["rollouts"]
    assert rollout["devices"] == 3000
    assert rollout["next"] == {"wave": "all", "adds": 3000 - rollout["reached"]}
    first = rollout["waves"][0]
    assert first["devices"] == first["new"] == 1000
    assert main(["rollout", str(FLEET), "--devices", str(listed)]) == ExitCode.DONE
    text = capsys.readouterr().out
    assert "  > tenth" in text
    assert f"advancing to all reaches {3000 - rollout['reached']:,} more devices" in text


@pytest.mark.parametrize(
    ("content", "code", "line"),
    [
        (b"a,gateway-emea\nb,gatway-emea\n", "F142", 2),
        (b"a,gateway-emea\njust a line\n", "F142", 2),
        (b",gateway-emea\n", "F142", 1),
        (b"x" * 5000 + b",gateway-emea\n", "F142", 1),
        (b"\xff\xfe,\x00\n", "F142", 1),
        (b"a,gateway-emea\nb,gateway-emea\na,gateway-amer\n", "F143", 0),
    ],
)
def test_a_list_that_would_give_a_wrong_count_is_refused(
    content: bytes, code: str, line: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = tmp_path / "devices.csv"
    listed.write_bytes(content)
    assert main(["rollout", str(FLEET), "--devices", str(listed)]) == ExitCode.PROBLEMS
    captured = capsys.readouterr()
    place = f"{listed}:{line}" if line else str(listed)
    assert captured.out == ""
    assert captured.err.startswith(f"{place}: {code} ")


def test_a_list_that_is_wrong_throughout_is_told_in_ten_lines() -> None:
    census = Census(CATALOG)
    census.count("list", (b"nothing\n" for _ in range(100_000)))
    assert len(census.result("list")[1]) == 10


def test_a_list_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rollout", str(FLEET), "--devices", str(tmp_path / "none")]) == ExitCode.PROBLEMS
    assert "F142" in capsys.readouterr().err
