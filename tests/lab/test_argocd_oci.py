"""The artifacts of `trimtab artifact push` as sources of a real Argo CD, without any plugin."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lab.argocd import ArgoCD, is_synced, object_of_argocd
from tests.lab.cluster import Cluster
from tests.lab.fleets import FOLDER, LabFleet
from tests.lab.registry import Registry

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600), pytest.mark.usefixtures("trimtab_kinds")]

TRIMTAB = Path(sys.executable).with_name("trimtab")


def push(registry: Registry, fleet: LabFleet) -> dict[str, dict[str, Any]]:
    """One artifact per group, as a step of CI does it; what the command says of each."""
    address = f"oci://{registry.address}/{fleet.namespace}:latest"
    command = [TRIMTAB, "artifact", "push", address, "--repo", fleet.repository.path, "--path", FOLDER, "--all"]
    done = subprocess.run([*map(str, command), "--output", "json"], capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return {row["group"]: row for row in json.loads(done.stdout)["artifacts"]}


def at(digest: str) -> Callable[[dict[str, Any]], bool]:
    """Synced at this artifact, the sync having ended."""

    def accept(item: dict[str, Any]) -> bool:
        status = item.get("status", {})
        ended = status.get("operationState", {}).get("phase") == "Succeeded"
        return bool(is_synced(item) and ended and status["sync"].get("revision") == digest)

    return accept


def test_each_group_is_synced_from_its_artifact_and_only_a_changed_one_moves(
    argocd: Callable[..., ArgoCD], cluster: Cluster, registry: Registry, tmp_path: Path
) -> None:
    argo = argocd()
    fleet = LabFleet.create(tmp_path, cluster.namespace("oci"), devices=2)
    first = push(registry, fleet)
    names = {group: f"{fleet.namespace}-{group}" for group in first}
    for group, name in names.items():
        url = f"oci://{registry.address}/{fleet.namespace}/{group}"
        access = {"type": "oci", "name": name, "url": url, "insecureOCIForceHttp": "true"}
        labels = {"argocd.argoproj.io/secret-type": "repository"}
        cluster.apply([object_of_argocd("Secret", f"repo-{name}", labels, stringData=access)])
        argo.application(name, url, revision="latest", namespace=fleet.namespace)
    try:
        for group, name in names.items():
            state = argo.wait([name], at(first[group]["digest"]), "Synced from its artifact", 240)[name]
            assert state["status"]["sourceType"] == "Directory"
            kinds = {entry["kind"] for entry in state["status"]["resources"]}
            assert {"ConfigMap", "DaemonSet", "EdgeAIDeployment", "NetworkPolicy", "ServiceAccount"} <= kinds

        changed, still = sorted(names)
        fleet.objects[f"groups/{changed}.yaml"]["spec"]["deviceCount"] = 4321
        fleet.push()
        second = push(registry, fleet)
        assert {group for group, row in second.items() if row["changed"]} == {changed}
        argo.refresh(names.values())
        argo.wait([names[changed]], at(second[changed]["digest"]), "Synced from its new artifact", 240)
        assert at(first[still]["digest"])(argo.state(names[still]))
        workloads = cluster.resource("apps/v1", "DaemonSet").get(namespace=fleet.namespace).to_dict()
        assert len(workloads["items"]) == 2
    finally:
        argo.delete(names.values())
