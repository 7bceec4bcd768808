"""`trimtab artifact push` between a real registry and a real Flux: 50 groups, one OCIRepository and Kustomization each.

The tests of this module follow one repository through its commits, in the order in which they stand.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import urllib3

from bench.fleets import fleet_files, group_file, group_name
from tests.lab.cluster import Cluster
from tests.lab.flux import Flux
from tests.lab.processes import Processes, wait_for
from tests.lab.registry import Registry
from tests.repositories import ScratchRepository
from tests.rigs.object_store import object_store
from trimtab_config.compilation import FleetCompiler
from trimtab_plugins.archives import read_archive, write_archive

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

GROUPS = [group_name(index) for index in range(50)]
SOURCE = "source.toolkit.fluxcd.io/v1"
KUSTOMIZE = "kustomize.toolkit.fluxcd.io/v1"
ORIGIN = "org.opencontainers.image.revision"
TRIMTAB = Path(sys.executable).with_name("trimtab")


@dataclass(slots=True)
class Pushed:
    """One repository, its artifacts in the registry, and what follows them in the cluster."""

    cluster: Cluster
    flux: Flux
    registry: Registry
    repository: ScratchRepository
    namespace: str
    files: dict[str, bytes]
    commits: list[str] = field(default_factory=list)

    def commit_and_push(self, files: dict[str, bytes | None]) -> str:
        self.files = {name: content for name, content in {**self.files, **files}.items() if content is not None}
        self.commits.append(self.repository.commit(self.files, *self.commits[-1:], branch="main"))
        command = [
            *(TRIMTAB, "artifact", "push", f"oci://{self.registry.address}/fleet:latest"),
            *("--repo", self.repository.path, "--path", "fleet", "--all", "--plain-http"),
        ]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        return self.commits[-1]

    def look_again(self) -> None:
        """Every OCIRepository asks the registry now; returns once each has."""
        token = str(time.time_ns())
        body = {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": token}}}
        kind = self.cluster.resource(SOURCE, "OCIRepository")
        for name in GROUPS:
            kind.patch(name=name, namespace=self.namespace, body=body, content_type="application/merge-patch+json")

        def handled() -> bool:
            items = self.listed(SOURCE, "OCIRepository").values()
            return all(item["status"].get("lastHandledReconcileAt") == token for item in items)

        wait_for(handled, "every OCIRepository has asked the registry", 180, step=0.5)

    def listed(self, api: str, kind: str) -> dict[str, dict[str, Any]]:
        items = self.cluster.resource(api, kind).get(namespace=self.namespace).to_dict()["items"]
        return {item["metadata"]["name"]: item for item in items if item["metadata"]["name"] in GROUPS}

    def wait_until_applied(self) -> dict[str, dict[str, Any]]:
        latest: dict[str, dict[str, Any]] = {}

        def behind() -> list[str]:
            sources = self.listed(SOURCE, "OCIRepository")
            latest.clear()
            latest.update(self.listed(KUSTOMIZE, "Kustomization"))
            return [name for name in GROUPS if not is_applied(latest[name], sources[name])]

        wait_for(
            lambda: not behind(),
            "all groups are applied",
            300,
            step=0.5,
            told=lambda: [(name, latest[name].get("status")) for name in behind()[:3]],
        )
        return latest


def is_applied(kustomization: dict[str, Any], source: dict[str, Any]) -> bool:
    status = kustomization.get("status") or {}
    revision = ((source.get("status") or {}).get("artifact") or {}).get("revision")
    ready = [entry["status"] for entry in status.get("conditions") or () if entry["type"] == "Ready"]
    return ready == ["True"] and status.get("lastAppliedRevision") == revision


def versions(items: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: item["metadata"]["resourceVersion"] for name, item in items.items()}


@pytest.fixture(scope="module")
def pushed(
    cluster: Cluster,
    flux: Flux,
    registry: Registry,
    trimtab_kinds: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Pushed:
    """The artifacts of the first commit; an OCIRepository and a Kustomization for every group."""
    repository = ScratchRepository.create(tmp_path_factory.mktemp("flux-oci") / "fleet.git")
    files = {f"fleet/{name}": content for name, content in fleet_files(len(GROUPS), 5).items()}
    made = Pushed(cluster, flux, registry, repository, cluster.namespace("oci"), files)
    made.commit_and_push({})
    for name in GROUPS:
        metadata = {"name": name, "namespace": made.namespace}
        cluster.apply(
            [
                {
                    "apiVersion": SOURCE,
                    "kind": "OCIRepository",
                    "metadata": metadata,
                    "spec": {
                        "url": f"oci://{registry.address}/fleet/{name}",
                        "ref": {"tag": "latest"},
                        "insecure": True,
                        "interval": "10m",
                    },
                },
                {
                    "apiVersion": KUSTOMIZE,
                    "kind": "Kustomization",
                    "metadata": metadata,
                    "spec": {
                        "interval": "10m",
                        "retryInterval": "5s",
                        "prune": True,
                        "path": "./",
                        "targetNamespace": made.namespace,
                        "sourceRef": {"kind": "OCIRepository", "name": name},
                    },
                },
            ]
        )
    return made


def test_fifty_groups_become_ready_and_say_from_which_commit(pushed: Pushed) -> None:
    applied = pushed.wait_until_applied()
    origins = {item["status"]["lastAppliedOriginRevision"] for item in applied.values()}
    assert len(origins) == 1
    assert origins.pop().endswith(pushed.commits[0])
    sets = pushed.cluster.resource("apps/v1", "DaemonSet").get(namespace=pushed.namespace).to_dict()["items"]
    assert len(sets) == len(GROUPS)


def test_what_flux_unpacks_is_what_the_compiler_renders(pushed: Pushed) -> None:
    tree = {name.removeprefix("fleet/"): content for name, content in pushed.files.items()}
    fleet = FleetCompiler().open(tree, "fleet")
    for name, item in pushed.listed(SOURCE, "OCIRepository").items():
        answer = urllib3.request("GET", item["status"]["artifact"]["url"], retries=False, timeout=20)
        assert read_archive(answer.data)["manifests.yaml"] == fleet.render(name).stream


def test_a_commit_that_changes_no_group_reconciles_nothing(pushed: Pushed) -> None:
    before = versions(pushed.listed(KUSTOMIZE, "Kustomization"))
    pushed.commit_and_push({"README.md": b"text\n"})
    pushed.look_again()
    assert versions(pushed.listed(KUSTOMIZE, "Kustomization")) == before


def test_a_commit_that_changes_one_group_moves_that_one_alone(pushed: Pushed) -> None:
    before = versions(pushed.listed(KUSTOMIZE, "Kustomization"))
    path, content = group_file(7, devices=4000)
    commit = pushed.commit_and_push({f"fleet/{path}": content})
    pushed.look_again()
    applied = pushed.wait_until_applied()
    now = versions(applied)
    assert [name for name in GROUPS if now[name] != before[name]] == [GROUPS[7]]
    assert applied[GROUPS[7]]["status"]["lastAppliedOriginRevision"].endswith(commit)


def test_what_left_the_tree_is_pruned(pushed: Pushed) -> None:
    kind = pushed.cluster.resource("apexlogic.ai/v1", "EdgeAIDeployment")

    def names() -> list[str]:
        items = kind.get(namespace=pushed.namespace).to_dict()["items"]
        return sorted(item["metadata"]["name"] for item in items if "deploy-00" in item["metadata"]["name"])

    assert len(names()) == 5, "one for each group of its slot"
    pushed.commit_and_push({"fleet/deployments/model-00.yaml": None})
    pushed.look_again()
    pushed.wait_until_applied()
    wait_for(lambda: names() == [], "the deployment's objects are pruned", 60, told=names)


def test_a_layer_that_was_changed_in_the_registry_is_refused(pushed: Pushed, lab_directory: Path) -> None:
    path, content = group_file(3, devices=31)
    before = pushed.listed(SOURCE, "OCIRepository")[GROUPS[3]]["status"]["artifact"]
    pushed.commit_and_push({f"fleet/{path}": content})
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    url = f"http://{pushed.registry.address}/v2/fleet/{GROUPS[3]}/manifests/latest"
    manifest = json.loads(urllib3.request("GET", url, headers=accept, retries=False).data)
    hexdigest = manifest["layers"][0]["digest"].removeprefix("sha256:")
    [blob] = (lab_directory / "registry").rglob(f"{hexdigest}/data")
    whole = blob.read_bytes()
    blob.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    body = {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": str(time.time_ns())}}}
    pushed.cluster.resource(SOURCE, "OCIRepository").patch(
        name=GROUPS[3], namespace=pushed.namespace, body=body, content_type="application/merge-patch+json"
    )
    got = pushed.flux.wait_for_condition(
        SOURCE, "OCIRepository", GROUPS[3], pushed.namespace, lambda entry: entry.get("status") == "False"
    )
    assert got["status"]["artifact"]["revision"] == before["revision"]
    blob.write_bytes(whole)
    pushed.look_again()
    pushed.wait_until_applied()


# ---------------------------------------------------------------- a tree in an artifact, as the controller's source


def push_tree(registry: Registry, name: str, files: dict[str, bytes], revision: str) -> None:
    """A whole fleet as one artifact, as `flux push artifact` makes it."""
    base = f"http://{registry.address}/v2/{name}"
    layer, settings = write_archive(files), b"{}"

    def blob(content: bytes, kind: str) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        begun = urllib3.request("POST", f"{base}/blobs/uploads/", retries=False)
        place = begun.headers["Location"]
        joint = "&" if "?" in place else "?"
        headers = {"Content-Type": "application/octet-stream"}
        done = urllib3.request("PUT", f"{place}{joint}digest={digest}", body=content, headers=headers, retries=False)
        assert done.status == 201, done.data
        return {"mediaType": kind, "digest": digest, "size": len(content)}

    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob(settings, "application/vnd.cncf.flux.config.v1+json"),
        "layers": [blob(layer, "application/vnd.cncf.flux.content.v1.tar+gzip")],
        "annotations": {ORIGIN: revision, "org.opencontainers.image.created": "2026-11-22T12:00:00Z"},
    }
    headers = {"Content-Type": str(manifest["mediaType"])}
    done = urllib3.request(
        "PUT", f"{base}/manifests/latest", body=json.dumps(manifest).encode(), headers=headers, retries=False
    )
    assert done.status == 201, done.data


@pytest.fixture
def controller(lab_processes: Processes, cluster: Cluster, tmp_path: Path) -> Iterator[None]:
    """The controller, for one namespace's worth of work."""
    process = lab_processes.start(
        "trimtab-flux-controller-oci",
        [
            *(TRIMTAB, "flux-controller", "--storage", tmp_path / "storage", "--kubeconfig", cluster.kubeconfig),
            *("--listen", "127.0.0.1:0", "--observe", "127.0.0.1:0", "--drain", "0"),
            *("--namespace", "tree", "--no-lease"),
        ],
    )
    yield
    assert process.stop() == 0


def test_a_fleet_in_an_oci_artifact_is_a_source_too(
    pushed: Pushed, cluster: Cluster, registry: Registry, controller: None
) -> None:
    """The commit that the artifact carries is the origin of every group's artifact."""
    revision = "main@sha1:" + "5" * 40
    push_tree(registry, "tree", dict(fleet_files(10, 5)), revision)
    cluster.apply(
        [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tree"}},
            {
                "apiVersion": SOURCE,
                "kind": "OCIRepository",
                "metadata": {"name": "tree", "namespace": "tree"},
                "spec": {
                    "url": f"oci://{registry.address}/tree",
                    "ref": {"tag": "latest"},
                    "insecure": True,
                    "interval": "10m",
                },
            },
            {
                "apiVersion": "fleet.apexlogic.ai/v1alpha1",
                "kind": "FleetArtifact",
                "metadata": {"name": "tree", "namespace": "tree"},
                "spec": {"sourceRef": {"kind": "OCIRepository", "name": "tree"}},
            },
        ]
    )
    pushed.flux.wait_for_condition("fleet.apexlogic.ai/v1alpha1", "FleetArtifact", "tree", "tree")
    items = cluster.resource(SOURCE, "ExternalArtifact").get(namespace="tree").to_dict()["items"]
    assert sorted(item["metadata"]["name"] for item in items) == [f"tree-{name}" for name in GROUPS[:10]]
    assert {item["status"]["artifact"]["metadata"][ORIGIN] for item in items} == {revision}


def test_a_fleet_in_a_bucket_is_a_source_too(pushed: Pushed, cluster: Cluster, controller: None) -> None:
    """A bucket knows no commit, so the digest of its content is the origin; a change of one file moves one group."""
    objects = {f"fleet/{name}": content for name, content in fleet_files(10, 5).items()}
    with object_store("fleet", objects) as endpoint:
        cluster.apply(
            [
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tree"}},
                {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {"name": "bucket", "namespace": "tree"},
                    "stringData": {"accesskey": "lab", "secretkey": "lab-secret"},
                },
                {
                    "apiVersion": SOURCE,
                    "kind": "Bucket",
                    "metadata": {"name": "bucket", "namespace": "tree"},
                    "spec": {
                        "bucketName": "fleet",
                        "endpoint": endpoint,
                        "insecure": True,
                        "interval": "2s",
                        "secretRef": {"name": "bucket"},
                    },
                },
                {
                    "apiVersion": "fleet.apexlogic.ai/v1alpha1",
                    "kind": "FleetArtifact",
                    "metadata": {"name": "bucket", "namespace": "tree"},
                    "spec": {"sourceRef": {"kind": "Bucket", "name": "bucket"}, "path": "fleet"},
                },
            ]
        )
        pushed.flux.wait_for_condition("fleet.apexlogic.ai/v1alpha1", "FleetArtifact", "bucket", "tree")

        def revisions() -> dict[str, str]:
            items = cluster.resource(SOURCE, "ExternalArtifact").get(namespace="tree").to_dict()["items"]
            ours = {item["metadata"]["name"]: item for item in items if item["metadata"]["name"].startswith("bucket-")}
            assert all(item["status"]["artifact"]["metadata"][ORIGIN].startswith("sha256:") for item in ours.values())
            return {name: item["status"]["artifact"]["revision"] for name, item in ours.items()}

        before = revisions()
        assert sorted(before) == [f"bucket-{name}" for name in GROUPS[:10]]
        path, content = group_file(4, devices=44)
        objects[f"fleet/{path}"] = content
        wait_for(lambda: revisions() != before, "the change arrives", 60)
        after = revisions()
        assert [name for name in after if after[name] != before[name]] == [f"bucket-{GROUPS[4]}"]
        cluster.resource(SOURCE, "Bucket").delete(name="bucket", namespace="tree")
