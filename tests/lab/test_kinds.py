"""Trimtab's kinds on a real API server: what `kubectl get` shows, who may write a status, what is refused."""

from __future__ import annotations

import copy
import datetime
from pathlib import Path
from typing import Any

import pytest
import urllib3
from kubernetes.client import ApiException
from kubernetes.dynamic.exceptions import DynamicApiError

from tests.lab.cluster import Cluster
from trimtab_config.compilation import FleetCompiler
from trimtab_config.sources.folder import load_folder

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("trimtab_kinds")]

EXAMPLE = Path(__file__).parents[2] / "examples/fleet"


@pytest.fixture
def deployed(cluster: Cluster) -> dict[str, Any]:
    """One EdgeAIDeployment as it is rendered for a group, applied in a namespace of its own."""
    rendered = FleetCompiler().open(load_folder(EXAMPLE)).render_all()
    found = next(
        copy.deepcopy(dict(item))
        for group in rendered.values()
        for item in group.objects
        if item["kind"] == "EdgeAIDeployment"
    )
    found["metadata"]["namespace"] = cluster.namespace("kinds")
    cluster.apply([found])
    return found


def table(cluster: Cluster, item: dict[str, Any]) -> dict[str, Any]:
    """The columns of one object, as the server prints them for kubectl."""
    group, version = item["apiVersion"].split("/")
    metadata = item["metadata"]
    path = f"/apis/{group}/{version}/namespaces/{metadata['namespace']}/edgeaideployments/{metadata['name']}"
    headers = {
        "Authorization": f"Bearer {cluster.token}",
        "Accept": "application/json;as=Table;v=v1;g=meta.k8s.io",
    }
    with urllib3.PoolManager(ca_certs=str(cluster.authority), retries=False) as pool:
        answer = pool.request("GET", f"{cluster.url}{path}", headers=headers, timeout=30).json()
    [row] = answer["rows"]
    return dict(zip((each["name"] for each in answer["columnDefinitions"]), row["cells"], strict=True))


def test_kubectl_shows_what_runs_where_and_what_it_costs(cluster: Cluster, deployed: dict[str, Any]) -> None:
    shown = table(cluster, deployed)
    annotations = deployed["metadata"]["annotations"]
    assert shown["Name"] == deployed["metadata"]["name"]
    assert shown["Model"] == deployed["spec"]["modelRef"]["name"]
    assert shown["Version"] == deployed["spec"]["modelRef"]["version"]
    assert shown["Group"] == annotations["fleet.apexlogic.ai/group"]
    assert shown["Monthly"] == annotations["finops.apexlogic.ai/monthly-cost"]


def test_a_status_is_written_by_its_own_door_and_survives_the_next_apply(
    cluster: Cluster, deployed: dict[str, Any]
) -> None:
    name, namespace = deployed["metadata"]["name"], deployed["metadata"]["namespace"]
    kind = cluster.resource(deployed["apiVersion"], "EdgeAIDeployment")
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "Converged",
        "message": "all reachable devices run the version",
        "lastTransitionTime": datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    merge = "application/merge-patch+json"
    status = {"status": {"observedGeneration": 1, "conditions": [condition]}}
    kind.status.patch(name=name, namespace=namespace, body=status, content_type=merge)
    # Not through the object itself: who may write the one may not write the other.
    other = {"status": {"observedGeneration": 7}}
    kind.patch(name=name, namespace=namespace, body=other, content_type=merge)
    cluster.apply([deployed])
    found = kind.get(name=name, namespace=namespace).to_dict()
    assert found["status"] == status["status"]
    bad = {"status": {"conditions": [{**condition, "status": "Perhaps"}]}}
    with pytest.raises((ApiException, DynamicApiError), match="Perhaps"):
        kind.status.patch(name=name, namespace=namespace, body=bad, content_type=merge)


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("spec.modelRef.version", "2.1", "version"),
        ("spec.modelRef.version", 2, "version"),
        ("spec.resourceLimits.cpu", "half", "cpu"),
        ("spec.resourceLimits.cpu", -1, "cpu"),
        ("spec.resourceLimits.cpus", "1", "cpus"),
        ("spec.tier", "huge", "tier"),
        ("spec.targetDevices.labels", {}, "labels"),
        ("spec.inference", {"dailyCpuSeconds": True}, "dailyCpuSeconds"),
        ("spec.inference", {"dailyCpuSeconds": "many"}, "dailyCpuSeconds"),
        ("spec.update", {"window": "1am"}, "window"),
        ("spec.rollout", {"waves": [{"name": "a", "percent": 10, "groups": ["g"]}]}, "waves"),
    ],
)
def test_what_the_reader_refuses_in_shape_the_cluster_refuses(
    cluster: Cluster, deployed: dict[str, Any], path: str, value: object, named: str
) -> None:
    *parents, last = path.split(".")
    place = deployed
    for parent in parents:
        place = place[parent]
    place[last] = value
    with pytest.raises(DynamicApiError) as refused:
        cluster.apply([deployed], dry_run=True)
    assert named in str(refused.value.body)
