"""The lab leaves nothing running, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.processes import Processes, wait_for

ROOT = Path(__file__).parents[2]
# Starts a program that starts another, names both, and waits.
STARTS_TWO = """
import sys, time, pathlib
from tests.lab.processes import Processes
processes = Processes(pathlib.Path(sys.argv[1]))
process = processes.start("two", ["sh", "-c", "sleep 600 & echo $!; wait"])
while not process.tail().strip():
    time.sleep(0.02)
print(process.pid, process.tail().strip(), flush=True)
time.sleep(600)
"""


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_program_and_what_it_started_end_together(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    process = processes.start("two", ["sh", "-c", "sleep 600 & echo $!; wait"])
    wait_for(lambda: process.tail().strip(), "the second program runs", 20)
    child = int(process.tail())
    assert is_alive(child)
    process.stop()
    wait_for(lambda: not is_alive(child), "the second program has ended too", 20)
    assert not process.running


def test_a_program_that_ignores_a_request_to_end_is_ended_all_the_same(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    process = processes.start("deaf", ["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1; done"])
    wait_for(lambda: "deaf" in process.tail(), "it is deaf", 20)
    processes.stop_all()
    assert process.popen.returncode == -signal.SIGKILL


def test_programs_end_with_a_run_that_was_killed(tmp_path: Path) -> None:
    """No tidying up happens then: the kernel does it for the program itself."""
    command = [sys.executable, "-c", STARTS_TWO, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)}) as run:
        assert run.stdout is not None
        leader, child = map(int, run.stdout.readline().split())
        try:
            assert is_alive(leader)
            run.kill()
            wait_for(lambda: not is_alive(leader), "the program has ended", 20)
        finally:
            os.kill(child, signal.SIGKILL)


def test_one_that_ends_while_it_is_waited_for_fails_the_test_with_its_log(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    process = processes.start("broken", ["sh", "-c", "echo no such thing; exit 3"])
    with pytest.raises(pytest.fail.Exception, match=r"exit code 3:\nno such thing"):
        processes.wait_until_ready(process, lambda: False, 20)
