"""Every folder below tests/cases/render renders to exactly what it expects."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.config.small_fleet import catalog_of_files
from tests.golden import cases, compare
from trimtab_config.emit.yaml_stream import yaml_stream
from trimtab_config.render.bundle import Compiler
from trimtab_config.sources.folder import load_folder


@pytest.mark.parametrize("case", cases("render"), ids=lambda path: path.name)
def test_a_case_renders_to_what_it_expects(case: Path, request: pytest.FixtureRequest) -> None:
    catalog = catalog_of_files(load_folder(case / "input"))
    compiler = Compiler(catalog)
    got: dict[str, str] = {}
    problems: list[str] = []
    for name in catalog.groups:
        bundle, found = compiler.compile(name)
        problems += [f"{name}: {problem}" for problem in found]
        if bundle is not None:
            got[f"{name}/manifests.yaml"] = yaml_stream(bundle.objects)
    if problems:
        got["problems.txt"] = "\n".join(problems) + "\n"
    compare(case, got, update=request.config.getoption("--update-golden"))


def test_a_difference_is_shown_and_an_update_mends_it(tmp_path: Path) -> None:
    (tmp_path / "expected" / "a").mkdir(parents=True)
    (tmp_path / "expected" / "a" / "manifests.yaml").write_text("old\n")
    (tmp_path / "expected" / "gone.txt").write_text("no more\n")
    got = {"a/manifests.yaml": "new\n", "more.txt": "more\n"}
    with pytest.raises(AssertionError, match=r"(?s)-old.*\+new.*-no more.*\+more"):
        compare(tmp_path, got, update=False)
    compare(tmp_path, got, update=True)
    compare(tmp_path, got, update=False)


def test_golden_files_are_never_rewritten_in_ci() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--update-golden", "--collect-only", "-q", __file__],
        env={**os.environ, "CI": "true"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "--update-golden is not for CI" in done.stderr
