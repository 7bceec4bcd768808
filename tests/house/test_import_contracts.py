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
    "a package inside a room": Planted("adapters", "edge_runtime/trimtab_edge/x", "onnxruntime.capi"),
}


def contract_names() -> dict[str, str]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    return {contract["id"]: contract["name"] for contract in settings["contracts"]}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the packages and of the contracts that judge them."""
    for room in (*ROOMS, "tools"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


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


def test_the_tree_as_it_stands_keeps_every_contract(tree: Path) -> None:
    result = lint(tree)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{len(contract_names())} kept, 0 broken" in result.stdout


@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_import_is_caught_and_its_contract_named(tree: Path, planted: Planted) -> None:
    (tree / f"{planted.module}.py").write_text(f"import {planted.imports}\n", "utf-8")
    result = lint(tree, "--contract", planted.contract)
    assert result.returncode == 1, result.stdout + result.stderr
    assert f"{contract_names()[planted.contract]} BROKEN" in result.stdout
    importer = planted.module.partition("/")[2].replace("/", ".")
    assert f"{importer} -> {planted.imports.partition('.')[0]}" in result.stdout


def test_an_import_that_only_a_checker_runs_counts_too(tree: Path) -> None:
    """A type-only import still ties the rooms together: the edge extra could not be type-checked alone."""
    lines = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import trimtab_bot\n"
    (tree / "edge_runtime/trimtab_edge/x.py").write_text(lines, "utf-8")
    assert lint(tree, "--contract", "rooms-apart").returncode == 1


def test_every_contract_has_a_planted_import() -> None:
    assert {planted.contract for planted in PLANTED.values()} == set(contract_names())
