"""A Kubernetes without nodes: etcd, the API server and the controllers, with RBAC, on loopback."""

from __future__ import annotations

import itertools
import secrets
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.lab.processes import LabProcess, Processes, free_port, listening, system_program, wait_for
from tests.lab.programs import lab_program

if TYPE_CHECKING:
    from kubernetes.client import ApiClient
    from kubernetes.dynamic import DynamicClient


@dataclass(slots=True)
class Cluster:
    """A running API server, and how to reach it as its administrator."""

    url: str
    token: str
    authority: Path
    kubeconfig: Path
    _client: ApiClient | None = None
    _dynamic: DynamicClient | None = None
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def config(self, namespace: str = "default", token: str | None = None) -> dict[str, Any]:
        """A kubeconfig with another namespace, or of another person."""
        cluster = {"server": self.url, "certificate-authority": str(self.authority)}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": cluster}],
            "users": [{"name": "lab", "user": {"token": token or self.token}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab", "namespace": namespace}}],
            "current-context": "lab",
        }

    def write_config(self, path: Path, namespace: str = "default", token: str | None = None) -> Path:
        """The same as a file that only its owner reads."""
        path.touch(0o600)
        path.write_text(yaml.safe_dump(self.config(namespace, token)), "utf-8")
        return path

    def api(self) -> ApiClient:
        """A client with all rights; one for the session."""
        if self._client is None:
            from kubernetes import client, config

            settings = client.Configuration()
            # One loader for tests and for what is tested.
            config.load_kube_config(str(self.kubeconfig), client_configuration=settings)  # type: ignore[no-untyped-call] # the client has no types here
            self._client = client.ApiClient(settings)
        return self._client

    def dynamic(self) -> DynamicClient:
        """A client for every kind, custom ones included."""
        if self._dynamic is None:
            from kubernetes.dynamic import DynamicClient

            self._dynamic = DynamicClient(self.api(), cache_file=str(self.kubeconfig.with_name("discovery.json")))  # type: ignore[no-untyped-call] # the client has no types here
        return self._dynamic

    def resource(self, api_version: str, kind: str) -> Any:  # noqa: ANN401 - the client names no types for it
        """One kind, for get, create, patch and delete."""
        return self.dynamic().resources.get(api_version=api_version, kind=kind)

    def namespace(self, prefix: str) -> str:
        """A new namespace whose name starts so."""
        name = f"{prefix}-{next(self._numbers)}"
        self.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}])
        return name

    def apply(
        self, objects: Iterable[Mapping[str, Any]], field_manager: str = "lab", dry_run: bool = False
    ) -> list[dict[str, Any]]:
        """Server-side apply of each object, by force and with strict validation; returns what the server made of them.

        Raises kubernetes.dynamic.exceptions.DynamicApiError with the server's answer for the first that it refuses.
        """
        made = []
        for item in objects:
            answer = self.resource(item["apiVersion"], item["kind"]).server_side_apply(
                body=dict(item),
                name=item["metadata"]["name"],
                namespace=item["metadata"].get("namespace"),
                field_manager=field_manager,
                force_conflicts=True,
                query_params=[("fieldValidation", "Strict")],
                **({"dry_run": "All"} if dry_run else {}),
            )
            made.append(answer.to_dict())
        return made

    def install(self, definitions: Iterable[Mapping[str, Any]]) -> None:
        """Applies custom resource definitions, and waits until the server serves them."""
        names = [item["metadata"]["name"] for item in self.apply(definitions)]
        kind = self.resource("apiextensions.k8s.io/v1", "CustomResourceDefinition")

        def established(name: str) -> bool:
            conditions = kind.get(name=name).to_dict().get("status", {}).get("conditions") or []
            return any(entry["type"] == "Established" and entry["status"] == "True" for entry in conditions)

        for name in names:
            wait_for(partial(established, name), f"{name} is served")
        self.dynamic().resources.invalidate_cache()


def start_cluster(processes: Processes, directory: Path) -> Cluster:
    """etcd, kube-apiserver and kube-controller-manager; returns once the default namespace exists."""
    etcd_port, peer_port, port = free_port(), free_port(), free_port()
    etcd_url, peer_url = f"http://127.0.0.1:{etcd_port}", f"http://127.0.0.1:{peer_port}"
    etcd = processes.start(
        "etcd",
        [
            *(system_program("etcd"), "--name", "lab", "--data-dir", directory / "etcd", "--logger", "zap"),
            *("--listen-client-urls", etcd_url, "--advertise-client-urls", etcd_url),
            *("--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url),
            *("--initial-cluster", f"lab={peer_url}"),
        ],
    )
    processes.wait_until_ready(etcd, lambda: listening(etcd_port))

    keys, token = directory / "keys", secrets.token_urlsafe(24)
    keys.mkdir(mode=0o700)
    (keys / "tokens.csv").write_text(f'{token},admin,admin,"system:masters"\n', "utf-8")
    made_key = [
        "genpkey",
        "-quiet",
        "-algorithm",
        "RSA",
        "-pkeyopt",
        "rsa_keygen_bits:2048",
        "-out",
        str(keys / "accounts.key"),
    ]
    _openssl(*made_key)
    _openssl("pkey", "-in", str(keys / "accounts.key"), "-pubout", "-out", str(keys / "accounts.pub"))
    url = f"https://127.0.0.1:{port}"
    server = processes.start(
        "kube-apiserver",
        [
            *(lab_program("kube-apiserver"), f"--etcd-servers={etcd_url}", f"--secure-port={port}"),
            *("--bind-address=127.0.0.1", f"--cert-dir={keys}", f"--token-auth-file={keys / 'tokens.csv'}"),
            *("--service-account-issuer=https://lab", f"--service-account-key-file={keys / 'accounts.pub'}"),
            f"--service-account-signing-key-file={keys / 'accounts.key'}",
            *("--authorization-mode=RBAC", "--service-cluster-ip-range=10.0.0.0/24"),
            *("--disable-admission-plugins=ServiceAccount", "--watch-cache=true", "--profiling=false"),
        ],
    )
    authority = keys / "apiserver.crt"
    cluster = Cluster(url, token, authority, directory / "kubeconfig")
    processes.wait_until_ready(server, lambda: listening(port) and authority.exists())
    cluster.write_config(cluster.kubeconfig)
    processes.wait_until_ready(server, lambda: _ready(cluster))
    controllers = _start_controllers(processes, cluster, keys)
    processes.wait_until_ready(controllers, lambda: _has_default_account(cluster))
    return cluster


def _start_controllers(processes: Processes, cluster: Cluster, keys: Path) -> LabProcess:
    return processes.start(
        "kube-controller-manager",
        [
            *(lab_program("kube-controller-manager"), f"--kubeconfig={cluster.kubeconfig}", "--leader-elect=false"),
            *("--bind-address=127.0.0.1", f"--secure-port={free_port()}", f"--cert-dir={keys / 'controllers'}"),
            *(f"--service-account-private-key-file={keys / 'accounts.key'}", f"--root-ca-file={cluster.authority}"),
            *("--kube-api-qps=200", "--kube-api-burst=400", "--profiling=false"),
        ],
    )


def _ready(cluster: Cluster) -> bool:
    import urllib3

    headers = {"Authorization": f"Bearer {cluster.token}"}
    with urllib3.PoolManager(ca_certs=str(cluster.authority), retries=False) as pool:
        try:
            return pool.request("GET", f"{cluster.url}/readyz", headers=headers, timeout=2).status == 200
        except urllib3.exceptions.HTTPError:
            return False


def _has_default_account(cluster: Cluster) -> bool:
    """The controllers make it in every namespace: that it is there says that they work."""
    from kubernetes.client import ApiException, CoreV1Api

    try:
        CoreV1Api(cluster.api()).read_namespaced_service_account("default", "default")
    except ApiException as error:
        if error.status != 404:
            raise
        return False
    return True


def _openssl(*arguments: str) -> None:
    subprocess.run([system_program("openssl"), *arguments], check=True, capture_output=True, timeout=60)
