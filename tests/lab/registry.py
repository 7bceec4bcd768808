"""An OCI registry on loopback, plain HTTP, that keeps what it is given in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.lab.processes import LabProcess, Processes, free_port, listening, system_program


@dataclass(frozen=True, slots=True)
class Registry:
    """A running registry."""

    address: str
    process: LabProcess


def start_registry(processes: Processes, directory: Path) -> Registry:
    """docker-registry with deletion switched on; returns once it listens."""
    port = free_port()
    settings = {
        "version": "0.1",
        "log": {"level": "info", "accesslog": {"disabled": False}},
        "storage": {"filesystem": {"rootdirectory": str(directory / "registry")}, "delete": {"enabled": True}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    file = directory / "registry.yaml"
    file.write_text(yaml.safe_dump(settings), "utf-8")
    process = processes.start("docker-registry", [system_program("docker-registry"), "serve", file])
    processes.wait_until_ready(process, lambda: listening(port))
    return Registry(f"127.0.0.1:{port}", process)
