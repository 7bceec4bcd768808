"""With `--no-skips` a skip is a failure, unless the program that it names is missing and may be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An empty project that has our conftest."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n", "utf-8")
    shutil.copy(ROOT / "tests/conftest.py", tmp_path)
    return tmp_path


def run(project: Path, test: str, *options: str, path: str = "/nonexistent", **more: str) -> str:
    """The last line that pytest prints for a project of one test module; `path` is where it finds programs."""
    (project / "test_one.py").write_text(test, "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    # The conftest names plugins of the tree.
    environment = os.environ | {"PATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)} | more
    environment.pop("PYTEST_ADDOPTS", None)
    result = subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return result.stdout.strip().splitlines()[-1]


def skipping(reason: str) -> str:
    return f"import pytest\n\ndef test_it():\n    pytest.skip({reason!r})\n"


def test_without_the_switch_a_skip_is_a_skip(project: Path) -> None:
    assert run(project, skipping("needs prometheus")).startswith("1 skipped")


def test_a_skip_for_something_installable_fails(project: Path) -> None:
    assert run(project, skipping("needs prometheus"), "--no-skips").startswith("1 failed")


def test_a_skip_without_a_program_fails(project: Path) -> None:
    assert run(project, skipping("not today"), "--no-skips").startswith("1 failed")


def test_a_mark_that_skips_fails_as_well(project: Path) -> None:
    marked = "import pytest\n\n@pytest.mark.skipif(True, reason='not today')\ndef test_it():\n    pass\n"
    assert run(project, marked, "--no-skips").startswith("1 error")


def test_a_module_that_skips_itself_fails_as_well(project: Path) -> None:
    module = "import pytest\n\npytest.importorskip('no_such_module_here')\n"
    assert "1 error" in run(project, module, "--no-skips")


def test_missing_go_is_excused(project: Path) -> None:
    assert run(project, skipping("needs go 1.22 or newer"), "--no-skips").startswith("1 skipped")


def test_go_that_is_there_excuses_nothing(project: Path, tmp_path: Path) -> None:
    go = tmp_path / "bin/go"
    go.parent.mkdir()
    go.write_text("#!/bin/sh\n", "utf-8")
    go.chmod(0o755)
    assert run(project, skipping("needs go 1.22 or newer"), "--no-skips", path=str(go.parent)).startswith("1 failed")


@pytest.mark.parametrize("works", [True, False])
def test_an_older_python_excuses_a_skip_only_where_none_can_be_run(project: Path, tmp_path: Path, works: bool) -> None:
    """A shim of pyenv on the PATH is no Python: it says that the command was not found."""
    shim = tmp_path / "bin/python3.12"
    shim.parent.mkdir()
    shim.write_text(f"#!/bin/sh\nexit {0 if works else 127}\n", "utf-8")
    shim.chmod(0o755)
    result = run(project, skipping("needs python3.12"), "--no-skips", path=str(shim.parent), PYENV_ROOT=str(tmp_path))
    assert result.startswith("1 failed" if works else "1 skipped")


def test_data_that_is_not_beside_the_tree_excuses_a_skip_and_other_data_does_not(project: Path) -> None:
    assert run(project, skipping("needs data ../shared/data/nab, which"), "--no-skips").startswith("1 skipped")
    assert run(project, skipping("needs data ../elsewhere"), "--no-skips").startswith("1 failed")
