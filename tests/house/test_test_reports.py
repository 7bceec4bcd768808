"""The figure that CI prints last is what pytest itself counted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools/test_reports.py"

TESTS = """
import pytest

def test_good(): pass

@pytest.mark.parametrize("n", [1, 2])
def test_good_twice(n): pass

def test_bad(): assert False

@pytest.fixture
def broken(): raise OSError

def test_in_error(broken): pass

@pytest.mark.skip(reason="not today")
def test_skipped(): pass
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a real run with three good tests, a bad one, one in error and a skipped one."""
    project = tmp_path_factory.mktemp("project")
    (project / "test_some.py").write_text(TESTS, "utf-8")
    (project / "pytest.ini").write_text("[pytest]\n", "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml=report.xml"]
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    subprocess.run(command, cwd=project, env=environment, capture_output=True, timeout=60, check=False)
    return project / "report.xml"


def add_up(*reports: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, reports)]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


def test_a_skipped_test_counts_as_neither(report: Path) -> None:
    assert add_up(report).stdout == "3 2\n"


def test_reports_are_added_up(report: Path) -> None:
    assert add_up(report, report).stdout == "6 4\n"


def test_a_report_that_was_cut_off_is_an_error(report: Path, tmp_path: Path) -> None:
    part = tmp_path / "part.xml"
    part.write_text(report.read_text("utf-8")[:-20], "utf-8")
    result = add_up(part)
    assert result.returncode != 0
    assert result.stdout == ""
