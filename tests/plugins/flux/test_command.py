"""`trimtab flux-controller` as a process, with an API server that is not there; the lab has one that is."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import urllib3

from trimtab_config.cli import main

TRIMTAB = Path(sys.executable).with_name("trimtab")


@contextmanager
def nobody_listens() -> Iterator[int]:
    """A port of loopback that refuses connections as long as the context lasts."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield int(taken.getsockname()[1])


def kubeconfig(directory: Path, port: int) -> Path:
    file = directory / "kubeconfig"
    file.write_text(
        f"""apiVersion: v1
kind: Config
clusters: [{{name: a, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
users: [{{name: a, user: {{}}}}]
contexts: [{{name: a, context: {{cluster: a, user: a}}}}]
current-context: a
"""
    )
    return file


def test_it_waits_for_an_api_server_says_so_once_and_ends_in_good_order(tmp_path: Path) -> None:
    with nobody_listens() as port:
        command = [
            *(TRIMTAB, "flux-controller", "--storage", tmp_path / "store", "--drain", "0"),
            *("--listen", "127.0.0.1:0", "--observe", "127.0.0.1:0", "--kubeconfig", kubeconfig(tmp_path, port)),
        ]
        process = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            match = re.fullmatch(r"listening archives=(\S+) observation=(\S+)\n", line)
            assert match, line
            archives, observation = match.groups()
            retries = urllib3.Retry(20, backoff_factor=0.05, redirect=False)  # bound, and serving in a moment

            def ask(url: str) -> tuple[int, str]:
                answer = urllib3.request("GET", url, retries=retries, timeout=20)
                return answer.status, answer.data.decode()

            assert ask(f"http://{observation}/healthz") == (200, "ok\n")
            status, text = ask(f"http://{observation}/readyz")
            assert (status, text[:27]) == (503, "not listed yet: fleetartifa")
            assert "trimtab_flux_leader 0.0" in ask(f"http://{observation}/metrics")[1]
            assert ask(f"http://{archives}/anything")[0] == 404
            process.send_signal(signal.SIGTERM)
            _, told = process.communicate(timeout=60)
        finally:
            process.kill()
            process.wait(30)
    assert process.returncode == 0
    lines = [re.sub(r"^\S+ \S+ ", "", line) for line in told.splitlines()]
    refused = "Failed to establish a new connection: [Errno 111] Connection refused"
    assert f"WARNING cannot list fleetartifacts: {refused}" in lines
    assert len(lines) == len(set(lines)), "each trouble is told once"
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "--storage DIR is missing"),
        (["--storage", "x"], "say with --advertise how they reach it"),
        (["--storage", "x", "--listen", "9090"], 'expected HOST:PORT such as "0.0.0.0:9090", got "9090"'),
        (["--storage", "x", "--listen", "a:70000"], "expected HOST:PORT"),
        (["--storage", "x", "--drain", "-1"], "expected seconds from 0 to 300"),
        (["--storage", "x", "--max-source", "0"], "expected MiB from 1 to 1024"),
        (["--storage", "x", "--lease-seconds", "2"], "--lease-seconds"),
    ],
)
def test_wrong_usage_is_64_with_the_next_step(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["flux-controller", *arguments])
    except SystemExit as ended:
        code = int(ended.code or 0)
    assert code == 64
    assert says in capsys.readouterr().err


def test_no_cluster_and_no_store_are_failures_outside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["flux-controller", "--listen", "127.0.0.1:0", "--observe", "127.0.0.1:0", "--kubeconfig"]
    assert main([*common, str(tmp_path / "none"), "--storage", str(tmp_path / "store")]) == 3
    assert "name one with --kubeconfig" in capsys.readouterr().err
    (tmp_path / "file").write_text("in the way")
    assert main([*common, str(kubeconfig(tmp_path, 9)), "--storage", str(tmp_path / "file")]) == 3
    assert "check the store" in capsys.readouterr().err
