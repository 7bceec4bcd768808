"""A PostgreSQL server of the lab's own: a fresh cluster under a user without rights, reachable by a socket alone."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from tests.lab.processes import LabProcess, Processes


@dataclass(slots=True)
class Postgresql:
    """A running server; ``database`` makes a new, empty database and gives its address."""

    folder: Path
    process: LabProcess
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def address(self, name: str) -> str:
        """The address of a database on this server."""
        return f"postgresql://trimtab@/{name}?host={self.folder}"

    def database(self) -> str:
        """A database of a test's own."""
        name = f"test_{next(self._numbers)}"
        with psycopg.connect(self.address("postgres"), autocommit=True, connect_timeout=60) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.address(name)


def _program(name: str) -> str:
    """Debian keeps the server's programs beside each other by version, and not on the PATH."""
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    found = shutil.which(name) or (str(versions[-1]) if versions else None)
    if found is None:
        pytest.skip("needs postgres (package postgresql of Debian)")
    return found


def _leash() -> list[str]:
    """The server refuses to run as root: it becomes somebody without rights, and ends with whoever started it."""
    if os.geteuid() != 0:
        return []
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    become = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--"]
    # Only after the change of user: the kernel forgets the signal with it.
    return [*become, "setpriv", "--pdeathsig", "KILL", "--"]


@contextmanager
def postgresql_server(processes: Processes) -> Iterator[Postgresql]:
    """A server, its data in a folder that is removed at the end."""
    initdb, postgres, leash = _program("initdb"), _program("postgres"), _leash()
    # Not below pytest's folder, which nobody but its owner may enter; and a socket's path must be short.
    folder = Path(tempfile.mkdtemp(prefix="trimtab-pg-"))
    try:
        if leash:
            user = int(leash[1].removeprefix("--reuid="))
            os.chown(folder, user, -1)
        data = folder / "data"
        subprocess.run(
            [*leash, initdb, "-D", str(data), "-U", "trimtab", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"],
            check=True,
            capture_output=True,
            cwd=folder,
            timeout=120,
        )
        process = processes.start(
            "postgres",
            [
                *leash,
                *(postgres, "-D", str(data), "-k", str(folder), "-c", "listen_addresses="),
                *("-c", "shared_buffers=16MB", "-c", "max_connections=60", "-c", "autovacuum=off"),
                # No test cuts the power, so what only guards against that is left out.
                *("-c", "fsync=off"),
            ],
            directory=folder,
        )
        server = Postgresql(folder, process)

        def answers() -> bool:
            try:
                psycopg.connect(server.address("postgres"), connect_timeout=5).close()
            except psycopg.OperationalError:
                return False
            return True

        processes.wait_until_ready(process, answers)
        yield server
        process.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
