"""Where the lab's Go programs lie: `tools/lab` builds them, tests only ask it for the path."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
import yaml

SCRIPT = Path(__file__).parents[2] / "tools" / "lab"


@cache
def program_path(name: str) -> Path:
    """Where `tools/lab build` puts this program, there or not."""
    asked = subprocess.run(["sh", str(SCRIPT), "path", name], capture_output=True, text=True, check=True, timeout=20)
    return Path(asked.stdout.strip())


def lab_program(name: str) -> Path:
    """A built program; skips where Go is missing to build it, fails where it only was not built."""
    path = program_path(name)
    if not path.exists():
        if shutil.which("go") is None:
            pytest.skip(f"needs go to build {name} (tools/lab build {name})")
        pytest.fail(f"{name} is not built yet; run: tools/lab build {name}")
    return path


def definitions(name: str) -> list[dict[str, object]]:
    """The custom resource definitions that came with a program."""
    folder = lab_program(name).parent / "crds"
    found = []
    for file in sorted(folder.glob("*.yaml")):
        documents = yaml.load_all(file.read_text("utf-8"), Loader=yaml.CSafeLoader)
        found += [item for item in documents if item and item.get("kind") == "CustomResourceDefinition"]
    assert found, f"no definitions in {folder}"
    return found
