"""The bench measures what it says: sound fleets, and a peer that makes the same objects."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.fleets import fleet_files, group_file, group_name, write_fleet
from bench.render_peer import render, template_of
from tests.config.small_fleet import catalog_of_files
from trimtab_config.emit.yaml_stream import yaml_stream
from trimtab_config.render.bundle import Compiler

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("per_group", [5, 50])
def test_a_fleet_is_sound_and_every_group_has_its_deployments(per_group: int) -> None:
    catalog = catalog_of_files(fleet_files(10, per_group))
    assert len(catalog.models) == 50
    compiler = Compiler(catalog)
    for name in catalog.groups:
        assert len(catalog.deployments_of(name)) == per_group
        bundle, problems = compiler.compile(name)
        assert problems == ()
        assert bundle is not None
        assert len(bundle.desired.models) == per_group


def test_a_changed_group_is_another_file_of_the_same_name() -> None:
    files = fleet_files(10, 5)
    name, content = group_file(3, 4321)
    assert files[name] != content
    assert catalog_of_files({**files, name: content}).groups[group_name(3)].spec.device_count == 4321


def test_a_number_of_deployments_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 5 or 50"):
        fleet_files(10, 7)


def test_the_peer_makes_the_same_objects(tmp_path: Path) -> None:
    """For the groups that its templates were made of, equal to the last field."""
    write_fleet(tmp_path / "fleet", 12, 5)
    (tmp_path / "templates").mkdir()
    compiler = Compiler(catalog_of_files(fleet_files(12, 5)))
    expected: dict[str, list[dict[str, Any]]] = {}
    for index in range(10):
        bundle, _ = compiler.compile(group_name(index))
        assert bundle is not None
        text = yaml_stream(bundle.objects)
        expected[group_name(index)] = list(yaml.safe_load_all(text))
        (tmp_path / "templates" / f"slot-{index}.yaml").write_text(template_of(text, group_name(index)))
    assert render(tmp_path / "fleet", tmp_path / "templates", tmp_path / "out") == 12 * 12
    for name, objects in expected.items():
        assert list(yaml.safe_load_all((tmp_path / "out" / name / "manifests.yaml").read_text())) == objects


def test_benches_are_listed_and_an_unknown_one_is_a_wrong_usage() -> None:
    listed = subprocess.run(
        [sys.executable, "bench"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert "render" in listed
    done = subprocess.run(
        [sys.executable, "bench", "nothing"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (64, "")
    assert "there are " in done.stderr
    assert "render" in done.stderr
