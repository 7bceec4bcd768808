"""A real Prometheus for the demo: found, or installed from the platform's packages; never without a line that says so."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from examples.demo.processes import DemoError

if TYPE_CHECKING:
    from collections.abc import Callable

    from examples.demo.processes import Supervisor

_INSTALLER = Path(__file__).resolve().parents[2] / "tools" / "debian-packages"


@dataclass(frozen=True, slots=True)
class Binary:
    """A program and what it says of its version."""

    path: Path
    version: str


def find(say: Callable[[str], None]) -> Binary | None:
    """The prometheus on the PATH; else, as root on Debian, the one of the platform's packages; else None. Says which."""
    binary = _on_path()
    if binary:
        say(f"metrics: Prometheus {binary.version}, found at {binary.path}")
        return binary
    if os.geteuid() == 0 and shutil.which("apt-get"):
        say("metrics: no Prometheus found; installing Debian's package 'prometheus' (its service is not started)")
        done = subprocess.run(
            ["sh", str(_INSTALLER), "prometheus"], capture_output=True, text=True, timeout=300, check=False
        )
        binary = _on_path()
        if done.returncode == 0 and binary:
            say(f"metrics: Prometheus {binary.version}, installed at {binary.path}")
            return binary
        say(f"metrics: that did not work ({(done.stderr or done.stdout).strip().splitlines()[-1:] or ['no message']})")
    return None


def _on_path() -> Binary | None:
    path = shutil.which("prometheus")
    if not path:
        return None
    shown = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, check=False)
    words = (shown.stdout or shown.stderr).split()
    return Binary(Path(path), words[2]) if shown.returncode == 0 and len(words) > 2 else None


def start(supervisor: Supervisor, binary: Binary, work: Path, rules: Path, targets: Path) -> str:
    """Start it on a free port of loopback; its URL once it is ready."""
    config = work / "prometheus.yml"
    # JSON is YAML; the file names may hold anything that a path may hold.
    config.write_text(
        json.dumps(
            {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": [str(rules)],
                "scrape_configs": [{"job_name": "trimtab", "file_sd_configs": [{"files": [str(targets)]}]}],
            },
            indent=1,
        )
    )
    for _ in range(5):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        running = supervisor.start(
            "prometheus",
            [
                binary.path,
                f"--config.file={config}",
                f"--storage.tsdb.path={work / 'prometheus'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--storage.tsdb.retention.time=2h",
                "--log.level=warn",
            ],
        )
        try:
            supervisor.wait_for("Prometheus ready", 30, lambda url=url: _ready(url))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        except DemoError:
            # Another program may have taken the port in between; its message says so, and the next port is tried.
            if "address already in use" not in running.tail():
                raise
            supervisor.forget(running)
        else:
            return url
    raise DemoError("no free port for Prometheus on loopback")


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=2) as answer:  # noqa: S310 - our own loopback URL
            return bool(answer.status == 200)
    except OSError:
        return False
