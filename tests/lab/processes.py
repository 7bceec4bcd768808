"""Programs of the lab: started each in its own session, watched, their logs kept, and ended by their process id."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

# A busy machine starts things slowly without being wrong.
START_SECONDS = 120.0
STOP_SECONDS = 15.0

# Where a program of the lab comes from on Debian.
PACKAGES = {
    "etcd": "etcd-server",
    "redis-server": "redis-server",
    "docker-registry": "docker-registry",
    "buildah": "buildah",
    "runc": "runc",
    "openssl": "openssl",
    "git": "git",
}


def system_program(name: str) -> str:
    """The path of a program of the platform; skips the test, naming the package, where it is missing."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"needs {name} (package {PACKAGES[name]} of Debian)")
    return found


def free_port() -> int:
    """A port of 127.0.0.1 that the kernel just chose and that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(slots=True)
class LabProcess:
    """One running program, with the file that both its outputs go to."""

    name: str
    log: Path
    popen: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        """The id of the program, which also leads its process group."""
        return self.popen.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.popen.poll() is None

    def tail(self, lines: int = 30) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-lines:])

    def kill(self) -> None:
        """Ends it and its children without notice (SIGKILL)."""
        self._signal(signal.SIGKILL)
        self.popen.wait(STOP_SECONDS)

    def stop(self, patience: float = STOP_SECONDS) -> int:
        """Asks it to end (SIGTERM), insists after ``patience`` seconds, ends what it left behind; returns its exit code."""
        if self.running:
            with suppress(ProcessLookupError):
                self.popen.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.popen.wait(patience)
        # Also what the program started and did not end: the group outlives its leader.
        self._signal(signal.SIGKILL)
        return self.popen.wait(STOP_SECONDS)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.popen.pid, number)


@dataclass(slots=True)
class Processes:
    """All programs that the lab has started in this run, newest last."""

    logs: Path
    started: list[LabProcess] = field(default_factory=list)

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> LabProcess:
        """Starts a program; ``environment`` is added to PATH, HOME and TMPDIR, and nothing else is handed down.

        The kernel ends the program should this process die without tidying up.
        """
        number = sum(1 for process in self.started if process.name == name)
        log = self.logs / (f"{name}.{number}.log" if number else f"{name}.log")
        setpriv = shutil.which("setpriv")
        leash = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
        handed_down = {key: os.environ[key] for key in ("PATH", "TMPDIR", "LANG") if key in os.environ}
        with log.open("ab") as output:
            popen = subprocess.Popen(
                [*leash, *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=handed_down | {"HOME": str(self.logs)} | dict(environment or {}),
                cwd=directory,
                start_new_session=True,
            )
        process = LabProcess(name, log, popen)
        self.started.append(process)
        return process

    def wait_until_ready(
        self, process: LabProcess, ready: Callable[[], bool], seconds: float = START_SECONDS, step: float = 0.1
    ) -> None:
        """Waits until ``ready`` says so (OSError counts as no); fails with the log where the program ends or time does."""
        wait_for(lambda: _alive_and(process, ready), f"{process.name} is ready", seconds, step)

    def stop_all(self) -> None:
        """Asks everything to end, and soon insists: what these programs hold at the end of a session nobody needs."""
        for process in reversed(self.started):
            if process.running:
                process.popen.terminate()
        end = time.monotonic() + 2
        for process in reversed(self.started):
            with suppress(subprocess.TimeoutExpired):
                process.popen.wait(max(0.0, end - time.monotonic()))
            with suppress(subprocess.TimeoutExpired):
                process.kill()


def _alive_and(process: LabProcess, ready: Callable[[], bool]) -> bool:
    if not process.running:
        pytest.fail(f"{process.name} ended with exit code {process.popen.returncode}:\n{process.tail()}")
    try:
        return ready()
    except OSError:
        return False


def wait_for(
    happened: Callable[[], object],
    what: str,
    seconds: float = 60.0,
    step: float = 0.25,
    told: Callable[[], object] = str,
) -> None:
    """Waits until ``happened`` gives something true; after ``seconds`` the test fails with ``what`` and what ``told`` says."""
    end = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > end:
            pytest.fail(f"waited {seconds:.0f} s in vain until {what}\n{told()}")
        time.sleep(step)


def listening(port: int) -> bool:
    """Whether somebody accepts connections at this port of 127.0.0.1."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
