"""docs/reference is what the code says, and the code says enough."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from trimtab_kernel import codes

ROOT = Path(__file__).parents[2]
ROOMS = ("config_management", "plugins", "bot", "edge_runtime")


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """The program that writes the pages."""
    spec = importlib.util.spec_from_file_location("reference", ROOT / "tools/reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["reference"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["cli.md", "codes.md", "kinds.md", "metrics.md"])
def test_a_page_is_current(reference: ModuleType, name: str) -> None:
    assert (ROOT / "docs/reference" / name).read_text("utf-8") == reference.pages()[name], (
        "run: .venv/bin/python tools/reference.py"
    )


def test_every_command_is_documented_with_an_example(reference: ModuleType) -> None:
    page = (ROOT / "docs/reference/cli.md").read_text("utf-8")
    found = [("trimtab", command) for command, _ in reference.fleet_commands()]
    found += [("trimtab-edge", command) for command in reference.device_commands()]
    assert found
    for program, command in found:
        assert f"\n## `{program} {command.name}`\n" in page
        assert command.summary
        assert command.examples or any(child.examples for child in command.subcommands), command.name


def test_an_entry_point_carries_the_name_of_its_command(reference: ModuleType) -> None:
    """`trimtab NAME` loads the entry point NAME only, so another name inside would never be found."""
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    for command, _ in reference.fleet_commands():
        assert re.search(rf"^{command.name} = \"trimtab_\w+\.[\w.]+:COMMAND \[\w+\]\"$", project, re.MULTILINE)


def codes_in_the_code() -> dict[str, str]:
    """Every problem code that a module names, with one place of it; the tables of codes themselves apart."""
    found = {}
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            if "codes" not in path.parts:
                for code in re.findall(r"\"([FGEBA]\d{3})[\" ]", path.read_text("utf-8")):
                    found[code] = str(path.relative_to(ROOT))
    return found


def test_every_code_in_the_code_is_explained() -> None:
    assert {code: place for code, place in codes_in_the_code().items() if code not in codes.BY_CODE} == {}


def test_every_explained_code_can_happen() -> None:
    assert set(codes.BY_CODE) - set(codes_in_the_code()) == set()


def test_no_code_is_given_out_twice() -> None:
    assert len(codes.BY_CODE) == len(codes.ALL)
