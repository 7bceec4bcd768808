"""The import contracts of pyproject.toml bite: a planted import of each forbidden kind is caught and named."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("config_management", "plugins", "bot", "edge_runtime")


@dataclass(frozen=True, slots=True)
class Planted:
    """One forbidden import: the contract it breaks, the module that is planted, and what that module imports."""

    contract: str
    module: str
    imports: str


CHECKED = "an import that only a checker runs"
PLANTED = {
    "the kernel imports the compiler": Planted("fleet-layers", "config_management/trimtab_kernel/x", "trimtab_config"),
    "the compiler imports the bot": Planted("fleet-layers", "config_management/trimtab_config/x", "trimtab_bot"),
    "the kernel imports the device": Planted("device-layers", "config_management/trimtab_kernel/x", "trimtab_edge"),
    "the device imports the compiler": Planted(
        "device-without-config", "edge_runtime/trimtab_edge/x", "trimtab_config"
    ),
    "the compiler imports the device": Planted(
        "device-without-config", "config_management/trimtab_config/x", "trimtab_edge"
    ),
    "the bot imports a plugin": Planted("rooms-apart", "bot/trimtab_bot/x", "trimtab_plugins"),
    "the device imports the bot": Planted("rooms-apart", "edge_runtime/trimtab_edge/x", "trimtab_bot"),
    "the server imports the agent": Planted(
        "device-processes", "edge_runtime/trimtab_edge/serving/x", "trimtab_edge.lifecycle"
    ),
    "the kernel imports a third-party package": Planted("kernel-stdlib", "config_management/trimtab_kernel/x", "yaml"),
    "the kernel reads the clock": Planted("kernel-pure", "config_management/trimtab_kernel/x", "time"),
    "the kernel opens a socket": Planted("kernel-pure", "config_management/trimtab_kernel/x", "socket"),
    "the plan of a group reads the clock": Planted("cores-pure", "config_management/trimtab_config/plan/x", "time"),
    "the approval machine rolls dice": Planted("cores-pure", "bot/trimtab_bot/approvals/x", "random"),
    "the reader of documents knows of plans": Planted(
        "compiler-layers", "config_management/trimtab_config/spec/x", "trimtab_config.plan"
    ),
    "the bot's state machine reaches for the database": Planted("adapters", "bot/trimtab_bot/x", "sqlalchemy"),
    "another module than the adapter queries Prometheus": Planted(
        "adapters", "bot/trimtab_bot/x", "prometheus_api_client"
    ),
    "a package that no adapter names": Planted("adapters", "plugins/trimtab_plugins/x", "hypothesis"),
    # The edge extra could not be type-checked alone.
    CHECKED: Planted("rooms-apart", "edge_runtime/trimtab_edge/x", "trimtab_bot"),
    "a package inside a room": Planted("adapters", "edge_runtime/trimtab_edge/x", "onnxruntime.capi"),
}


def contract_names() -> dict[str, str]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    return {contract["id"]: contract["name"] for contract in settings["contracts"]}


def copied(folder: Path) -> Path:
    """A copy of the packages and of the contracts that judge them."""
    for room in (*ROOMS, "tools"):
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def lint(tree: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Runs the linter on the copy; its packages come before the installed ones."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(str(tree / room) for room in ROOMS),
        "PYTHONDONTWRITEBYTECODE": "1",
        "COLUMNS": "200",
    }
    program = "import importlinter.cli as c; c.lint_imports_command()"
    command = [sys.executable, "-c", program, "--no-cache", *options]
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_the_tree_as_it_stands_keeps_every_contract(tmp_path: Path) -> None:
    result = lint(copied(tmp_path))
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{len(contract_names())} kept, 0 broken" in result.stdout


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the linter says of a copy that holds every planted import, each in a module of its own."""
    tree = copied(tmp_path_factory.mktemp("planted"))
    for place, planted in enumerate(PLANTED.values()):
        code = f"import {planted.imports}\n"
        if planted is PLANTED[CHECKED]:
            code = f"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    {code}"
        (tree / f"{planted.module}{place}.py").write_text(code, "utf-8")
    result = lint(tree)
    assert result.returncode == 1, result.stdout + result.stderr
    return result.stdout


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_import_is_caught_and_its_contract_named(told: str, name: str) -> None:
    """Under the heading of that contract, so that none is caught by another alone."""
    planted = PLANTED[name]
    contract = contract_names()[planted.contract]
    assert f"{contract} BROKEN" in told
    headings = sorted(told.index(f"\n{each}\n{'-' * len(each)}\n") for each in contract_names().values())
    begin = told.index(f"\n{contract}\n{'-' * len(contract)}\n")
    end = next((each for each in headings if each > begin), len(told))
    importer = planted.module.partition("/")[2].replace("/", ".") + str(list(PLANTED).index(name))
    assert f"{importer} -> {planted.imports.partition('.')[0]}" in told[begin:end]


def test_every_contract_has_a_planted_import() -> None:
    assert {planted.contract for planted in PLANTED.values()} == set(contract_names())
