"""Flux: source-controller and kustomize-controller, with the gate for ExternalArtifact open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.cluster import Cluster
from tests.lab.processes import LabProcess, Processes, free_port, listening, wait_for
from tests.lab.programs import definitions, lab_program

NAMESPACE = "flux-system"


@dataclass(slots=True)
class Flux:
    """Both controllers, running."""

    cluster: Cluster
    namespace: str
    source_controller: LabProcess
    kustomize_controller: LabProcess

    def get(self, api_version: str, kind: str, name: str, namespace: str) -> dict[str, Any]:
        """An object as it is now. Raises NotFoundError of the client."""
        found: dict[str, Any] = self.cluster.resource(api_version, kind).get(name=name, namespace=namespace).to_dict()
        return found

    def condition(self, item: dict[str, Any], kind: str = "Ready") -> dict[str, Any]:
        """A condition of an object, where it was observed for the newest generation; else an empty one."""
        for entry in item.get("status", {}).get("conditions") or []:
            if entry["type"] == kind and entry.get("observedGeneration") == item["metadata"]["generation"]:
                return dict(entry)
        return {}

    def wait_for_condition(
        self,
        api_version: str,
        kind: str,
        name: str,
        namespace: str,
        accepted: Callable[[dict[str, Any]], bool] = lambda entry: entry.get("status") == "True",
        seconds: float = 90,
    ) -> dict[str, Any]:
        """Waits until the Ready condition of an object is accepted; returns the object."""
        latest: dict[str, Any] = {}

        def accept() -> bool:
            latest.update(self.get(api_version, kind, name, namespace))
            return accepted(self.condition(latest))

        wait_for(accept, f"{kind} {namespace}/{name} is as expected", seconds, told=lambda: latest.get("status"))
        return latest


def start_flux(processes: Processes, cluster: Cluster, directory: Path) -> Flux:
    """The definitions and both controllers; returns once source-controller serves its storage and both watch."""
    cluster.install([*definitions("source-controller"), *definitions("kustomize-controller")])
    cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}])
    storage, source_health, kustomize_health = free_port(), free_port(), free_port()
    (directory / "flux-storage").mkdir()
    (directory / "flux-tmp").mkdir()
    environment = {
        "KUBECONFIG": str(cluster.kubeconfig),
        "RUNTIME_NAMESPACE": NAMESPACE,
        "TMPDIR": str(directory / "flux-tmp"),
    }
    common = ["--metrics-addr=127.0.0.1:0", "--events-addr=", "--log-level=info", "--interval-jitter-percentage=0"]
    source = processes.start(
        "source-controller",
        [
            lab_program("source-controller"),
            *(*common, f"--health-addr=127.0.0.1:{source_health}"),
            *(f"--storage-path={directory / 'flux-storage'}", f"--storage-addr=127.0.0.1:{storage}"),
            f"--storage-adv-addr=127.0.0.1:{storage}",
        ],
        environment=environment,
    )
    kustomize = processes.start(
        "kustomize-controller",
        [
            lab_program("kustomize-controller"),
            *(*common, f"--health-addr=127.0.0.1:{kustomize_health}"),
            *("--feature-gates=ExternalArtifact=true", "--requeue-dependency=2s", "--concurrent=8"),
        ],
        environment=environment,
    )
    processes.wait_until_ready(source, lambda: listening(storage) and listening(source_health))
    processes.wait_until_ready(kustomize, lambda: listening(kustomize_health))
    return Flux(cluster, NAMESPACE, source, kustomize)
