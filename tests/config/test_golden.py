"""Every folder below tests/cases/render renders to exactly what it expects."""

from __future__ import annotations

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
