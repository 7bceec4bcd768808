"""The lab as a pytest plugin: fixtures that start real programs once a session and end them with it.

A fixture starts only what its test asks for. Logs lie in the session's folder of pytest; the last lines of every program
that ran are added to the report of a test that failed.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from tests.lab.cluster import Cluster, start_cluster
from tests.lab.processes import Processes
from tests.lab.programs import lab_program

RUNNING = pytest.StashKey[Processes]()


@pytest.fixture(scope="session")
def lab_programs() -> Callable[[str], Path]:
    """The path of a built Go program by its name (`tools/lab names`)."""
    return lab_program


@pytest.fixture(scope="session")
def lab_processes(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Processes]:
    """What starts programs and ends them with the session, also an interrupted one."""
    processes = Processes(tmp_path_factory.mktemp("lab-logs"))
    pytestconfig.stash[RUNNING] = processes
    try:
        yield processes
    finally:
        processes.stop_all()


@pytest.fixture(scope="session")
def lab_directory(tmp_path_factory: pytest.TempPathFactory, lab_processes: Processes) -> Iterator[Path]:
    """The folder of the programs' data, removed at the end; the logs stay."""
    directory = tmp_path_factory.mktemp("lab")
    try:
        yield directory
    finally:
        lab_processes.stop_all()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def cluster(lab_processes: Processes, lab_directory: Path) -> Cluster:
    """An API server with its controllers and no node."""
    return start_cluster(lab_processes, lab_directory)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds what the programs said last to the report of a lab test that failed."""
    report = yield
    if report.failed and RUNNING in item.config.stash and item.get_closest_marker("lab"):
        for process in item.config.stash[RUNNING].started:
            state = "running" if process.running else f"exit code {process.popen.returncode}"
            report.sections.append((f"{process.name} ({state}), all of it in {process.log}", process.tail()))
    return report
