"""`trimtab flux-controller` between a real source-controller and a real kustomize-controller: 50 groups of one fleet.

The tests of this module follow one repository through its commits, in the order in which they stand.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml

from bench.fleets import fleet_files, group_file, group_name
from tests.lab.cluster import Cluster
from tests.lab.flux import Flux
from tests.lab.processes import LabProcess, Processes, wait_for
from tests.repositories import ScratchRepository
from tests.rigs.git_http import git_over_http
from tests.rigs.meddling_proxy import MeddlingProxy

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
GROUPS = [group_name(index) for index in range(50)]
FLEET = "fleet.apexlogic.ai/v1alpha1"
SOURCE = "source.toolkit.fluxcd.io/v1"
KUSTOMIZE = "kustomize.toolkit.fluxcd.io/v1"
LEASE_SECONDS = 4


@dataclass(slots=True)
class Controller:
    """One running `trimtab flux-controller`."""

    process: LabProcess
    storage: Path

    def address(self, name: str) -> str:
        found: list[str] = []

        def listening() -> bool:
            text = self.process.log.read_text("utf-8", "replace")
            found[:] = re.findall(rf"^listening .*\b{name}=(\S+)", text, re.MULTILINE)
            return bool(found)

        wait_for(listening, "the controller says where it listens", 60)
        return found[-1]

    def get(self, path: str) -> tuple[int, str]:
        answer = urllib3.request("GET", f"http://{self.address('observation')}{path}", retries=False, timeout=10)
        return answer.status, answer.data.decode()

    def metric(self, sample: str) -> float:
        found = re.search(rf"^{re.escape(sample)} (\S+)$", self.get("/metrics")[1], re.MULTILINE)
        return float(found[1]) if found else 0.0

    def wait_until_ready(self) -> None:
        self.address("observation")
        wait_for(lambda: self.get("/readyz")[0] == 200, "the controller is ready", 120, told=self.process.tail)


@dataclass(slots=True)
class Fleet:
    """One repository, and everything in the cluster that follows it."""

    cluster: Cluster
    flux: Flux
    repository: ScratchRepository
    url: str
    namespace: str
    start: Callable[..., Controller]
    controller: Controller
    proxy: MeddlingProxy
    files: dict[str, bytes]
    commits: list[str] = field(default_factory=list)

    def commit(self, files: dict[str, bytes | None], message: str = "A change") -> str:
        """A commit of the files so far with these changes (None: removed), and what a webhook would then do."""
        self.files = {name: content for name, content in {**self.files, **files}.items() if content is not None}
        tree = {f"fleet/{name}": content for name, content in self.files.items() if name != "README.md"}
        whole = {**tree, "README.md": self.files.get("README.md", b"fleet\n")}
        parents = self.commits[-1:]
        self.commits.append(self.repository.commit(whole, *parents, message=message, branch="main"))
        if parents:
            self.poke(SOURCE, "GitRepository", "fleet")
        return self.commits[-1]

    def poke(self, api: str, kind: str, name: str) -> None:
        annotations = {"reconcile.fluxcd.io/requestedAt": str(time.time_ns())}
        self.cluster.resource(api, kind).patch(
            name=name,
            namespace=self.namespace,
            body={"metadata": {"annotations": annotations}},
            content_type="application/merge-patch+json",
        )

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.flux.get(FLEET, "FleetArtifact", "fleet", self.namespace).get("status") or {}
        return found

    def ready(self) -> dict[str, Any]:
        return next((entry for entry in self.status().get("conditions") or () if entry["type"] == "Ready"), {})

    def wait_for_source(self, commit: str, seconds: float = 120) -> None:
        """Until the controller has said what became of a commit."""

        def told() -> bool:
            ready, status = self.ready(), self.status()
            return commit in str(status.get("sourceRevision")) or commit in str(ready.get("message"))

        wait_for(told, f"the controller has looked at {commit[:12]}", seconds, told=self.status)

    def artifacts(self) -> dict[str, dict[str, Any]]:
        return self.listed(SOURCE, "ExternalArtifact", "fleet-")

    def kustomizations(self, prefix: str = "ea-") -> dict[str, dict[str, Any]]:
        return self.listed(KUSTOMIZE, "Kustomization", prefix)

    def listed(self, api: str, kind: str, prefix: str) -> dict[str, dict[str, Any]]:
        items = self.cluster.resource(api, kind).get(namespace=self.namespace).to_dict()["items"]
        named = {item["metadata"]["name"]: item for item in items}
        return {name.removeprefix(prefix): item for name, item in named.items() if name.startswith(prefix)}

    def wait_until_applied(self, groups: list[str], seconds: float = 300) -> dict[str, dict[str, Any]]:
        """Until every group's Kustomization is Ready at the revision that its artifact has."""
        latest: dict[str, dict[str, Any]] = {}

        def behind() -> list[str]:
            artifacts = self.artifacts()
            latest.clear()
            latest.update(self.kustomizations())
            return [name for name in groups if not is_applied(latest.get(name), artifacts.get(name))]

        wait_for(
            lambda: not behind(),
            f"{len(groups)} groups are applied",
            seconds,
            step=0.5,
            told=lambda: [(name, (latest.get(name) or {}).get("status")) for name in behind()[:3]],
        )
        return latest


def is_applied(kustomization: dict[str, Any] | None, artifact: dict[str, Any] | None) -> bool:
    if kustomization is None or artifact is None:
        return False
    status = kustomization.get("status") or {}
    ready: dict[str, Any] = next((entry for entry in status.get("conditions") or () if entry["type"] == "Ready"), {})
    revision = ((artifact.get("status") or {}).get("artifact") or {}).get("revision")
    return ready.get("status") == "True" and status.get("lastAppliedRevision") == revision


def revisions(artifacts: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: item["status"]["artifact"]["revision"] for name, item in artifacts.items()}


def versions(items: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Every write to an object moves its resource version."""
    return {name: item["metadata"]["resourceVersion"] for name, item in items.items()}


def account_config(cluster: Cluster, directory: Path) -> Path:
    """A kubeconfig of a service account that has the rules of docs/flux.md, and no others."""
    from kubernetes.client import AuthenticationV1TokenRequest, CoreV1Api, V1TokenRequestSpec

    page = (ROOT / "docs/flux.md").read_text("utf-8")
    blocks = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    [rules] = [block for block in blocks if "kind: ClusterRole\n" in block]
    cluster.apply(list(yaml.safe_load_all(rules)))
    request = AuthenticationV1TokenRequest(spec=V1TokenRequestSpec(audiences=[], expiration_seconds=7200))
    made = CoreV1Api(cluster.api()).create_namespaced_service_account_token(
        "trimtab-flux-controller", "flux-system", request
    )
    assert made.status is not None
    return cluster.write_config(directory / "account.kubeconfig", token=made.status.token)


@pytest.fixture(scope="module")
def fleet(
    cluster: Cluster,
    flux: Flux,
    trimtab_kinds: None,
    lab_processes: Processes,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Fleet]:
    """The controller at work on the first commit; a Kustomization for every group."""
    directory = tmp_path_factory.mktemp("flux-controller")
    repository = ScratchRepository.create(directory / "git/fleet.git")
    kubeconfig = account_config(cluster, directory)
    proxy = MeddlingProxy()
    started: list[Controller] = []

    def start(name: str = "a", advertise: str | None = None) -> Controller:
        storage = directory / f"storage-{name}"
        command = [
            *(Path(sys.executable).with_name("trimtab"), "flux-controller", "--storage", storage),
            *("--listen", "127.0.0.1:0", "--observe", "127.0.0.1:0", "--kubeconfig", kubeconfig),
            *("--lease-seconds", str(LEASE_SECONDS), "--drain", "0.5"),
            *(("--advertise", advertise) if advertise else ()),
        ]
        process = lab_processes.start("trimtab-flux-controller", command)
        started.append(Controller(process, storage))
        return started[-1]

    with git_over_http(directory / "git") as url, proxy:
        namespace = cluster.namespace("fleet")
        controller = start(advertise=proxy.address)
        proxy.target = controller.address("archives")
        files = dict(fleet_files(len(GROUPS), 5))
        made = Fleet(cluster, flux, repository, url, namespace, start, controller, proxy, files)
        made.commit({})
        cluster.apply(
            [
                {
                    "apiVersion": SOURCE,
                    "kind": "GitRepository",
                    "metadata": {"name": "fleet", "namespace": namespace},
                    "spec": {"url": f"{url}/fleet.git", "ref": {"branch": "main"}, "interval": "10m"},
                },
                {
                    "apiVersion": FLEET,
                    "kind": "FleetArtifact",
                    "metadata": {"name": "fleet", "namespace": namespace},
                    "spec": {"sourceRef": {"kind": "GitRepository", "name": "fleet"}, "path": "./fleet"},
                },
                *(kustomization(f"ea-{name}", namespace, "ExternalArtifact", f"fleet-{name}") for name in GROUPS),
            ]
        )
        yield made
        for each in started:
            if each.process.running:
                each.process.stop()


def kustomization(name: str, namespace: str, kind: str, source: str) -> dict[str, Any]:
    return {
        "apiVersion": KUSTOMIZE,
        "kind": "Kustomization",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "interval": "10m",
            "retryInterval": "5s",
            "prune": True,
            "path": "./",
            "targetNamespace": namespace,
            "sourceRef": {"kind": kind, "name": source},
        },
    }


def test_fifty_groups_become_ready_and_say_from_which_commit(fleet: Fleet) -> None:
    applied = fleet.wait_until_applied(GROUPS)
    origin = f"main@sha1:{fleet.commits[0]}"
    assert {item["status"]["lastAppliedOriginRevision"] for item in applied.values()} == {origin}
    artifacts = fleet.artifacts()
    assert sorted(artifacts) == GROUPS
    for name, item in artifacts.items():
        assert re.fullmatch(rf"{name}@sha256:[0-9a-f]{{64}}", item["status"]["artifact"]["revision"])
        assert item["metadata"]["labels"]["fleet.apexlogic.ai/group"] == name
        assert item["metadata"]["ownerReferences"][0]["kind"] == "FleetArtifact"
        assert item["spec"]["sourceRef"]["name"] == "fleet"
    status = fleet.status()
    assert fleet.ready()["status"] == "True"
    assert status["counts"] == {"selected": 50, "published": 50}
    assert {row["originRevision"] for row in status["groups"]} == {origin}
    sets = fleet.cluster.resource("apps/v1", "DaemonSet").get(namespace=fleet.namespace).to_dict()["items"]
    assert len(sets) == len(GROUPS)
    assert fleet.controller.metric("trimtab_flux_leader") == 1
    assert fleet.controller.metric("trimtab_flux_published_total") == len(GROUPS)


def test_a_commit_that_changes_no_group_writes_to_no_artifact_and_reconciles_nothing(fleet: Fleet) -> None:
    artifacts, kustomizations = versions(fleet.artifacts()), versions(fleet.kustomizations())
    commit = fleet.commit({"README.md": b"another text\n"})
    fleet.wait_for_source(commit)
    assert fleet.ready()["status"] == "True"
    assert versions(fleet.artifacts()) == artifacts
    assert versions(fleet.kustomizations()) == kustomizations


def test_a_commit_that_changes_one_group_moves_that_one_alone(fleet: Fleet) -> None:
    artifacts, kustomizations = fleet.artifacts(), fleet.kustomizations()
    path, content = group_file(7, devices=4000)
    commit = fleet.commit({path: content})
    fleet.wait_for_source(commit)
    applied = fleet.wait_until_applied(GROUPS)
    now = fleet.artifacts()
    moved = [name for name in GROUPS if revisions(now)[name] != revisions(artifacts)[name]]
    assert moved == [GROUPS[7]]
    assert applied[GROUPS[7]]["status"]["lastAppliedOriginRevision"] == f"main@sha1:{commit}"
    others = [name for name in GROUPS if name != GROUPS[7]]
    assert [versions(now)[name] for name in others] == [versions(artifacts)[name] for name in others]
    assert [versions(applied)[name] for name in others] == [versions(kustomizations)[name] for name in others]


def test_a_revert_names_the_earlier_release_again_with_the_archive_that_was_kept(fleet: Fleet) -> None:
    group, number = GROUPS[7], 7
    path = f"groups/{group}.yaml"
    changed = fleet.artifacts()[group]["status"]["artifact"]
    folder = (fleet.controller.storage / changed["path"]).parent
    kept = {file.name: file.stat().st_ino for file in folder.iterdir()}
    assert len(kept) == 2
    commit = fleet.commit({path: fleet_files(len(GROUPS), 5)[path]}, message=f"Revert {number}")
    fleet.wait_for_source(commit)
    applied = fleet.wait_until_applied(GROUPS)
    artifact = fleet.artifacts()[group]["status"]["artifact"]
    assert artifact["revision"] != changed["revision"]
    assert {file.name: file.stat().st_ino for file in folder.iterdir()} == kept, "no archive was written"
    assert Path(artifact["path"]).name in kept
    assert applied[group]["status"]["lastAppliedOriginRevision"] == f"main@sha1:{commit}"


def test_a_broken_tree_leaves_every_artifact_as_it_is_and_says_why(fleet: Fleet) -> None:
    before = versions(fleet.artifacts())
    path, content = group_file(3, devices=5)
    commit = fleet.commit({path: content.replace(b"deviceCount: 5", b"deviceCount: five")})
    fleet.wait_for_source(commit)
    ready = fleet.ready()
    assert (ready["status"], ready["reason"]) == ("False", "CompileFailed")
    assert re.search(rf"fleet/{path}:\d+ spec\.deviceCount: F\d+ got \"five\"", ready["message"])
    assert len(ready["message"].encode()) <= 1024
    assert versions(fleet.artifacts()) == before
    assert fleet.status()["counts"] == {"selected": 50, "published": 50}
    events = fleet.cluster.resource("events.k8s.io/v1", "Event").get(namespace=fleet.namespace).to_dict()["items"]
    assert any(event["reason"] == "CompileFailed" and event["type"] == "Warning" for event in events)
    mended = fleet.commit({path: fleet_files(len(GROUPS), 5)[path]})
    fleet.wait_for_source(mended)
    wait_for(lambda: fleet.ready().get("status") == "True", "the FleetArtifact is Ready again", 60)
    assert versions(fleet.artifacts()) == before


def test_what_left_the_tree_is_pruned(fleet: Fleet) -> None:
    """A deployment's objects by kustomize-controller; the artifact of a group that is gone by ours."""
    kind = fleet.cluster.resource("apexlogic.ai/v1", "EdgeAIDeployment")

    def names() -> list[str]:
        items = kind.get(namespace=fleet.namespace).to_dict()["items"]
        return sorted(item["metadata"]["name"] for item in items if "deploy-00" in item["metadata"]["name"])

    assert len(names()) == 5, "one for each group of its slot"
    last = GROUPS[-1]
    commit = fleet.commit({"deployments/model-00.yaml": None, f"groups/{last}.yaml": None})
    fleet.wait_for_source(commit)
    fleet.wait_until_applied(GROUPS[:-1])
    wait_for(lambda: names() == [], "the deployment's objects are pruned", 60, told=names)
    assert last not in fleet.artifacts()
    assert [row["name"] for row in fleet.status()["groups"]] == GROUPS[:-1]


def test_an_archive_that_was_changed_on_the_way_is_refused(fleet: Fleet) -> None:
    group = GROUPS[1]
    before = fleet.kustomizations()[group]["status"]["lastAppliedRevision"]
    fleet.proxy.meddle = True
    path, content = group_file(1, devices=77)
    commit = fleet.commit({path: content})
    fleet.wait_for_source(commit)

    def message() -> str:
        conditions = fleet.kustomizations()[group]["status"]["conditions"]
        return str(next(entry for entry in conditions if entry["type"] == "Ready")["message"])

    wait_for(lambda: "digest" in message(), "kustomize-controller refuses the archive", 90, told=message)
    assert fleet.kustomizations()[group]["status"]["lastAppliedRevision"] == before
    fleet.proxy.meddle = False
    fleet.wait_until_applied(GROUPS[:-1])


def test_an_archive_that_was_changed_on_disk_is_served_to_nobody_and_made_anew(fleet: Fleet) -> None:
    artifact = fleet.artifacts()[GROUPS[2]]["status"]["artifact"]
    file = fleet.controller.storage / artifact["path"]
    whole = file.read_bytes()
    file.write_bytes(whole[:-20] + bytes(20))
    assert urllib3.request("GET", artifact["url"], retries=False).status == 404
    fleet.poke(FLEET, "FleetArtifact", "fleet")
    wait_for(lambda: file.exists() and file.read_bytes() == whole, "the archive is made anew, byte for byte", 60)
    assert urllib3.request("GET", artifact["url"], retries=False).data == whole
    requested = fleet.flux.get(FLEET, "FleetArtifact", "fleet", fleet.namespace)["metadata"]["annotations"]
    wait_for(
        lambda: fleet.status().get("lastHandledReconcileAt") == requested["reconcile.fluxcd.io/requestedAt"],
        "the request is said to be handled",
        60,
    )


def test_a_killed_controller_comes_back_verifies_its_store_and_converges(fleet: Fleet) -> None:
    artifacts = fleet.artifacts()
    fleet.controller.process.kill()
    gone, bent = (fleet.controller.storage / artifacts[name]["status"]["artifact"]["path"] for name in GROUPS[4:6])
    bytes_before = {file: file.read_bytes() for file in (gone, bent)}
    gone.unlink()
    bent.write_bytes(b"something else")
    path, content = group_file(8, devices=123)
    commit = fleet.commit({path: content})
    fleet.controller = fleet.start(advertise=fleet.proxy.address)
    fleet.proxy.target = fleet.controller.address("archives")
    fleet.wait_for_source(commit)
    fleet.controller.wait_until_ready()
    assert {file: file.read_bytes() for file in (gone, bent)} == bytes_before
    fleet.wait_until_applied(GROUPS[:-1])
    now = fleet.artifacts()
    moved = [name for name in GROUPS[:-1] if versions(now)[name] != versions(artifacts)[name]]
    assert moved == [GROUPS[8]]


def test_of_two_replicas_one_writes_and_both_serve_the_same_bytes(fleet: Fleet) -> None:
    second = fleet.start("b", advertise=fleet.proxy.address)
    second.wait_until_ready()
    artifacts = fleet.artifacts()
    assert (fleet.controller.metric("trimtab_flux_leader"), second.metric("trimtab_flux_leader")) == (1, 0)
    for item in artifacts.values():
        path = item["status"]["artifact"]["path"]
        assert (second.storage / path).read_bytes() == (fleet.controller.storage / path).read_bytes()
    assert second.metric("trimtab_flux_published_total") == 0

    assert fleet.controller.process.stop() == 0, "SIGTERM ends it in good order"
    wait_for(lambda: second.metric("trimtab_flux_leader") == 1, "the other replica writes now", 60)
    fleet.controller, fleet.proxy.target = second, second.address("archives")
    path, content = group_file(9, devices=321)
    fleet.wait_for_source(fleet.commit({path: content}))
    fleet.wait_until_applied(GROUPS[:-1])
    now = fleet.artifacts()
    assert [name for name in GROUPS[:-1] if versions(now)[name] != versions(artifacts)[name]] == [GROUPS[9]]


def test_a_leader_that_is_killed_is_followed_when_its_lease_has_run_out(fleet: Fleet) -> None:
    artifacts = fleet.artifacts()
    third = fleet.start("c", advertise=fleet.proxy.address)
    third.wait_until_ready()
    assert third.metric("trimtab_flux_leader") == 0
    fleet.controller.process.kill()
    began = time.monotonic()
    fleet.controller, fleet.proxy.target = third, third.address("archives")
    path, content = group_file(11, devices=11)
    fleet.wait_for_source(fleet.commit({path: content}))
    assert time.monotonic() - began > LEASE_SECONDS / 2, "nobody writes while the lease may still be held"
    fleet.wait_until_applied(GROUPS[:-1])
    assert third.metric("trimtab_flux_leader") == 1
    now = fleet.artifacts()
    assert [name for name in GROUPS[:-1] if versions(now)[name] != versions(artifacts)[name]] == [GROUPS[11]]


def test_a_variable_in_the_fleet_reaches_the_cluster_as_it_was_written(fleet: Fleet) -> None:
    """Flux puts variables into what it applies, and fails on those that it does not know, where a Kustomization has any."""
    group, path = GROUPS[3], "models/model-03.yaml"
    fleet.cluster.resource(KUSTOMIZE, "Kustomization").patch(
        name=f"ea-{group}",
        namespace=fleet.namespace,
        body={"spec": {"postBuild": {"substitute": {"version": "put in by Flux"}}}},
        content_type="application/merge-patch+json",
    )
    written = fleet.files[path].replace(b"s3://bench/model-03/", b"s3://${version}/${unknown}/model-03/")
    fleet.wait_for_source(fleet.commit({path: written}))
    assert fleet.ready()["status"] == "True"
    fleet.wait_until_applied(GROUPS[:-1])
    maps = fleet.cluster.resource("v1", "ConfigMap").get(namespace=fleet.namespace).to_dict()["items"]
    desired = [
        item["data"]["desired.json"]
        for item in maps
        if group in item["metadata"]["name"] and "desired.json" in item["data"]
    ]
    assert desired
    assert all("s3://${version}/${unknown}/model-03/" in text for text in desired)


def test_an_artifact_of_another_owner_is_left_alone(fleet: Fleet) -> None:
    foreign = {
        "apiVersion": SOURCE,
        "kind": "ExternalArtifact",
        "metadata": {"name": "second-site-00000", "namespace": fleet.namespace},
        "spec": {"sourceRef": {"kind": "Somebody", "name": "else"}},
    }
    own = {
        "apiVersion": FLEET,
        "kind": "FleetArtifact",
        "metadata": {"name": "second", "namespace": fleet.namespace},
        "spec": {
            "sourceRef": {"kind": "GitRepository", "name": "fleet"},
            "path": "fleet",
            "groups": {"names": ["site-00000", "site-00001"]},
        },
    }
    fleet.cluster.apply([foreign, own])
    got = fleet.flux.wait_for_condition(
        FLEET, "FleetArtifact", "second", fleet.namespace, lambda entry: entry.get("reason") == "Conflict"
    )
    assert "A407" in fleet.flux.condition(got)["message"]
    second = fleet.listed(SOURCE, "ExternalArtifact", "second-")
    assert second["site-00000"]["spec"] == foreign["spec"]
    assert second["site-00001"]["status"]["artifact"]["revision"].startswith("site-00001@sha256:")
    fleet.cluster.resource(FLEET, "FleetArtifact").delete(name="second", namespace=fleet.namespace)
    wait_for(
        lambda: sorted(fleet.listed(SOURCE, "ExternalArtifact", "second-")) == ["site-00000"],
        "the garbage collector removes what the FleetArtifact owned",
        60,
    )
