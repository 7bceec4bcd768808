"""The curl commands of docs/serving.md do what the page shows, against a real server process."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.edge.devices import place, serving
from tests.house.test_tutorial import as_pattern, shown_commands

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/serving.md").read_text("utf-8")


def triage() -> bytes:
    """The first version of the example fleet's triage model."""
    fleet = (ROOT / "examples/fleet").rglob("*.yaml")
    text = "\n".join(path.read_text("utf-8") for path in fleet if "triage" in path.name)
    for digest in re.findall(r"sha256:([0-9a-f]{64})", text):
        path = ROOT / "examples/artifacts/sha256" / str(digest)
        if path.exists():
            return path.read_bytes()
    raise AssertionError("the example fleet has no triage model")


def test_every_command_of_the_page_shows_what_the_page_shows(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("needs curl, which is not on the PATH")
    commands = shown_commands(PAGE)
    assert len(commands) > 10
    place(tmp_path / "models", "triage", "1.0.0", triage())
    with serving(tmp_path / "models", tmp_path / "log") as server:
        server.wait_ready("triage")
        for shown in commands:
            command = shown.command.replace("localhost:8080", f"{server.host}:{server.port}")
            done = subprocess.run(
                ["sh", "-c", command],
                cwd=tmp_path,
                env=os.environ,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert (done.returncode, done.stderr) == (0, ""), command
            # The server ends no answer with a line; the page does.
            said = f"{done.stdout}\n" if done.stdout else ""
            assert re.fullmatch(as_pattern(shown.output), said), f"$ {command}\n{said}"
            if said.startswith("{"):
                json.loads(said)


def test_the_page_names_every_status_that_the_transports_have() -> None:
    from trimtab_edge.serving import http
    from trimtab_edge.serving.failure import Fault
    from trimtab_edge.serving.grpc import service

    rows = re.findall(r"^\| (\d{3}) \| (.*?) \|", PAGE, re.MULTILINE)
    assert {int(status) for status, _ in rows} >= set(http._STATUS.values())
    for fault, code in service.STATUS.items():
        if fault in (Fault.TIMED_OUT, Fault.UNSUPPORTED_MEDIA):
            continue  # gRPC has no body that comes late or in a foreign form
        assert any(int(status) == http._STATUS[fault] and code.name in names for status, names in rows), fault
