"""What the compiler renders, as a real API server judges it."""

from __future__ import annotations

import pytest

from tests.lab.cluster import Cluster
from tests.lab.processes import wait_for

pytestmark = pytest.mark.lab


def test_the_cluster_serves_and_its_controllers_work(cluster: Cluster) -> None:
    """A DaemonSet is observed by its controller, with no node to run on."""
    namespace = cluster.namespace("cluster")
    labels = {"app": "probe"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "probe", "image": "none.example/probe"}]},
    }
    body = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "probe", "namespace": namespace},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }
    cluster.apply([body])
    kind = cluster.resource("apps/v1", "DaemonSet")

    def observed() -> bool:
        status = kind.get(name="probe", namespace=namespace).to_dict().get("status", {})
        return bool(status.get("observedGeneration") == 1)

    wait_for(observed, "the controller has observed the DaemonSet")
