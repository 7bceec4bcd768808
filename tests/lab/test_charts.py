"""The charts by the real helm, and what they make by a real API server."""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab.cluster import Cluster
from trimtab_bot.configuration import read_configuration
from trimtab_config.cli import commands
from trimtab_config.compilation import FleetCompiler
from trimtab_config.sources.folder import load_folder
from trimtab_config.spec.plain import plain_document
from trimtab_config.spec.reader import read_documents
from trimtab_kernel.commandline import Parser, add_command

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]
HELM = ROOT / "helm"
KUBE_VERSION = "1.34.2"
BOT: dict[str, Any] = {
    "repository": "/var/lib/trimtab-bot/fleet.git",
    "state": "/var/lib/trimtab-bot/state",
    "metrics": {"prometheus": {"url": "http://prometheus.monitoring.svc:9090"}},
    "inbox": {"host": "0.0.0.0", "port": 8080},  # noqa: S104 - in its pod
    "people": [
        {"id": "ada", "name": "Ada", "git": ["Ada <ada@example.com>"], "tokenSha256": "0" * 64, "roles": ["approver"]}
    ],
}
GIT_SYNC = {"gitSync": {"repo": "https://git.example.com/fleet.git"}}
SERVICE = {"enabled": True, "tokenSecret": "fleet-token", "source": GIT_SYNC}

# Three sets for each chart: as it comes, everything on, and everything turned another way.
VALUES: dict[str, dict[str, dict[str, Any]]] = {
    "trimtab": {
        "defaults": {},
        "everything": {
            "argocd": {"enabled": True, "metricsNetworkPolicy": True},
            "fleetService": {**SERVICE, "path": "fleet", "applicationSetConfigMap": {"enabled": True}},
            "fluxController": {"enabled": True},
            "statusReporter": {"enabled": True},
            "admission": {"enabled": True, "tlsSecret": "admission-tls", "source": GIT_SYNC, "path": "fleet"},
            "bot": {
                "enabled": True,
                "config": {**BOT, "delivery": {"argocd": {"labels": "team=edge"}}},
                "environmentSecrets": ["git-host"],
            },
        },
        "otherwise": {
            "fullnameOverride": "tt",
            "image": {"digest": "sha256:" + "a" * 64},
            "imagePullSecrets": [{"name": "pull"}],
            "commonLabels": {"team": "edge"},
            "networkPolicy": {"enabled": False},
            "argocd": {"enabled": True, "mode": "exec", "chunkSize": 1048576, "tarExclusions": ".git;docs"},
            "fleetService": {
                "enabled": True,
                "replicas": 1,
                "tokenSecret": "fleet-token",
                "tlsSecret": "fleet-tls",
                "priceBook": "prices-2026-q4",
                "source": {
                    "gitSync": {"enabled": False},
                    "volume": {"persistentVolumeClaim": {"claimName": "fleet", "readOnly": True}},
                },
                "nodeSelector": {"disk": "ssd"},
                "tolerations": [{"operator": "Exists"}],
            },
            "admission": {
                "enabled": True,
                "replicas": 1,
                "tlsSecret": "admission-tls",
                "failurePolicy": "Ignore",
                "certManagerCertificate": "admission",
                "source": {
                    "gitSync": {"enabled": False},
                    "volume": {"persistentVolumeClaim": {"claimName": "fleet", "readOnly": True}},
                },
            },
            "fluxController": {"enabled": True, "replicas": 2, "watchNamespace": "trimtab-charts"},
            "statusReporter": {"enabled": True, "watchNamespace": "vision", "intervalSeconds": 5},
            "bot": {
                "enabled": True,
                "config": {**BOT, "delivery": {"flux": {"namespace": "*"}}},
                "persistence": {"existingClaim": "bot-state"},
            },
        },
    },
    "trimtab-edge": {
        "defaults": {},
        "everything": {
            "runtimeClass": {"create": True},
            "imagePullSecrets": [{"name": "pull"}],
            "nodePreparation": {"tolerations": [{"operator": "Exists"}], "nodeSelector": {"site": "one"}},
            "commonLabels": {"team": "edge"},
        },
        "otherwise": {
            "nodePreparation": {"enabled": False},
            "image": {"repository": "registry.example.com:5000/edge", "tag": "1.2.3"},
            "runtimeClass": {"create": True, "name": "gpu", "handler": "nvidia-experimental"},
        },
    },
}
SETS = [(chart, name) for chart, sets in VALUES.items() for name in sets]

Helm = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def helm(lab_programs: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """The real program, with folders of its own."""
    home = tmp_path_factory.mktemp("helm")

    def run(*arguments: str, values: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
        file = home / "values.json"
        file.write_text(json.dumps(values or {}), encoding="utf-8")
        return subprocess.run(
            [str(lab_programs("helm")), *arguments, "--kube-version", KUBE_VERSION, "--values", str(file)],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
        )

    return run


def template(helm: Helm, chart: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    done = helm("template", "fleet", str(HELM / chart), "--namespace", "trimtab-charts", values=values)
    assert done.returncode == 0, done.stderr
    return [item for item in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if item]


def pods(objects: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for item in objects:
        if item["kind"] in {"Deployment", "DaemonSet"}:
            yield item["metadata"]["name"], item["spec"]["template"]["spec"]


@pytest.mark.parametrize(("chart", "name"), SETS)
def test_the_chart_passes_lint_in_its_strict_form(helm: Helm, chart: str, name: str) -> None:
    done = helm("lint", "--strict", str(HELM / chart), values=VALUES[chart][name])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 chart(s) linted, 0 chart(s) failed" in done.stdout


@pytest.mark.parametrize(("chart", "name"), SETS)
def test_what_the_chart_makes_passes_server_side_apply(helm: Helm, cluster: Cluster, chart: str, name: str) -> None:
    """Strict, so no unknown field either; in the namespaces where it goes."""
    objects = template(helm, chart, VALUES[chart][name])
    namespaces = {item["metadata"]["namespace"] for item in objects if "namespace" in item["metadata"]}
    cluster.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": each}} for each in {*namespaces, "argocd"}
    )
    assert len(cluster.apply(objects, dry_run=True)) == len(objects)
    assert bool(objects) == ((chart, name) != ("trimtab", "defaults"))


def test_every_pod_of_the_main_chart_is_admitted_at_the_restricted_level(helm: Helm, cluster: Cluster) -> None:
    """The Pod Security admission of the API server judges, on the pods themselves."""
    from kubernetes.dynamic.exceptions import DynamicApiError

    namespace = cluster.namespace("restricted")
    level = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": level}}])
    seen = 0
    for name in ("everything", "otherwise"):
        for owner, spec in pods(template(helm, "trimtab", VALUES["trimtab"][name])):
            meta = {"name": owner, "namespace": namespace}
            cluster.apply([{"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}], dry_run=True)
            assert spec["enableServiceLinks"] is False
            seen += 1
    assert seen == 10
    # And the level does refuse: what prepares nodes needs the host, and says so.
    [(owner, spec)] = pods(template(helm, "trimtab-edge", {}))
    meta = {"name": owner, "namespace": namespace}
    with pytest.raises(DynamicApiError, match="hostPath"):
        cluster.apply([{"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}], dry_run=True)


def test_the_bot_may_list_what_it_asks_for_and_nothing_else(helm: Helm) -> None:
    def rights(**delivery: Any) -> list[tuple[str, str, set[tuple[str, ...]]]]:  # noqa: ANN401 - a section of bot.yaml
        objects = template(helm, "trimtab", {"bot": {"enabled": True, "config": {**BOT, **delivery}}})
        (pod,) = (spec for _, spec in pods(objects))
        found = [
            (
                item["kind"],
                item["metadata"].get("namespace", "*"),
                {(plural, *rule["verbs"]) for plural in rule["resources"]},
            )
            for item in objects
            if item["kind"] in {"Role", "ClusterRole"}
            for rule in item["rules"]
        ]
        bound = [item for item in objects if item["kind"].endswith("Binding")]
        assert [item["subjects"][0]["name"] for item in bound] == [pod["serviceAccountName"]] * bool(found)
        assert pod["automountServiceAccountToken"] is bool(found)
        return found

    kinds = ({"kustomizations"}, {"gitrepositories", "ocirepositories", "externalartifacts"}, {"fleetartifacts"})
    assert rights() == []
    assert rights(delivery={"argocd": {}, "kubeconfig": "far.kubeconfig"}) == []
    assert rights(delivery={"argocd": {}}) == [("Role", "argocd", {("applications", "list")})]
    assert rights(delivery={"flux": {"namespace": "edge"}}) == [
        ("Role", "edge", {(plural, "list") for plural in each}) for each in kinds
    ]
    assert [scope for scope, *_ in rights(delivery={"flux": {"namespace": "*"}})] == ["ClusterRole"] * 3


REPO_SERVER = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "argocd-repo-server"},
    "spec": {
        "selector": {"matchLabels": {"app.kubernetes.io/name": "argocd-repo-server"}},
        "template": {
            "metadata": {"labels": {"app.kubernetes.io/name": "argocd-repo-server"}},
            "spec": {
                "containers": [
                    {
                        "name": "argocd-repo-server",
                        "image": "quay.io/argoproj/argocd:v3.2.6",
                        "env": [{"name": "TZ", "value": "UTC"}],
                        "volumeMounts": [{"name": "plugins", "mountPath": "/home/argocd/cmp-server/plugins"}],
                    }
                ],
                "volumes": [{"name": "plugins", "emptyDir": {}}, {"name": "var-files", "emptyDir": {}}],
            },
        },
    },
}


@pytest.mark.parametrize(("name", "starts"), [("everything", "cmp-server"), ("otherwise", "argocd-cmp-server")])
def test_the_patch_puts_the_plugin_beside_repo_server_and_leaves_the_rest(
    helm: Helm, cluster: Cluster, name: str, starts: str
) -> None:
    values = VALUES["trimtab"][name]
    [patch] = [
        item["data"]["repo-server-patch.yaml"]
        for item in template(helm, "trimtab", values)
        if "repo-server-patch.yaml" in item.get("data", {})
    ]
    namespace = cluster.namespace("repo-server")
    cluster.apply([{**REPO_SERVER, "metadata": {"name": "argocd-repo-server", "namespace": namespace}}])
    patched = cluster.resource("apps/v1", "Deployment").patch(
        name="argocd-repo-server",
        namespace=namespace,
        body=yaml.safe_load(patch),
        content_type="application/strategic-merge-patch+json",
        query_params=[("fieldValidation", "Strict")],
    )
    spec = patched.to_dict()["spec"]["template"]["spec"]
    server, plugin = sorted(spec["containers"], key=lambda each: each["name"] != "argocd-repo-server")
    environment = {each["name"]: each["value"] for each in server["env"]}
    asked = values["argocd"]
    assert environment == {
        "TZ": "UTC",
        "ARGOCD_CMP_CHUNK_SIZE": str(asked.get("chunkSize", 65536)),
        "ARGOCD_REPO_SERVER_PLUGIN_TAR_EXCLUSIONS": asked.get("tarExclusions", ".git"),
    }
    assert plugin["name"] == "trimtab"
    assert [*plugin.get("command", []), *plugin.get("args", [])][0].endswith(starts)
    assert plugin["securityContext"]["runAsUser"] == 999
    mounts = {each["mountPath"]: each["name"] for each in plugin["volumeMounts"]}
    assert mounts["/home/argocd/cmp-server/plugins"] == "plugins"
    assert mounts["/tmp"] != "tmp"
    assert {each["name"] for each in spec["volumes"]} >= {*mounts.values(), "var-files"}


@pytest.mark.usefixtures("trimtab_kinds")
def test_every_object_of_the_example_fleet_is_one_of_the_cluster(cluster: Cluster) -> None:
    """As the reader reads them: what it accepts, the cluster's schemas accept."""
    objects = [plain_document(each) for each in read_documents(load_folder(ROOT / "examples/fleet")).documents]
    metadata: list[Any] = [item["metadata"] for item in objects]
    cluster.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        for name in sorted({each["namespace"] for each in metadata})
    )
    assert len(cluster.apply(objects, dry_run=True)) == len(objects) >= 20


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("trimtab", {"unknown": 1}, "unknown"),
    ("trimtab", {"fleetService": {"replica": 2}}, "replica"),
    ("trimtab", {"fleetService": {**SERVICE, "port": 70000}}, "port"),
    ("trimtab", {"fleetService": {**SERVICE, "replicas": 0}}, "replicas"),
    ("trimtab", {"fleetService": {**SERVICE, "path": "/fleet"}}, "path"),
    ("trimtab", {"fleetService": {**SERVICE, "tokenSecret": ""}}, "tokenSecret"),
    ("trimtab", {"fleetService": {**SERVICE, "clientNamespaces": []}}, "clientNamespaces"),
    ("trimtab", {"fleetService": {"enabled": True, "tokenSecret": "a"}}, "gitSync.repo"),
    ("trimtab", {"fleetService": {**SERVICE, "source": {"gitSync": {"enabled": False}}}}, "volume"),
    (
        "trimtab",
        {"fleetService": {**SERVICE, "source": {"gitSync": {"repo": "x", "sshSecret": "a", "passwordSecret": "b"}}}},
        "gitSync",
    ),
    ("trimtab", {"argocd": {"enabled": True, "mode": "both"}}, "mode"),
    ("trimtab", {"argocd": {"enabled": True, "chunkSize": 100}}, "chunkSize"),
    ("trimtab", {"fluxController": {"enabled": True, "maxSourceMiB": 5000}}, "maxSourceMiB"),
    ("trimtab", {"fluxController": {"enabled": True, "resources": {"limits": {"memory": "lots"}}}}, "memory"),
    ("trimtab", {"bot": {"enabled": True}}, "repository"),
    ("trimtab", {"bot": {"enabled": True, "config": {**BOT, "metrics": None}}}, "metrics"),
    ("trimtab", {"bot": {"enabled": True, "config": {**BOT, "people": [{"id": "a", "token": "x"}]}}}, "people"),
    ("trimtab", {"bot": {"enabled": True, "port": 9000, "config": BOT}}, "bot.port"),
    ("trimtab", {"bot": {"enabled": True, "config": {**BOT, "inbox": {"host": "127.0.0.1", "port": 8080}}}}, "0.0.0.0"),  # noqa: S104 - what must be refused
    ("trimtab", {"image": {"digest": "sha256:abc"}}, "digest"),
    ("trimtab", {"image": {"repository": "a:b"}}, "repository"),
    ("trimtab-edge", {"nodePreparation": {"enable": True}}, "enable"),
    ("trimtab-edge", {"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
    ("trimtab-edge", {"runtimeClass": {"create": True, "handler": "a b"}}, "handler"),
]


@pytest.mark.parametrize(("chart", "values", "named"), REFUSED, ids=lambda each: each if isinstance(each, str) else "")
def test_values_that_cannot_work_are_refused_by_name(
    helm: Helm, chart: str, values: dict[str, Any], named: str
) -> None:
    done = helm("template", "fleet", str(HELM / chart), values=values)
    assert done.returncode != 0
    assert named in done.stderr


def parsed(arguments: list[str]) -> argparse.Namespace:
    """By the parser of the command itself; a wrong argument ends the test."""
    [entry] = [each for each in commands() if each.name == arguments[0]]
    parser = Parser(prog="trimtab", allow_abbrev=False)
    add_command(parser.add_subparsers(required=True, parser_class=Parser), entry.load())
    return parser.parse_args(arguments)


@pytest.mark.parametrize("name", ["everything", "otherwise"])
def test_every_argument_is_one_that_the_command_takes(helm: Helm, name: str) -> None:
    objects = template(helm, "trimtab", VALUES["trimtab"][name])
    [patch] = [yaml.safe_load(text) for item in objects if (text := item.get("data", {}).get("repo-server-patch.yaml"))]
    told = [spec for _, spec in pods(objects)] + [patch["spec"]["template"]["spec"]]
    seen = set()
    for container in (each for spec in told for each in spec["containers"]):
        if container["name"] not in {"git-sync", "argocd-repo-server"} and "args" in container:
            found = parsed(container["args"])
            seen.add(container["args"][0])
            if container["args"][0] == "fleet-service":
                ports = {each["name"]: each["containerPort"] for each in container["ports"]}
                assert (found.host, found.port) == ("0.0.0.0", ports["http"])  # noqa: S104 - in its pod
                mounted = [each["mountPath"] for each in container["volumeMounts"]]
                for path in (found.token_file, found.folder, found.tls_cert):
                    assert path is None or any(str(path).startswith(place) for place in mounted)
    assert seen >= {"fleet-service", "flux-controller", "status-reporter", "bot"}
    assert ("cmp-server" in seen) == (name == "everything")


def rules(objects: list[dict[str, Any]], release: str) -> set[tuple[str, ...]]:
    """Every single right that the roles of one part of a release give, by kind of role; its name apart."""
    found = set()
    for item in objects:
        if item["kind"] in {"Role", "ClusterRole"} and item["metadata"]["name"].startswith(release):
            for rule in item["rules"]:
                named = ["NAME" if name == release else name for name in rule.get("resourceNames", ["*"])]
                for group in rule["apiGroups"]:
                    for resource in rule["resources"]:
                        found |= {(item["kind"], group, resource, verb, *named) for verb in rule["verbs"]}
    return found


def test_the_flux_controller_gets_the_rights_that_it_was_seen_to_need_and_no_more(helm: Helm) -> None:
    """docs/flux.md holds the rules; the lab runs the controller under exactly these."""
    text = (ROOT / "docs/flux.md").read_text("utf-8").partition("### What it may do")[2]
    documented = list(yaml.safe_load_all(text.partition("```yaml\n")[2].partition("```")[0]))
    wanted = rules(documented, "trimtab-flux-controller")
    got = rules(template(helm, "trimtab", VALUES["trimtab"]["everything"]), "fleet-trimtab-flux-controller")
    assert len(wanted) >= 15
    assert got == wanted
    # Where one namespace is watched, nothing reaches beyond it.
    narrow = rules(template(helm, "trimtab", VALUES["trimtab"]["otherwise"]), "tt-flux-controller")
    assert {right[1:] for right in narrow} == {right[1:] for right in wanted}
    assert {right[0] for right in narrow} == {"Role"}


@pytest.mark.parametrize(("values", "release"), [("everything", "fleet-trimtab"), ("otherwise", "tt")])
def test_the_status_reporter_reads_two_kinds_and_writes_one_status(helm: Helm, values: str, release: str) -> None:
    got = rules(template(helm, "trimtab", VALUES["trimtab"][values]), f"{release}-status-reporter")
    assert {right[1:] for right in got} == {
        ("apexlogic.ai", "edgeaideployments", "list", "*"),
        ("apexlogic.ai", "edgeaideployments/status", "patch", "*"),
        ("", "pods", "list", "*"),
    }
    assert {right[0] for right in got} == {"ClusterRole" if values == "everything" else "Role"}


def test_the_bot_reads_the_configuration_that_the_chart_writes(helm: Helm) -> None:
    objects = template(helm, "trimtab", VALUES["trimtab"]["everything"])
    [text] = [item["data"]["bot.yaml"] for item in objects if "bot.yaml" in item.get("data", {})]
    found = read_configuration(text.encode(), Path("/etc/trimtab"))
    assert (found.state, found.inbox_port) == (Path(BOT["state"]), 8080)


def test_a_prepared_node_has_what_rendered_pods_mount(helm: Helm) -> None:
    """Each directory of the host that a pod of a group mounts is made, for the user that the pod runs as."""
    [(_, spec)] = pods(template(helm, "trimtab-edge", {}))
    [prepare] = spec["initContainers"]
    [volume] = [each["hostPath"]["path"] for each in spec["volumes"]]
    made = {each.replace("/host", volume, 1) for each in prepare["args"]}
    owner = prepare["command"][prepare["command"].index("-o") + 1]
    rendered = FleetCompiler().open(load_folder(ROOT / "examples/fleet")).render_all()
    mounted = 0
    for _, pod in pods([dict(item) for group in rendered.values() for item in group.objects]):
        paths = [each["hostPath"]["path"] for each in pod["volumes"] if "hostPath" in each]
        assert paths
        assert set(paths) <= made
        assert str(pod["securityContext"]["runAsUser"]) == owner
        arguments = [text for each in pod["containers"] for text in each["args"]]
        named = {text for text in arguments if text.startswith(f"{volume}/")}
        assert {text for text in named if text.count("/") == 4} <= made
        mounted += 1
    assert mounted > 5


@pytest.mark.parametrize("chart", VALUES)
def test_every_value_has_a_schema_and_every_schema_a_value(chart: str) -> None:
    """Free objects (labels, tolerations, bot.yaml) apart."""
    values = yaml.safe_load((HELM / chart / "values.yaml").read_text("utf-8"))
    schema = json.loads((HELM / chart / "values.schema.json").read_text("utf-8"))

    def compare(place: str, value: Any, below: dict[str, Any]) -> None:  # noqa: ANN401 - any YAML value
        if not isinstance(value, dict) or "properties" not in below or below.get("additionalProperties") is not False:
            return
        known = below["properties"].keys() - {"global", "requests", "limits"}
        assert known == value.keys() - {"requests", "limits"}, place
        for name in known:
            compare(f"{place}.{name}", value[name], below["properties"][name])

    compare(chart, values, schema)
