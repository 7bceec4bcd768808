"""The lab as a pytest plugin: fixtures that start real programs once a session and end them with it.

A fixture starts only what its test asks for. Logs lie in the session's folder of pytest; the last lines of every program
that ran are added to the report of a test that failed.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab.argocd import ArgoCD, ArgoOptions, install_argocd, start_argocd
from tests.lab.cluster import Cluster, start_cluster
from tests.lab.flux import Flux, start_flux
from tests.lab.postgresql import Postgresql, postgresql_server
from tests.lab.processes import Processes
from tests.lab.programs import lab_program
from tests.lab.registry import Registry, start_registry

CHARTED = Path(__file__).parents[2] / "helm/trimtab/crds"
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


@pytest.fixture(scope="session")
def trimtab_kinds(cluster: Cluster) -> None:
    """The custom resource definitions of Trimtab, as its chart brings them."""
    cluster.install([yaml.safe_load(file.read_text("utf-8")) for file in sorted(CHARTED.glob("*.yaml"))])


@pytest.fixture(scope="session")
def postgresql(lab_processes: Processes) -> Iterator[Postgresql]:
    """A PostgreSQL server."""
    with postgresql_server(lab_processes) as server:
        yield server


@pytest.fixture(scope="session")
def registry(lab_processes: Processes, lab_directory: Path) -> Registry:
    """A registry that speaks plain HTTP."""
    return start_registry(lab_processes, lab_directory)


@pytest.fixture(scope="session")
def flux(lab_processes: Processes, lab_directory: Path, cluster: Cluster) -> Flux:
    """source-controller and kustomize-controller of one cluster."""
    return start_flux(lab_processes, cluster, lab_directory)


@pytest.fixture(scope="session")
def argocd(lab_processes: Processes, lab_directory: Path, cluster: Cluster) -> Iterator[Callable[..., ArgoCD]]:
    """``argocd(**options)``: a running Argo CD with these :class:`ArgoOptions`.

    One runs at a time: equal options give the one that runs, others restart it with the same folder, sockets and cluster.
    """
    install_argocd(cluster)
    running: list[ArgoCD] = []

    def with_options(**options: Any) -> ArgoCD:  # noqa: ANN401 - whatever ArgoOptions takes
        wanted = ArgoOptions(**options)
        if running and running[0].options == wanted:
            return running[0]
        for old in running:
            old.stop()
        running[:] = [start_argocd(lab_processes, cluster, lab_directory / "argocd", wanted)]
        return running[0]

    yield with_options
    for last in running:
        last.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds what the programs said last to the report of a lab test that failed."""
    report = yield
    if report.failed and RUNNING in item.config.stash and item.get_closest_marker("lab"):
        for process in item.config.stash[RUNNING].started:
            state = "running" if process.running else f"exit code {process.popen.returncode}"
            report.sections.append((f"{process.name} ({state}), all of it in {process.log}", process.tail(15)))
    return report
