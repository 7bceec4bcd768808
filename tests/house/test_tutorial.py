"""The commands of a page of docs do what it shows, in the order in which it shows them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Shown:
    """One command of the page, and what the page shows after it."""

    command: str
    output: str
    exit_code: int


def shown_files(page: str) -> dict[str, str]:
    """The YAML blocks that begin with a comment that is a path, by that path."""
    return dict(re.findall(r"^```yaml\n# (\S+/\S+\.yaml)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))


def shown_commands(page: str) -> list[Shown]:
    """The commands of every console block."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            code = re.search(r"^\[exit code (\d+)\]\n", output, re.MULTILINE)
            found.append(Shown(command, output.replace(code[0], "") if code else output, int(code[1]) if code else 0))
    return found


def as_pattern(output: str) -> str:
    """Three dots stand for anything: for lines where they stand alone, else for a part of a line."""
    pattern = re.escape(output)
    return re.sub(r"(?m)^\\\.\\\.\\\.\\\n", "(?s:.*)", pattern).replace(r"\.\.\.", ".*")


@pytest.mark.parametrize(("name", "least"), [("tutorial", 10), ("fleet", 3)])
def test_every_command_shows_what_the_page_shows(tmp_path: Path, name: str, least: int) -> None:
    page = (ROOT / f"docs/{name}.md").read_text("utf-8")
    for file, content in shown_files(page).items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(content, "utf-8")
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "COLUMNS": "200",
    }
    commands = shown_commands(page)
    assert len(commands) >= least
    for shown in commands:
        result = subprocess.run(
            ["sh", "-c", shown.command],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        assert result.returncode == shown.exit_code, f"$ {shown.command}\n{result.stdout}"
        # A log line begins with its time; the page leaves these out.
        said = re.sub(r"(?m)^\d{4}-\d\d-\d\dT.*\n", "", result.stdout)
        assert re.fullmatch(as_pattern(shown.output), said), f"$ {shown.command}\n{said}"
