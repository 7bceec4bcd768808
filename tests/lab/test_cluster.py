"""What the compiler renders, as a real API server judges it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.cluster import Cluster
from tests.lab.processes import wait_for
from trimtab_config.compilation import FleetCompiler, RenderedGroup, RenderOptions
from trimtab_config.sources.folder import load_folder

pytestmark = pytest.mark.lab

EXAMPLE = Path(__file__).parents[2] / "examples/fleet"


@pytest.fixture(scope="module")
def rendered() -> dict[str, RenderedGroup]:
    """Every group of the example fleet, its namespaces too."""
    return FleetCompiler(RenderOptions(with_namespace=True)).open(load_folder(EXAMPLE)).render_all()


@pytest.mark.usefixtures("trimtab_kinds")
def test_every_rendered_object_passes_server_side_apply(cluster: Cluster, rendered: dict[str, RenderedGroup]) -> None:
    """Schemas, quantities, names and selectors, and no unknown field: validation is strict, also that of our own kinds."""
    objects = [item for group in rendered.values() for item in group.objects]
    # Even a dry run needs the namespace of what it applies.
    cluster.apply([item for item in objects if item["kind"] == "Namespace"])
    taken = cluster.apply(objects, dry_run=True)
    assert len(taken) == len(objects)
    kinds = {item["kind"] for item in taken}
    assert {"ConfigMap", "DaemonSet", "EdgeAIDeployment", "NetworkPolicy", "Service", "ServiceAccount"} <= kinds


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


def test_validation_is_strict(cluster: Cluster) -> None:
    """What the tests above prove would be worth little where the server dropped what it does not know."""
    from kubernetes.dynamic.exceptions import DynamicApiError

    body = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "odd", "namespace": "default"},
        "unheard": 1,
    }
    with pytest.raises(DynamicApiError, match="unheard"):
        cluster.apply([body], dry_run=True)
