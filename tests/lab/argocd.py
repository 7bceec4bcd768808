"""Argo CD without its web server: repo-server, application-controller, applicationset-controller and their Redis."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lab.cluster import Cluster
from tests.lab.processes import LabProcess, Processes, free_port, listening, system_program, wait_for
from tests.lab.programs import definitions, lab_program

NAMESPACE = "argocd"
API = "argoproj.io/v1alpha1"
PART = {"app.kubernetes.io/part-of": "argocd"}

# What the documentation of Trimtab tells people to write into an Application.
SYNC_POLICY: dict[str, Any] = {
    "automated": {"prune": True, "selfHeal": True},
    "syncOptions": ["CreateNamespace=true"],
    "retry": {"limit": 5, "backoff": {"duration": "5s", "maxDuration": "3m0s", "factor": 2}},
}


@dataclass(frozen=True, slots=True)
class ArgoOptions:
    """What a site sets; the defaults are those of Trimtab's chart, with a timeout for calls of two minutes."""

    chunk_bytes: int = 65536
    tar_exclusions: str = ".git"
    resync_seconds: int = 120
    timeout_seconds: int = 180


@dataclass(slots=True)
class ArgoCD:
    """A running Argo CD."""

    cluster: Cluster
    options: ArgoOptions
    sockets: Path
    directory: Path
    processes: Processes
    running: dict[str, LabProcess] = field(default_factory=dict)
    _ports: dict[str, int] = field(default_factory=dict)

    namespace = NAMESPACE

    @property
    def applications(self) -> Any:  # noqa: ANN401 - the client names no types for it
        """The kind Application, for get, create, patch and delete."""
        return self.cluster.resource(API, "Application")

    def application(
        self,
        name: str,
        repository: str,
        *,
        plugin: str | None = None,
        parameters: Mapping[str, str] | None = None,
        path: str = ".",
        namespace: str = "default",
        revision: str = "main",
        policy: Mapping[str, Any] | None = None,
    ) -> None:
        """Creates an Application, or changes it; with a plugin it is rendered by the one whose socket is so named."""
        source: dict[str, Any] = {"repoURL": repository, "path": path, "targetRevision": revision}
        if plugin is not None:
            given = [{"name": key, "string": value} for key, value in (parameters or {}).items()]
            source["plugin"] = {"name": plugin, "parameters": given}
        spec = {
            "project": "default",
            "source": source,
            "destination": {"server": self.cluster.url, "namespace": namespace},
            "syncPolicy": dict(policy if policy is not None else SYNC_POLICY),
        }
        self.cluster.apply(
            [
                {
                    "apiVersion": API,
                    "kind": "Application",
                    "metadata": {"name": name, "namespace": NAMESPACE},
                    "spec": spec,
                }
            ]
        )

    def state(self, name: str) -> dict[str, Any]:
        """An Application as it is now."""
        found: dict[str, Any] = self.applications.get(name=name, namespace=NAMESPACE).to_dict()
        return found

    def states(self, selector: str = "") -> dict[str, dict[str, Any]]:
        """All Applications with these labels, by name."""
        listed = self.applications.get(namespace=NAMESPACE, label_selector=selector).to_dict()
        return {item["metadata"]["name"]: item for item in listed["items"]}

    def refresh(self, names: Iterable[str], hard: bool = False) -> None:
        """What a webhook of the Git host makes Argo CD do: look at the repository now."""
        how = "hard" if hard else "normal"
        for name in names:
            self.applications.patch(
                name=name,
                namespace=NAMESPACE,
                body={"metadata": {"annotations": {"argocd.argoproj.io/refresh": how}}},
                content_type="application/merge-patch+json",
            )

    def wait(
        self, names: Sequence[str], accepted: Callable[[dict[str, Any]], bool], what: str, seconds: float = 120
    ) -> dict[str, dict[str, Any]]:
        """Waits until every one of these Applications is accepted; returns them."""
        latest: dict[str, dict[str, Any]] = {}

        def accept() -> bool:
            latest.clear()
            latest.update(self.states())
            return all(name in latest and accepted(latest[name]) for name in names)

        def told() -> str:
            wrong = [name for name in names if name not in latest or not accepted(latest[name])]
            return "\n".join(
                [f"{len(wrong)} of {len(names)}: {wrong}", *(summary(latest.get(name)) for name in wrong[:5])]
            )

        wait_for(accept, what, seconds, step=0.5, told=told)
        return latest

    def delete(self, names: Iterable[str]) -> None:
        """Takes Applications away, leaving their objects."""
        for name in names:
            self.applications.patch(
                name=name,
                namespace=NAMESPACE,
                body={"metadata": {"finalizers": None}},
                content_type="application/merge-patch+json",
            )
            self.applications.delete(name=name, namespace=NAMESPACE)

    def cmp_server(self, name: str, configuration: Path, environment: Mapping[str, str] | None = None) -> LabProcess:
        """The stock argocd-cmp-server for a folder with a plugin.yaml: exec mode. Returns once its socket is there."""
        before = set(self.sockets.iterdir())
        workdir = self.directory / f"cmp-{name}"
        workdir.mkdir(exist_ok=True)
        process = self._start(
            "cmp-server",
            ["--config-dir-path", str(configuration), "--loglevel", "warn"],
            log=f"argocd-cmp-server-{name}",
            more={"ARGOCD_CMP_WORKDIR": str(workdir), **(environment or {})},
        )
        self.processes.wait_until_ready(process, lambda: set(self.sockets.iterdir()) > before)
        return process

    def start(self) -> None:
        """Starts all four programs; returns once each listens."""
        for name in ("redis", "repo", "repo-metrics", "controller", "sets", "sets-probe", "sets-hook"):
            self._ports[name] = free_port()
        redis = f"127.0.0.1:{self._ports['redis']}"
        self.running["redis"] = self.processes.start(
            "redis",
            [
                *(system_program("redis-server"), "--port", str(self._ports["redis"]), "--bind", "127.0.0.1"),
                *("--save", "", "--appendonly", "no", "--dir", self.directory),
            ],
        )
        self._ready("redis", "redis")
        self.running["repo-server"] = self._start(
            "repo-server",
            [
                *("--redis", redis, "--address", "127.0.0.1", "--port", str(self._ports["repo"]), "--disable-tls"),
                *("--metrics-address", "127.0.0.1", "--metrics-port", str(self._ports["repo-metrics"])),
            ],
        )
        self._ready("repo-server", "repo")
        repository = ["--repo-server-plaintext", "--repo-server-timeout-seconds", str(self.options.timeout_seconds)]
        self.running["application-controller"] = self._start(
            "application-controller",
            [
                *("--redis", redis, "--repo-server", f"127.0.0.1:{self._ports['repo']}", *repository),
                *("--metrics-port", str(self._ports["controller"]), "--app-resync-jitter", "0"),
                *("--app-resync", str(self.options.resync_seconds)),
            ],
        )
        self.running["applicationset-controller"] = self._start(
            "applicationset-controller",
            [
                *("--argocd-repo-server", f"127.0.0.1:{self._ports['repo']}", *repository),
                *("--metrics-addr", f"127.0.0.1:{self._ports['sets']}"),
                *("--probe-addr", f"127.0.0.1:{self._ports['sets-probe']}"),
                *("--webhook-addr", f"127.0.0.1:{self._ports['sets-hook']}"),
            ],
        )
        self._ready("application-controller", "controller")
        self._ready("applicationset-controller", "sets-probe")

    def stop(self) -> None:
        """Ends them, newest first."""
        for process in reversed(self.running.values()):
            process.stop()
        self.running.clear()

    def _ready(self, name: str, port: str) -> None:
        self.processes.wait_until_ready(self.running[name], lambda: listening(self._ports[port]))

    def _start(
        self, role: str, arguments: Sequence[str], log: str | None = None, more: Mapping[str, str] | None = None
    ) -> LabProcess:
        temporary = self.directory / "tmp" / role
        temporary.mkdir(parents=True, exist_ok=True)
        environment = {
            "ARGOCD_BINARY_NAME": f"argocd-{role}",
            "KUBECONFIG": str(self.directory / "kubeconfig"),
            "TMPDIR": str(temporary),
            "ARGOCD_GPG_ENABLED": "false",
            "ARGOCD_TLS_DATA_PATH": str(self.directory / "tls"),
            "ARGOCD_SSH_DATA_PATH": str(self.directory / "ssh"),
            "ARGOCD_ASK_PASS_SOCK": str(self.directory / "ask-pass.sock"),
            "ARGOCD_PLUGINSOCKFILEPATH": str(self.sockets),
            "ARGOCD_CMP_CHUNK_SIZE": str(self.options.chunk_bytes),
            "ARGOCD_REPO_SERVER_PLUGIN_TAR_EXCLUSIONS": self.options.tar_exclusions,
            # Argo CD's own pace for API servers (50 a second) is meant for those that it shares with others.
            "ARGOCD_K8S_CLIENT_QPS": "400",
            "ARGOCD_K8S_CLIENT_BURST": "800",
            "ARGOCD_CONTROLLER_REPLICAS": "1",
            "ARGOCD_CONTROLLER_SHARD": "0",
        }
        # cmp-server finds its configuration by a switch; all others are told their namespace by the kubeconfig.
        return self.processes.start(
            log or f"argocd-{role}", [lab_program("argocd"), *arguments], environment=environment | dict(more or {})
        )


def install_argocd(cluster: Cluster) -> None:
    """Definitions, namespace and settings that every start of Argo CD finds."""
    cluster.install(definitions("argocd"))
    cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}])
    access = '{"bearerToken": "%s", "tlsClientConfig": {"insecure": false, "caData": "%s"}}'
    authority = b64(cluster.authority.read_bytes())
    cluster.apply(
        [
            object_of_argocd(
                "ConfigMap", "argocd-cm", data={"timeout.reconciliation": "120s", "timeout.reconciliation.jitter": "0s"}
            ),
            object_of_argocd("ConfigMap", "argocd-rbac-cm", data={}),
            object_of_argocd("Secret", "argocd-secret", stringData={"server.secretkey": secrets.token_urlsafe(24)}),
            object_of_argocd(
                "Secret",
                "lab-cluster",
                {"argocd.argoproj.io/secret-type": "cluster"},
                stringData={"name": "lab", "server": cluster.url, "config": access % (cluster.token, authority)},
            ),
            {
                "apiVersion": API,
                "kind": "AppProject",
                "metadata": {"name": "default", "namespace": NAMESPACE},
                "spec": {
                    "sourceRepos": ["*"],
                    "destinations": [{"server": "*", "namespace": "*"}],
                    "clusterResourceWhitelist": [{"group": "*", "kind": "*"}],
                },
            },
        ]
    )


def start_argocd(processes: Processes, cluster: Cluster, directory: Path, options: ArgoOptions) -> ArgoCD:
    """A running Argo CD in an installed namespace; its folder and the folder of sockets are made."""
    sockets = directory / "plugins"
    assert len(bytes(sockets)) < 80, "paths of sockets may have 107 bytes; set TMPDIR to a shorter path"
    for folder in (sockets, directory / "tls", directory / "ssh"):
        folder.mkdir(parents=True, exist_ok=True)
    cluster.write_config(directory / "kubeconfig", NAMESPACE)
    made = ArgoCD(cluster, options, sockets, directory, processes)
    made.start()
    return made


def is_synced(item: dict[str, Any]) -> bool:
    """Whether an Application's objects are what its source says."""
    return bool(item.get("status", {}).get("sync", {}).get("status") == "Synced")


def is_healthy(item: dict[str, Any]) -> bool:
    """Whether an Application is Synced and its objects are Healthy."""
    return is_synced(item) and item["status"].get("health", {}).get("status") == "Healthy"


def conditions(item: dict[str, Any]) -> str:
    """The messages of an Application's conditions, one a line."""
    return "\n".join(f"{entry['type']}: {entry['message']}" for entry in item.get("status", {}).get("conditions") or [])


def summary(item: dict[str, Any] | None) -> str:
    """What to read about an Application that is not as it should be."""
    if item is None:
        return "there is no such Application"
    status = item.get("status", {})
    operation = status.get("operationState", {})
    return (
        f"{item['metadata']['name']}: sync {status.get('sync', {}).get('status')} at {status.get('sync', {}).get('revision')}, "
        f"health {status.get('health')}, operation {operation.get('phase')}: {operation.get('message')}\n{conditions(item)}"
    )


def b64(content: bytes) -> str:
    """Base64 as Secrets have it."""
    import base64

    return base64.b64encode(content).decode()


def object_of_argocd(kind: str, name: str, labels: Mapping[str, str] | None = None, **fields: Any) -> dict[str, Any]:  # noqa: ANN401 - fields of any object
    """An object of Argo CD's namespace that it takes for its own."""
    metadata = {"name": name, "namespace": NAMESPACE, "labels": PART | dict(labels or {})}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **fields}
