"""Trimtab inside a real Argo CD: what its users and its operators can rely on."""

from __future__ import annotations

import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.config import small_fleet
from tests.lab.argocd import API, SYNC_POLICY, ArgoCD, conditions, is_healthy, is_synced, object_of_argocd
from tests.lab.cluster import Cluster
from tests.lab.dialling import DialStorm
from tests.lab.fleets import FOLDER, LabFleet
from tests.lab.processes import LabProcess, Processes, wait_for
from tests.lab.socket_proxy import SocketProxy

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600), pytest.mark.usefixtures("trimtab_kinds")]

ROOT = Path(__file__).parents[2]
TRIMTAB = Path(sys.executable).with_name("trimtab")
SLOW_SECONDS = 120
PLUGIN_FILE = ROOT / "plugins/argocd/plugin.yaml"


@pytest.fixture(scope="module")
def argo(argocd: Callable[..., ArgoCD]) -> ArgoCD:
    """Argo CD with the options of the chart."""
    return argocd()


def plugin_folder(place: Path, name: str) -> Path:
    """The plugin.yaml that we ship, under another name where several plugins share one Argo CD."""
    place.mkdir(parents=True)
    content = yaml.safe_load(PLUGIN_FILE.read_text("utf-8"))
    content["metadata"]["name"] = name
    (place / "plugin.yaml").write_text(yaml.safe_dump(content), "utf-8")
    return place


def start_native(processes: Processes, configuration: Path, sockets: Path, name: str) -> LabProcess:
    """`trimtab cmp-server`; returns once it is ready, that is once its socket is there, and not one that was left behind."""
    socket = sockets / f"{name}.sock"
    left_behind = socket.stat().st_ino if socket.exists() else None
    process = processes.start(
        f"cmp-server-{name}",
        [TRIMTAB, "cmp-server", "--config-dir", configuration, "--socket-dir", sockets],
    )
    processes.wait_until_ready(process, lambda: socket.stat().st_ino != left_behind)
    return process


@pytest.fixture(scope="module")
def native(argo: ArgoCD, lab_processes: Processes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of the plugin that our own server answers for."""
    folder = plugin_folder(tmp_path_factory.mktemp("native") / "config", "trimtab")
    process = start_native(lab_processes, folder, argo.sockets, "trimtab")
    yield "trimtab"
    assert process.stop() == 0


@pytest.fixture(scope="module")
def executed(argo: ArgoCD, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of the plugin that the stock argocd-cmp-server answers for, with the same plugin.yaml."""
    folder = plugin_folder(tmp_path_factory.mktemp("executed") / "config", "trimtab-exec")
    # The command of plugin.yaml is found on the PATH, as in the image of the sidecar.
    path = f"{TRIMTAB.parent}:/usr/bin:/bin"
    process = argo.cmp_server("trimtab-exec", folder, {"PATH": path})
    yield "trimtab-exec"
    process.stop(patience=2)


@dataclass(frozen=True, slots=True)
class SlowCall:
    """An Application whose manifests are being generated, and the server that takes so long over it."""

    application: str
    server: LabProcess


@pytest.fixture(scope="module", autouse=True)
def slow_call(
    argo: ArgoCD, cluster: Cluster, lab_processes: Processes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SlowCall]:
    """Begins before the first test of this file, so that nobody waits for it while there is other work."""
    name, place = "trimtab-slow", tmp_path_factory.mktemp("slow")
    program, folder = Path(__file__).with_name("slow_server.py"), plugin_folder(place / "config", name)
    command: list[str | Path] = [sys.executable, program, folder, argo.sockets, str(SLOW_SECONDS)]
    server = lab_processes.start("cmp-server-slow", command)
    lab_processes.wait_until_ready(server, (argo.sockets / f"{name}.sock").exists)
    fleet = LabFleet.create(place, cluster.namespace("slow"))
    yield SlowCall(deploy(argo, fleet, name)[0], server)
    argo.delete(fleet.applications())
    server.kill()


@pytest.fixture
def new_fleet(tmp_path: Path, argo: ArgoCD, cluster: Cluster) -> Iterator[Callable[..., LabFleet]]:
    """Makes fleets; their Applications are taken away after the test, so that Argo CD is not kept busy with them."""
    made: list[LabFleet] = []

    def create(name: str, devices: int = 1, sites: int = 0, prefix: str = "") -> LabFleet:
        made.append(LabFleet.create(tmp_path, cluster.namespace(name), devices, sites, prefix))
        return made[-1]

    yield create
    states = argo.states()
    for fleet in made:
        argo.delete([name for name in states if name.startswith(f"{fleet.namespace}-")])


def deploy(argo: ArgoCD, fleet: LabFleet, plugin: str, groups: Sequence[str] | None = None) -> list[str]:
    """An Application for each of these groups, or for every one; returns their names."""
    for group in groups or fleet.groups:
        argo.application(
            fleet.application(group),
            fleet.url,
            plugin=plugin,
            parameters={"group": group},
            path=FOLDER,
            namespace=fleet.namespace,
        )
    return fleet.applications(groups)


def live(argo: ArgoCD, name: str) -> dict[tuple[str, str], dict[str, Any]]:
    """The objects of an Application as the cluster has them, without what the servers write, by kind and name."""
    found = {}
    for entry in argo.state(name)["status"]["resources"]:
        version = f"{entry['group']}/{entry['version']}" if entry.get("group") else entry["version"]
        kind = argo.cluster.resource(version, entry["kind"])
        item = kind.get(name=entry["name"], namespace=entry.get("namespace")).to_dict()
        item.pop("status", None)
        for key in ("resourceVersion", "generation", "managedFields", "uid", "creationTimestamp"):
            item["metadata"].pop(key, None)
        (item["metadata"].get("annotations") or {}).pop("deprecated.daemonset.template.generation", None)
        found[entry["kind"], entry["name"]] = item
    return found


def resource_versions(argo: ArgoCD, name: str) -> dict[str, str]:
    """What of an Application the API server has written how often."""
    versions = {}
    for entry in argo.state(name)["status"]["resources"]:
        version = f"{entry['group']}/{entry['version']}" if entry.get("group") else entry["version"]
        kind = argo.cluster.resource(version, entry["kind"])
        metadata = kind.get(name=entry["name"], namespace=entry.get("namespace")).to_dict()["metadata"]
        versions[f"{entry['kind']}/{entry['name']}"] = f"{metadata['uid']} {metadata.get('generation')}"
    return versions


def at(commit: str) -> Callable[[dict[str, Any]], bool]:
    """Synced at this commit, the sync having ended."""

    def accept(item: dict[str, Any]) -> bool:
        status = item.get("status", {})
        ended = status.get("operationState", {}).get("phase") in {None, "Succeeded"}
        return bool(is_synced(item) and ended and status["sync"].get("revision") == commit)

    return accept


@pytest.mark.parametrize("mode", ["native", "executed"])
def test_fifty_groups_become_applications_and_these_synced_and_healthy(
    mode: str,
    request: pytest.FixtureRequest,
    argo: ArgoCD,
    new_fleet: Callable[..., LabFleet],
    lab_processes: Processes,
    tmp_path: Path,
) -> None:
    """The ApplicationSet that `trimtab fleet-service` prints, its controller, the service, the plugin: nothing by hand.

    Deployments wait for a node, which the lab has not; so their groups are Synced, and those with DaemonSets Healthy too.
    """
    plugin = request.getfixturevalue(mode)
    fleet = new_fleet(f"fifty-{mode}", devices=40, sites=10, prefix=f"{mode}-")
    address = start_fleet_service(lab_processes, fleet, tmp_path)
    token = object_of_argocd("Secret", f"token-{mode}", stringData={"token": (tmp_path / "token").read_text()})
    place = {"baseUrl": address, "token": f"$token-{mode}:token"}
    cluster = argo.cluster
    cluster.apply([token, object_of_argocd("ConfigMap", f"service-{mode}", data=place)])
    wanted = printed_application_set(argo, fleet, f"fifty-{mode}", f"service-{mode}")
    assert wanted["spec"]["template"]["spec"]["source"]["plugin"]["name"] == "trimtab"
    wanted["spec"]["template"]["spec"]["source"]["plugin"]["name"] = plugin

    cluster.apply([wanted])
    try:
        edges = [group for group in fleet.groups if "-edge-" in group]
        assert (len(edges), len(fleet.groups)) == (40, 50)
        argo.wait(edges, is_healthy, "the groups with DaemonSets are Healthy", 360)
        states = argo.wait(fleet.groups, at(fleet.commits[-1]), "all groups are Synced", 120)
        assert all(states[group]["spec"]["syncPolicy"] == SYNC_POLICY for group in fleet.groups)
        for group in (edges[7], fleet.groups[-1]):
            found = live(argo, group)
            rendered = fleet.rendered(group).objects
            assert set(found) == {(item["kind"], item["metadata"]["name"]) for item in rendered}
            for item in rendered:
                if item["kind"] == "ConfigMap":
                    assert found["ConfigMap", item["metadata"]["name"]]["data"] == item["data"]

        # A group that leaves the fleet takes its Application and its objects along; nobody else moves.
        fleet.remove("groups/edge-39.yaml")
        wait_for(lambda: edges[-1] not in argo.states(), "the Application of the removed group is gone", 120)
        assert set(fleet.groups) <= set(argo.states())
    finally:
        sets = cluster.resource(API, "ApplicationSet")
        sets.delete(name=f"fifty-{mode}", namespace=argo.namespace, propagation_policy="Orphan")
        wait_for(lambda: not _names(sets.get(namespace=argo.namespace)), "the ApplicationSet is gone")
        argo.delete([group for group in fleet.groups if group in argo.states()])


def _names(listed: Any) -> list[str]:  # noqa: ANN401 - the client names no types for it
    return [item["metadata"]["name"] for item in listed.to_dict()["items"]]


def start_fleet_service(processes: Processes, fleet: LabFleet, place: Path) -> str:
    """`trimtab fleet-service` for a fleet, with the token in ``place``; returns its address once it has read the fleet."""
    (place / "token").touch(0o600)
    (place / "token").write_text("a-token-of-the-lab-that-opens-nothing-else")
    follow = ["--repo", str(fleet.repository.path), "--path", FOLDER, "--interval", "1"]
    serve = ["--port", "0", "--token-file", str(place / "token")]
    process = processes.start("fleet-service", [TRIMTAB, "fleet-service", *follow, *serve])
    processes.wait_until_ready(
        process, lambda: "answering with" in process.log.read_text() and "serving" in process.tail()
    )
    found = re.search(r"^serving (http://\S+)$", process.log.read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def printed_application_set(argo: ArgoCD, fleet: LabFleet, name: str, config_map: str) -> dict[str, Any]:
    """What `trimtab fleet-service --print-applicationset` prints for this Argo CD."""
    options = ["--repo-url", fleet.url, "--path", FOLDER, "--revision", "main", "--name", name, "--requeue", "10"]
    more = ["--config-map", config_map, "--destination-server", argo.cluster.url]
    command = [str(TRIMTAB), "fleet-service", "--print-applicationset", *options, *more]
    printed = subprocess.run(command, capture_output=True, check=True, timeout=60)
    found: dict[str, Any] = yaml.safe_load(printed.stdout)
    return found


@pytest.mark.parametrize("mode", ["native", "executed"])
def test_an_edited_object_is_healed_and_one_removed_from_git_is_pruned(
    mode: str, request: pytest.FixtureRequest, argo: ArgoCD, new_fleet: Callable[..., LabFleet], cluster: Cluster
) -> None:
    plugin = request.getfixturevalue(mode)
    fleet = new_fleet(f"heal-{mode}", devices=1)
    (name,) = deploy(argo, fleet, plugin)
    argo.wait([name], is_healthy, "the group is Healthy")

    before = live(argo, name)
    (workload,) = [key for key in before if key[0] == "DaemonSet"]
    kind = cluster.resource("apps/v1", "DaemonSet")
    containers = before[workload]["spec"]["template"]["spec"]["containers"]
    edit = {
        "spec": {"template": {"spec": {"containers": [{"name": containers[0]["name"], "image": "none.example/mine"}]}}}
    }
    edited = kind.patch(
        name=workload[1],
        namespace=fleet.namespace,
        body=edit,
        content_type="application/strategic-merge-patch+json",
    )
    assert "none.example/mine" in str(edited.to_dict()["spec"])
    wait_for(lambda: live(argo, name) == before, "the edited DaemonSet is healed", 90, told=lambda: argo.state(name))

    # Without its deployment the group runs nothing; its desired document and its cost report stay.
    commit = fleet.remove("deployments/edge.yaml")
    argo.refresh([name])
    argo.wait([name], at(commit), "the group is Synced without its deployment")
    left = {key[0] for key in live(argo, name)}
    assert "DaemonSet" not in left
    assert "ConfigMap" in left
    daemon_sets = cluster.resource("apps/v1", "DaemonSet")
    wait_for(lambda: not daemon_sets.get(namespace=fleet.namespace).items, "the DaemonSet is gone")


def test_a_failing_sync_is_retried_with_the_back_off_of_the_policy(
    argo: ArgoCD, native: str, new_fleet: Callable[..., LabFleet], cluster: Cluster
) -> None:
    """5 s, then twice that each time, until what refuses the objects is gone."""
    fleet = new_fleet("retry", devices=1)
    refusal = _refuse_daemon_sets(cluster, fleet.namespace)
    (name,) = deploy(argo, fleet, native)
    failed_at: dict[int, float] = {}

    def failed_three_times() -> bool:
        count = int(argo.state(name).get("status", {}).get("operationState", {}).get("retryCount") or 0)
        if count:
            failed_at.setdefault(count, time.monotonic())
        return count >= 3

    wait_for(failed_three_times, "the sync has failed three times", 150, told=lambda: argo.state(name)["status"])
    state = argo.state(name)
    assert state["status"]["operationState"]["operation"]["retry"] == {
        "limit": 5,
        "backoff": {"duration": "5s", "maxDuration": "3m0s", "factor": 2},
    }
    # Seen a quarter of a second late at worst; how late the controller is beyond that is the machine's affair.
    assert failed_at[2] - failed_at[1] > 4.5
    assert failed_at[3] - failed_at[2] > 9.5
    for kind, what in reversed(refusal):
        cluster.resource("admissionregistration.k8s.io/v1", kind).delete(name=what)
    argo.wait([name], is_healthy, "the sync succeeds by itself", 150)
    operation = argo.state(name)["status"]["operationState"]
    assert operation["phase"] == "Succeeded"


def _refuse_daemon_sets(cluster: Cluster, namespace: str) -> list[tuple[str, str]]:
    """An admission policy of the site that refuses every DaemonSet of one namespace; returns what to delete."""
    rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["daemonsets"]}
    api = "admissionregistration.k8s.io/v1"
    policy = {
        "apiVersion": api,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": f"refuse-{namespace}"},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": "false", "message": "no daemon sets here today"}],
        },
    }
    chosen = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    binding = {
        "apiVersion": api,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": f"refuse-{namespace}"},
        "spec": {"policyName": f"refuse-{namespace}", "validationActions": ["Deny"], "matchResources": chosen},
    }
    cluster.apply([policy, binding])
    probe = small_daemon_set(namespace)

    def refuses() -> bool:
        from kubernetes.dynamic.exceptions import DynamicApiError

        try:
            cluster.apply([probe], dry_run=True)
        except DynamicApiError:
            return True
        return False

    wait_for(refuses, "the policy is in force", 60)
    return [(str(item["kind"]), f"refuse-{namespace}") for item in (policy, binding)]


def small_daemon_set(namespace: str) -> dict[str, Any]:
    """A DaemonSet that nobody misses."""
    labels = {"app": "probe"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "probe", "image": "none.example/probe"}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "probe", "namespace": namespace},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }


def test_a_commit_that_changes_one_group_moves_only_its_application(
    argo: ArgoCD, native: str, new_fleet: Callable[..., LabFleet]
) -> None:
    """All see the new commit; only one has anything to sync, and the objects of the others are not written."""
    fleet = new_fleet("one", devices=4)
    names = deploy(argo, fleet, native)
    argo.wait(names, is_healthy, "all groups are Healthy")
    before = {name: argo.state(name)["status"] for name in names}
    written = {name: resource_versions(argo, name) for name in names}

    commit = fleet.change("groups/edge-02.yaml", spec__deviceCount=77)
    argo.refresh(names)
    argo.wait(names, at(commit), "all have seen the commit")
    moved = fleet.application("edge-02")
    after = {name: argo.state(name)["status"] for name in names}
    synced_anew = [name for name in names if len(after[name]["history"]) > len(before[name]["history"])]
    assert synced_anew == [moved]
    untouched = [name for name in names if name != moved]
    assert all(resource_versions(argo, name) == written[name] for name in untouched)
    assert all(after[name]["operationState"] == before[name]["operationState"] for name in untouched)


@pytest.mark.parametrize("mode", ["native", "executed"])
def test_a_broken_manifest_says_code_file_line_and_field_where_people_look(
    mode: str, request: pytest.FixtureRequest, argo: ArgoCD, new_fleet: Callable[..., LabFleet]
) -> None:
    """The objects stay as they were; the repaired commit recovers by itself."""
    plugin = request.getfixturevalue(mode)
    fleet = new_fleet(f"broken-{mode}", devices=1)
    (name,) = deploy(argo, fleet, plugin)
    argo.wait([name], is_healthy, "the group is Healthy")
    before = live(argo, name)

    fleet.change("deployments/edge.yaml", spec__resourceLimits__cpu="0.5 cores")
    argo.refresh([name])
    told = argo.wait([name], lambda item: "ComparisonError" in conditions(item), "the condition shows the error")
    assert re.search(
        rf"{FOLDER}/deployments/edge\.yaml:\d+ spec\.resourceLimits\.cpu: F104 got \"0\.5 cores\"",
        conditions(told[name]),
    ), conditions(told[name])
    assert live(argo, name) == before

    commit = fleet.change("deployments/edge.yaml", spec__resourceLimits__cpu="500m")
    argo.refresh([name])
    argo.wait([name], at(commit), "the repaired commit is Synced")
    assert live(argo, name) == before


def test_a_hold_and_a_revert_restore_the_earlier_bytes(
    argo: ArgoCD, native: str, new_fleet: Callable[..., LabFleet]
) -> None:
    fleet = new_fleet("hold", devices=1)
    file = "deployments/edge.yaml"
    fleet.change(file, spec__modelRef__version="1.0.0")
    (name,) = deploy(argo, fleet, native)
    argo.wait([name], is_healthy, "the group is Healthy")
    verified = live(argo, name)

    def follow(commit: str) -> dict[tuple[str, str], dict[str, Any]]:
        argo.refresh([name])
        argo.wait([name], at(commit), f"the group is Synced at {commit}")
        return live(argo, name)

    offending = follow(fleet.change(file, spec__modelRef__version="1.1.0"))
    assert offending != verified
    # The rollback: the version as it was, and a Hold that keeps the bad one out.
    fleet.objects[file] = small_fleet.changed(fleet.objects[file], {"spec.modelRef.version": "1.0.0"})
    assert follow(fleet.add("holds/triage.yaml", small_fleet.hold())) == verified
    # With the Hold gone and the version back, what was rolled back is there again, to the byte.
    del fleet.objects["holds/triage.yaml"]
    assert follow(fleet.change(file, spec__modelRef__version="1.1.0")) == offending


def test_parameters_can_be_pinned_for_one_application_in_git(
    argo: ArgoCD, native: str, new_fleet: Callable[..., LabFleet]
) -> None:
    """`.argocd-source-<app>.yaml` beside the fleet goes over what the Application says, as Argo CD documents."""
    fleet = new_fleet("pin", devices=2)
    first, second = fleet.applications()
    pinned = yaml.safe_dump({"plugin": {"parameters": [{"name": "group", "string": "edge-01"}]}}).encode()
    fleet.push({f"{FOLDER}/.argocd-source-{first}.yaml": pinned})
    argo.application(
        first, fleet.url, plugin=native, parameters={"group": "edge-00"}, path=FOLDER, namespace=fleet.namespace
    )
    argo.wait([first], is_healthy, "the pinned Application is Healthy")
    assert {entry[1] for entry in live(argo, first)} == {
        item["metadata"]["name"] for item in fleet.rendered("edge-01").objects
    }
    assert second not in argo.states()


def megabytes(count: int, seed: int) -> dict[str, bytes]:
    """Files beside the fleet that no compression makes smaller."""
    chance = random.Random(seed)  # noqa: S311 - bytes that look random, nothing more
    return {f"data/{index:03}.bin": chance.randbytes(1_000_000) for index in range(count)}


@pytest.mark.parametrize("mode", ["native", "executed"])
def test_a_repository_of_twenty_megabytes_streams(
    mode: str, request: pytest.FixtureRequest, argo: ArgoCD, new_fleet: Callable[..., LabFleet]
) -> None:
    plugin = request.getfixturevalue(mode)
    fleet = new_fleet(f"big-{mode}", devices=2)
    commit = fleet.push(megabytes(20, seed=20))
    names = deploy(argo, fleet, plugin)
    argo.wait(names, lambda item: is_healthy(item) and at(commit)(item), "the groups are Healthy")


def test_a_call_of_two_minutes_survives_the_pings(argo: ArgoCD, slow_call: SlowCall) -> None:
    """repo-server pings every 20 s; a server that counts these as too many would end the call at 100 s."""
    name = slow_call.application
    states = argo.wait([name], lambda item: is_healthy(item) or bool(conditions(item)), "the call is answered", 300)
    assert is_healthy(states[name]), conditions(states[name])
    calls = [line for line in slow_call.server.log.read_text("utf-8").splitlines() if "call=GenerateManifest" in line]
    assert [re.findall(r"status=(\w+)", line) for line in calls] == [["OK"]] * len(calls)
    assert all(float(re.findall(r" wait=([\d.]+)", line)[0]) >= SLOW_SECONDS for line in calls)
    assert calls


def test_argo_cd_can_try_again_after_the_server_was_killed_amid_a_stream(
    argo: ArgoCD,
    lab_processes: Processes,
    lab_directory: Path,
    new_fleet: Callable[..., LabFleet],
) -> None:
    """kill -9 once five of ten megabytes have come; neither this render nor later ones of the repository hang."""
    name = "trimtab-killed"
    configuration = plugin_folder(lab_directory / name / "config", name)
    behind = lab_directory / name / "sockets"
    behind.mkdir()
    server = start_native(lab_processes, configuration, behind, name)
    proxy = SocketProxy(argo.sockets / f"{name}.sock", behind / f"{name}.sock", 5_000_000, server.kill)
    proxy.open()
    try:
        fleet = new_fleet("killed", devices=2)
        fleet.push(megabytes(10, seed=10))
        first, second = fleet.applications()
        deploy(argo, fleet, name, ["edge-00"])
        told = argo.wait([first], lambda item: "ComparisonError" in conditions(item), "the error shows")
        assert proxy.was_cut.wait(30)
        assert "error" in conditions(told[first])
        assert not server.running

        server = start_native(lab_processes, configuration, behind, name)
        proxy.limit = sys.maxsize
        proxy.open()
        argo.refresh([first])
        argo.wait([first], is_healthy, "the same commit is rendered after all")
        # Another Application and a new commit of the same repository: nobody holds its lock.
        commit = fleet.change("groups/edge-00.yaml", spec__deviceCount=99)
        deploy(argo, fleet, name, ["edge-01"])
        argo.refresh([first])
        argo.wait([first, second], at(commit), "a new commit of the same repository is rendered")
    finally:
        proxy.close()
        server.stop()


def test_restarts_under_a_storm_of_dials_wedge_nothing(
    argo: ArgoCD, lab_processes: Processes, lab_directory: Path, new_fleet: Callable[..., LabFleet]
) -> None:
    """Ten restarts by SIGTERM: every dial that was accepted is welcomed, and Argo CD renders all groups afterwards.

    A dial that is closed before the server's SETTINGS would hold the repository's lock in Argo CD until that is restarted.
    """
    name = "trimtab-storm"
    configuration = plugin_folder(lab_directory / name / "config", name)
    fleet = new_fleet("storm", devices=12)
    server = start_native(lab_processes, configuration, argo.sockets, name)
    names = deploy(argo, fleet, name)
    argo.wait(names, is_healthy, "all groups are Healthy")
    storm = DialStorm(argo.sockets / f"{name}.sock")
    storm.begin(threads=3)
    try:
        for _ in range(10):
            argo.refresh(names, hard=True)
            assert server.stop() == 0
            server = start_native(lab_processes, configuration, argo.sockets, name)
        storm.end()
        assert storm.left_hanging == []
        assert storm.welcomed > 100
        commit = fleet.change("prices/prices.yaml", spec__regions__EMEA__energyPerKWh=small_fleet.exact("0.21"))
        argo.refresh(names, hard=True)
        argo.wait(names, at(commit), "every group is Synced at a new commit", 180)
    finally:
        storm.end()
        server.stop()
