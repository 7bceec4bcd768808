"""The controller's adapter against a real API server: what its lists, watches, applies, deletes and leases really do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from kubernetes.client.exceptions import ApiException

from tests.lab.cluster import Cluster as LabCluster
from tests.lab.flux import Flux
from tests.lab.processes import wait_for
from tests.rigs.cutting_proxy import CuttingProxy
from trimtab_kernel.election import Memory, Terms, leads, look, release, stored
from trimtab_kernel.problems import OutsideError
from trimtab_plugins.api_server import AbsentKindError, GoneError
from trimtab_plugins.flux.cluster import ARTIFACTS, FLEETS, Change, Cluster, Informer, Resource

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300), pytest.mark.usefixtures("flux", "trimtab_kinds")]

SOURCE = "source.toolkit.fluxcd.io/v1"
FLEET = "fleet.apexlogic.ai/v1alpha1"


@pytest.fixture
def namespace(cluster: LabCluster, flux: Flux) -> str:
    return cluster.namespace("adapter")


@pytest.fixture
def adapter(cluster: LabCluster) -> Cluster:
    return Cluster.connect(cluster.kubeconfig, page=2)


def external(namespace: str, name: str, **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": SOURCE,
        "kind": "ExternalArtifact",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"sourceRef": {"kind": "FleetArtifact", "name": "fleet"}},
    }


def fleet(namespace: str, name: str, **spec: object) -> dict[str, Any]:
    reference = {"kind": "GitRepository", "name": "x"}
    return {
        "apiVersion": FLEET,
        "kind": "FleetArtifact",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"sourceRef": reference, "suspend": True, **spec},
    }


def test_a_list_goes_through_all_pages(adapter: Cluster, namespace: str) -> None:
    for number in range(5):
        adapter.apply(external(namespace, f"one-{number}"))
    items, version = adapter.list(ARTIFACTS, namespace)
    assert [item["metadata"]["name"] for item in items] == [f"one-{number}" for number in range(5)]
    assert int(version) > 0


def test_a_watch_tells_what_came_changed_and_went(adapter: Cluster, namespace: str) -> None:
    _, version = adapter.list(ARTIFACTS, namespace)
    adapter.apply(external(namespace, "one"))
    adapter.apply(external(namespace, "one", colour="red"))
    [item], _ = adapter.list(ARTIFACTS, namespace)
    metadata = item["metadata"]
    adapter.delete_artifact(namespace, "one", metadata["uid"], metadata["resourceVersion"])
    seen: list[Change] = []
    for change in adapter.watch(ARTIFACTS, namespace, version):
        if change.kind != "BOOKMARK":
            seen.append(change)
        if len(seen) == 3:
            break
    assert [change.kind for change in seen] == ["ADDED", "MODIFIED", "DELETED"]
    assert seen[1].item["metadata"]["labels"] == {"colour": "red"}


def test_a_watch_from_too_long_ago_is_said_to_be_so(adapter: Cluster, namespace: str) -> None:
    with pytest.raises(GoneError, match="too old resource version"):
        for _ in adapter.watch(ARTIFACTS, namespace, "1"):
            pass


def test_a_kind_that_is_not_installed_is_said_to_be_so(adapter: Cluster) -> None:
    with pytest.raises(AbsentKindError, match="install its CRD"):
        adapter.list(Resource("nobody.example", "v1", "things", "Thing"), None)


def test_apply_takes_back_what_is_ours_and_leaves_what_is_not(
    adapter: Cluster, cluster: LabCluster, namespace: str
) -> None:
    adapter.apply(external(namespace, "one", ours="1", gone="1"))
    kind = cluster.resource(SOURCE, "ExternalArtifact")
    kind.patch(
        name="one",
        namespace=namespace,
        body={"metadata": {"labels": {"ours": "bent", "theirs": "1"}}},
        content_type="application/merge-patch+json",
    )
    adapter.apply(external(namespace, "one", ours="1"))
    assert kind.get(name="one", namespace=namespace).to_dict()["metadata"]["labels"] == {"ours": "1", "theirs": "1"}


def test_a_status_is_applied_by_itself(adapter: Cluster, namespace: str) -> None:
    adapter.apply(external(namespace, "one"))
    artifact = {
        "path": "p",
        "url": "http://x/p",
        "revision": "g@sha256:" + "0" * 64,
        "digest": "sha256:" + "0" * 64,
        "lastUpdateTime": "2026-11-22T12:00:00Z",
        "size": 3,
        "metadata": {"org.opencontainers.image.revision": "main@sha1:" + "1" * 40},
    }
    body = {key: value for key, value in external(namespace, "one").items() if key != "spec"}
    adapter.apply_status({**body, "status": {"artifact": artifact}})
    [item], _ = adapter.list(ARTIFACTS, namespace)
    assert item["status"] == {"artifact": artifact}
    assert item["spec"] == external(namespace, "one")["spec"]


def test_only_the_object_that_was_seen_is_removed(adapter: Cluster, namespace: str) -> None:
    adapter.apply(external(namespace, "one"))
    [seen], _ = adapter.list(ARTIFACTS, namespace)
    adapter.apply(external(namespace, "one", colour="red"))
    metadata = seen["metadata"]
    adapter.delete_artifact(namespace, "one", metadata["uid"], metadata["resourceVersion"])
    [now], _ = adapter.list(ARTIFACTS, namespace)
    adapter.delete_artifact(
        namespace, "one", "00000000-0000-0000-0000-000000000000", now["metadata"]["resourceVersion"]
    )
    assert adapter.list(ARTIFACTS, namespace)[0] == [now]
    adapter.delete_artifact(namespace, "one", now["metadata"]["uid"], now["metadata"]["resourceVersion"])
    assert adapter.list(ARTIFACTS, namespace)[0] == []
    adapter.delete_artifact(namespace, "one", now["metadata"]["uid"], now["metadata"]["resourceVersion"])


def test_a_lease_has_one_holder(adapter: Cluster, namespace: str) -> None:
    """Two candidates with the API server between them; the second follows when the first lets go."""
    now = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

    def step(memory: Memory, name: str, at: float) -> Memory:
        terms = Terms(name)
        memory, write = look(memory, terms, adapter.lease(namespace, "lock", 5), at, now)
        if write is None:
            return memory
        version = adapter.write_lease(namespace, "lock", write.body, 5, create=write.create)
        return memory if version is None else stored(memory, terms, version, at)

    one, two = step(Memory(), "one", 0.0), step(Memory(), "two", 0.5)
    assert leads(one, Terms("one"), 1.0)
    assert not leads(two, Terms("two"), 1.0)
    one = step(one, "one", 2.0)
    _, stale = look(Memory(), Terms("two"), None, 0.0, now)
    assert stale is not None
    assert adapter.write_lease(namespace, "lock", stale.body, 5, create=True) is None, "it is there already"
    old = {**stale.body, "metadata": {"resourceVersion": "1"}}
    assert adapter.write_lease(namespace, "lock", old, 5, create=False) is None, "it has changed since"
    given_back = release(one, Terms("one"), now)
    assert given_back is not None
    assert adapter.write_lease(namespace, "lock", given_back.body, 5, create=False)
    assert leads(step(two, "two", 3.0), Terms("two"), 3.5)
    lease = adapter.lease(namespace, "lock", 5)
    assert lease is not None
    assert (lease["spec"]["holderIdentity"], lease["spec"]["leaseTransitions"]) == ("two", 1)


@pytest.fixture
def line(cluster: LabCluster, tmp_path: Path) -> Iterator[tuple[CuttingProxy, Cluster]]:
    """The API server at the other end of a line that can be cut."""
    with CuttingProxy(int(urlsplit(cluster.url).port or 0)) as proxy:
        settings = cluster.config()
        settings["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{proxy.port}"
        file = tmp_path / "kubeconfig"
        file.touch(0o600)
        file.write_text(yaml.safe_dump(settings), "utf-8")
        yield proxy, Cluster.connect(file)


def test_an_informer_catches_up_with_what_it_missed_while_the_line_was_down(
    line: tuple[CuttingProxy, Cluster], adapter: Cluster, namespace: str
) -> None:
    proxy, far = line
    for name in ("stays", "changes", "goes"):
        adapter.apply(external(namespace, name))
    changed: list[str] = []
    lock = threading.Lock()

    def on_change(key: tuple[str, str]) -> None:
        with lock:
            changed.append(key[1])

    informer = Informer(far, ARTIFACTS, namespace, on_change)
    informer.start()
    try:
        assert informer.synced.wait(30)
        assert sorted(changed) == ["changes", "goes", "stays"]
        adapter.apply(external(namespace, "watched"))
        wait_for(lambda: "watched" in changed, "the watch tells a new object", 30)
        changed.clear()
        proxy.cut()
        with pytest.raises(OutsideError):
            far.list(ARTIFACTS, namespace)
        adapter.apply(external(namespace, "changes", colour="red"))
        adapter.apply(external(namespace, "comes"))
        goes = informer.get((namespace, "goes"))
        assert goes is not None
        adapter.delete_artifact(namespace, "goes", goes["metadata"]["uid"], goes["metadata"]["resourceVersion"])
        proxy.mend()
        wait_for(lambda: sorted(set(changed)) == ["changes", "comes", "goes"], "the informer has caught up", 60)
        assert {name for _, name in informer.items()} == {"stays", "changes", "watched", "comes"}
    finally:
        informer.stop()


@pytest.mark.parametrize("path", ["/fleet", "../fleet", "a/../b"])
def test_the_api_server_refuses_a_path_that_leaves_the_source(cluster: LabCluster, namespace: str, path: str) -> None:
    with pytest.raises(ApiException, match="a path inside the source"):
        cluster.apply([fleet(namespace, "fleet", path=path)])


def test_the_api_server_refuses_a_name_from_which_none_can_be_made(cluster: LabCluster, namespace: str) -> None:
    with pytest.raises(ApiException, match="at most 189 characters"):
        cluster.apply([fleet(namespace, "f" * 190)])
    cluster.apply([fleet(namespace, "f" * 189)])


def test_what_the_api_server_takes_the_controller_reads(adapter: Cluster, cluster: LabCluster, namespace: str) -> None:
    from trimtab_plugins.flux.kinds import read_fleet_artifact

    cluster.apply([fleet(namespace, "fleet", path="./a/b", history=3, groups={"names": ["x"]}, interval="1h30m")])
    [item], _ = adapter.list(FLEETS, namespace)
    read = read_fleet_artifact(item)
    assert (read.folder, read.spec.history, read.spec.groups.names) == ("a/b", 3, ("x",))
