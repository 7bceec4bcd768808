"""The bench of the plugin protocol runs, and its trees have the sizes that its table names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.cmp import _tree
from trimtab_config.compilation import FleetCompiler

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("files", [12, 500])
def test_a_tree_has_so_many_files_and_a_sound_fleet(files: int) -> None:
    tree = _tree(files)
    assert len(tree) == files
    fleet = {name.removeprefix("fleet/"): content for name, content in tree.items() if name.startswith("fleet/")}
    rendered = FleetCompiler().open(fleet).render("site-00000")
    assert len(rendered.objects) > 5
    assert len(rendered.desired.models) >= 1


def test_it_runs_without_the_foreign_programs(tmp_path: Path) -> None:
    command = [sys.executable, "bench", "cmp", "--files", "12", "--calls", "3"]
    command += ["--argocd", str(tmp_path / "none"), "--helm", str(tmp_path / "none")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.strip().startswith("12 ")]
    assert [row[1] for row in rows] == ["native"]
    assert float(rows[0][2]) > 0
