"""The status of a deployment on a real API server, from real agents that obey what was rendered."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab.cluster import Cluster
from tests.lab.processes import Processes, wait_for
from trimtab_config.compilation import FleetCompiler
from trimtab_config.sources.folder import load_folder
from trimtab_edge.telemetry.exposition import MetricsListener, UpdateCollector, registry_of
from trimtab_edge.telemetry.updates import UpdateCounts
from trimtab_kernel.problems import OutsideError
from trimtab_plugins.api_server import AbsentKindError
from trimtab_plugins.reporting.asking import AgentAsker
from trimtab_plugins.reporting.cluster import ReportingCluster
from trimtab_plugins.reporting.reporter import Reporter
from trimtab_plugins.reporting.status import AgentReport, Device, ModelReport, status_of

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240), pytest.mark.usefixtures("trimtab_kinds")]

ROOT = Path(__file__).parents[2]
GROUP, NODES = "cam-emea", ("node-1", "node-2", "node-3")


class Site:
    """A namespace with a group's deployment, and pods whose agents a test plays by the agent's own counters and listener."""

    def __init__(self, cluster: Cluster, stack: ExitStack) -> None:
        self.cluster = cluster
        self.namespace = cluster.namespace("reported")
        rendered = FleetCompiler().open(load_folder(ROOT / "examples/fleet")).render_all()[GROUP]
        [narrowed] = [dict(item) for item in rendered.objects if item["kind"] == "EdgeAIDeployment"]
        narrowed["metadata"] = {**narrowed["metadata"], "namespace": self.namespace}
        [workload] = [item for item in rendered.objects if item["kind"] == "DaemonSet"]
        self.name = narrowed["metadata"]["name"]
        self.model, self.version = narrowed["spec"]["modelRef"]["name"], narrowed["spec"]["modelRef"]["version"]
        self.agents: dict[str, UpdateCounts] = {}
        self.listeners: dict[str, MetricsListener] = {}
        cluster.apply([narrowed])
        for node in NODES:
            counts = self.agents[node] = UpdateCounts()
            counts.document(valid=True, at=1_800_000_000.0)
            listener = self.listeners[node] = stack.enter_context(
                closing(MetricsListener(registry_of(UpdateCollector(counts)), "127.0.0.1", 0))
            )
            self._pod(node, listener.port, workload["spec"]["template"]["metadata"]["labels"])

    def _pod(self, node: str, port: int, labels: dict[str, str]) -> None:
        metadata = {"name": f"{GROUP}-{node}", "namespace": self.namespace, "labels": labels}
        container = {
            "name": "agent",
            "image": "nothing.example.com/agent",
            "ports": [{"name": "agent-metrics", "containerPort": port}],
        }
        body: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
        self.cluster.apply([{**body, "spec": {"nodeName": node, "containers": [container]}}])
        # What the kubelet of a node would say.
        self.cluster.resource("v1", "Pod").status.patch(
            name=metadata["name"],
            namespace=self.namespace,
            body={"status": {"phase": "Running", "podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}},
            content_type="application/merge-patch+json",
        )

    def deployment(self) -> dict[str, Any]:
        found = self.cluster.resource("apexlogic.ai/v1", "EdgeAIDeployment").get(
            name=self.name, namespace=self.namespace
        )
        return dict(found.to_dict())

    def conditions(self) -> dict[str, str]:
        return {each["type"]: each["status"] for each in self.deployment()["status"]["conditions"]}


@pytest.fixture
def site(cluster: Cluster) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(cluster, stack)


@pytest.fixture
def reporter(cluster: Cluster, site: Site) -> Iterator[Reporter]:
    with closing(AgentAsker()) as asker:
        yield Reporter(ReportingCluster.connect(cluster.kubeconfig, page=2), asker, site.namespace)


def test_the_status_follows_what_devices_run(site: Site, reporter: Reporter) -> None:
    first, second, third = site.agents.values()
    for each in (first, second, third):
        each.stands(site.model, active="2.0.0", desired=site.version, quarantined=0)
    assert (reporter.look().written, site.conditions()) == (1, {"Ready": "False", "Reconciling": "True"})
    first.stands(site.model, active=site.version, desired=site.version, quarantined=0)
    third.stands(site.model, active="2.0.0", desired=site.version, quarantined=1)
    reporter.look()
    found = site.deployment()["status"]
    assert site.conditions() == {"Ready": "False", "Stalled": "True"}
    assert found["devices"] == {"total": 3, "reporting": 3, "ready": 1, "updating": 1, "stalled": 1}
    assert found["versions"] == [{"version": "2.0.0", "devices": 2}, {"version": site.version, "devices": 1}]
    assert "node-3 will not try" in found["conditions"][0]["message"]
    site.listeners["node-3"].close()
    second.stands(site.model, active=site.version, desired=site.version, quarantined=0)
    reporter.look()
    assert site.conditions() == {"Ready": "True"}, "what does not answer holds nobody up"
    assert site.deployment()["status"]["devices"] == {
        "total": 3,
        "reporting": 2,
        "ready": 2,
        "updating": 0,
        "stalled": 0,
    }


def test_a_status_that_stays_is_not_written_again(site: Site, reporter: Reporter) -> None:
    for each in site.agents.values():
        each.stands(site.model, active=site.version, desired=site.version, quarantined=0)
    assert reporter.look().written == 1
    before = site.deployment()["metadata"]["resourceVersion"]
    look = reporter.look()
    assert (look.deployments, look.devices, look.reporting, look.written, look.failed) == (1, 3, 3, 0, 0)
    assert site.deployment()["metadata"]["resourceVersion"] == before


def test_a_status_lands_on_what_was_looked_at_or_nowhere(cluster: Cluster, site: Site) -> None:
    adapter = ReportingCluster.connect(cluster.kubeconfig)
    [seen] = adapter.deployments(site.namespace)
    kind = cluster.resource("apexlogic.ai/v1", "EdgeAIDeployment")
    change = {"metadata": {"labels": {"changed": "since"}}}
    kind.patch(name=site.name, namespace=site.namespace, body=change, content_type="application/merge-patch+json")
    assert adapter.apply_status(seen, {"observedGeneration": 1}) is False
    gone = {**seen, "metadata": {**seen["metadata"], "name": "nobody"}}
    assert adapter.apply_status(gone, {"observedGeneration": 1}) is False
    assert "status" not in site.deployment()


def test_without_the_kind_the_reason_says_what_to_install(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trimtab_plugins.reporting.cluster._GROUP", "nobody.example")
    with pytest.raises(AbsentKindError, match="install its CRD"):
        ReportingCluster.connect(cluster.kubeconfig).deployments(None)


def test_the_command_runs_with_the_rights_of_the_chart_and_no_more(
    cluster: Cluster,
    site: Site,
    lab_processes: Processes,
    lab_programs: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    """As its ServiceAccount: it writes the status within one namespace, and what it may not read ends no process."""
    for each in site.agents.values():
        each.stands(site.model, active=site.version, desired=site.version, quarantined=0)
    values = {"statusReporter": {"enabled": True, "watchNamespace": site.namespace}}
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values), "utf-8")
    done = subprocess.run(
        [str(lab_programs("helm")), "template", "fleet", str(ROOT / "helm/trimtab"), "--namespace", site.namespace,
         "--kube-version", "1.34.2", "--values", str(tmp_path / "values.yaml")],
        capture_output=True, text=True, check=True, timeout=60, env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    kinds = {"ServiceAccount", "Role", "RoleBinding"}
    wanted = [item for item in yaml.safe_load_all(done.stdout) if item and item["kind"] in kinds]
    cluster.apply(item for item in wanted if item["metadata"]["name"] == "fleet-trimtab-status-reporter")
    from kubernetes.client import AuthenticationV1TokenRequest, CoreV1Api, V1TokenRequestSpec

    token = CoreV1Api(cluster.api()).create_namespaced_service_account_token(
        "fleet-trimtab-status-reporter",
        site.namespace,
        AuthenticationV1TokenRequest(spec=V1TokenRequestSpec(audiences=[], expiration_seconds=600)),
    )
    assert token.status is not None
    config = cluster.write_config(tmp_path / "kubeconfig", site.namespace, token.status.token)
    process = lab_processes.start(
        "status-reporter",
        [Path(sys.executable).with_name("trimtab"), "status-reporter", "--kubeconfig", str(config), "--namespace",
         site.namespace, "--interval", "0.2", "--observe", "127.0.0.1:0"],
    )  # fmt: skip
    try:
        wait_for(lambda: "status" in site.deployment(), "a status is written", 90, told=process.tail)
        assert site.conditions() == {"Ready": "True"}
        with closing(AgentAsker()) as asker:
            everywhere = Reporter(ReportingCluster.connect(config), asker)
            with pytest.raises(OutsideError, match="cannot list edgeaideployments: 403"):
                everywhere.look()
    finally:
        process.stop()


def device(active: str, quarantined: int = 0) -> Device:
    return Device("node", AgentReport(valid=True, models={"digits": ModelReport("2.0.0", active, quarantined)}))


@pytest.mark.parametrize(
    ("devices", "health", "said"),
    [
        ([device("2.0.0")], "Healthy", "1 of 1 devices"),
        ([device("1.0.0")], "Progressing", "node is on the way"),
        ([device("1.0.0", 1)], "Degraded", "node will not try"),
        ([Device("node", None, "refused")], "Suspended", "node does not answer"),
        (None, "Progressing", "has not looked yet"),
    ],
    ids=["current", "updating", "stalled", "off", "no status"],
)
def test_argo_cd_reads_the_status_by_our_health_check(
    lab_programs: Callable[[str], Path], tmp_path: Path, devices: list[Device] | None, health: str, said: str
) -> None:
    """By Argo CD's own Lua, in its own command line."""
    item: dict[str, Any] = {
        "apiVersion": "apexlogic.ai/v1",
        "kind": "EdgeAIDeployment",
        "metadata": {"name": "d", "namespace": "n", "generation": 3},
        "spec": {"modelRef": {"name": "digits", "version": "2.0.0"}},
    }
    if devices is not None:
        item["status"] = status_of(item, devices, "2026-11-22T10:00:00Z")
    (tmp_path / "item.yaml").write_text(yaml.safe_dump(item), "utf-8")
    # The program looks at its own name to know which of Argo CD's programs it is.
    (tmp_path / "argocd").symlink_to(lab_programs("argocd"))
    done = subprocess.run(
        [str(tmp_path / "argocd"), "admin", "settings", "resource-overrides", "health", str(tmp_path / "item.yaml"),
         "--argocd-cm-path", str(ROOT / "plugins/argocd/health.yaml")],
        capture_output=True, text=True, check=False, timeout=60, env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"STATUS: {health}" in done.stdout
    assert said in done.stdout
