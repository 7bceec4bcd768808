"""With `--no-skips` a skip is a failure, unless the program that it names is missing and may be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An empty project that has our conftest."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n", "utf-8")
    shutil.copy(ROOT / "tests/conftest.py", tmp_path)
    return tmp_path


def skipping(reason: str) -> str:
    return f"import pytest\n\ndef test_it():\n    pytest.skip({reason!r})\n"


MODULES = {
    "installable": skipping("needs prometheus"),
    "reasonless": skipping("not today"),
    "marked": "import pytest\n\n@pytest.mark.skipif(True, reason='not today')\ndef test_it():\n    pass\n",
    "whole": "import pytest\n\npytest.importorskip('no_such_module_here')\n",
    "go": skipping("needs go 1.22 or newer"),
    "python": skipping("needs python3.12"),
    "data": skipping("needs data ../shared/data/nab, which"),
    "other_data": skipping("needs data ../elsewhere"),
}


def outcomes(project: Path, *options: str, programs: Mapping[str, str]) -> dict[str, str]:
    """What pytest says of each module; ``programs`` (name to shell script) are all that it finds on the PATH."""
    for name, test in MODULES.items():
        (project / f"test_{name}.py").write_text(test, "utf-8")
    (project / "bin").mkdir()
    for name, script in programs.items():
        (project / "bin" / name).write_text(f"#!/bin/sh\n{script}\n", "utf-8")
        (project / "bin" / name).chmod(0o755)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junit-xml=told.xml"]
    command += ["--continue-on-collection-errors", *options]
    # The conftest names plugins of the tree. A version manager's Pythons are none of the test's.
    own = {"PATH": str(project / "bin"), "PYTHONPATH": str(ROOT), "PYENV_ROOT": str(project)}
    environment = os.environ | own | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment.pop("PYTEST_ADDOPTS", None)
    subprocess.run(command, cwd=project, env=environment, capture_output=True, timeout=60, check=False)
    told = {}
    for case in ET.parse(project / "told.xml").getroot().iter("testcase"):  # noqa: S314 - pytest wrote it just now
        module = (case.get("classname") or case.get("name") or "").removeprefix("test_")
        told[module] = next((child.tag for child in case), "passed")
    return told


def test_without_the_switch_a_skip_is_a_skip(project: Path) -> None:
    assert outcomes(project, programs={}) == dict.fromkeys(MODULES, "skipped")


def test_with_the_switch_only_what_cannot_be_installed_and_is_missing_excuses_a_skip(project: Path) -> None:
    """A shim of pyenv on the PATH is no Python: it says that the command was not found."""
    assert outcomes(project, "--no-skips", programs={"python3.12": "exit 127"}) == {
        "installable": "failure",
        "reasonless": "failure",
        "marked": "error",
        "whole": "error",
        "go": "skipped",
        "python": "skipped",
        "data": "skipped",
        "other_data": "failure",
    }


def test_a_program_that_is_there_excuses_nothing(project: Path) -> None:
    told = outcomes(project, "--no-skips", programs={"go": "", "python3.12": "exit 0"})
    assert (told["go"], told["python"]) == ("failure", "failure")
