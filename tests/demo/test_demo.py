"""The demo as a program: what it says of itself, and that it leaves nothing running behind, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEMO = [sys.executable, str(ROOT / "examples" / "demo")]


def processes_of(folder: Path) -> list[str]:
    """The command lines of every process that works in this folder: all that the demo starts is told of its folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:  # it ended meanwhile
                continue
            if str(folder) in command:
                found.append(command)
    return found


@pytest.mark.parametrize("end", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
def test_an_interrupted_demo_ends_everything_it_started(tmp_path: Path, end: signal.Signals) -> None:
    demo = subprocess.Popen(
        [*DEMO, "--once", "--source", "scrape"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # As a terminal would start it: the signal is for the demo, and its children are its own business. What started the
        # tests may ignore SIGINT, as a shell's background does, and that would be inherited.
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - sets one handler and no more
    )
    assert demo.stdout is not None
    said = []
    for line in demo.stdout:
        said.append(line)
        if "requests answered" in line:
            break
    try:
        running = processes_of(tmp_path)
        assert len(running) >= 13, "sync, and an agent and a server for each of six devices\n" + "".join(said)
        demo.send_signal(end)
        rest = demo.stdout.read()
        assert demo.wait(30) == 130
        assert "interrupted" in rest
        assert processes_of(tmp_path) == []
        assert list(tmp_path.iterdir()) == [], "the working folder is removed"
    finally:
        demo.kill()
        demo.wait()
        demo.stdout.close()


def test_help_shows_both_faults_and_how_to_run_them() -> None:
    shown = subprocess.run([*DEMO, "--help"], capture_output=True, text=True, check=True, cwd=ROOT, timeout=60).stdout
    assert "--once --fault cost" in shown
    assert "make demo" in shown


def test_a_real_prometheus_that_is_asked_for_is_never_replaced(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "git").symlink_to("/usr/bin/git")
    done = subprocess.run(
        [*DEMO, "--once", "--require-prometheus"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path), "PATH": str(tools)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "a real Prometheus was asked for and cannot be had" in done.stdout


INTERRUPTED = """
import os, signal, sys, threading, time
from pathlib import Path
from examples.demo.processes import Supervisor

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in a shell's background

def children():
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()

for step in range(120):
    go = threading.Event()
    def interrupt():
        go.wait()
        time.sleep(step * 5e-5)
        os.kill(os.getpid(), signal.SIGINT)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with Supervisor(Path(sys.argv[1])) as supervisor:
            go.set()
            for _ in range(500):
                supervisor.start("sleeper", ["sleep", "60"])
            sys.exit("nobody interrupted")
    except KeyboardInterrupt:
        thread.join()
    if children():
        sys.exit(f"an interruption after {step * 50} us left {len(children())} processes")
"""


def test_an_interruption_at_any_moment_of_a_start_leaves_nothing(tmp_path: Path) -> None:
    """120 interruptions, 50 us further into the start of processes each time."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, tmp_path], cwd=ROOT, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stderr
