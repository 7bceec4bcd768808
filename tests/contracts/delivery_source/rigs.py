"""Where Applications and Kustomizations are put for the adapters to read: a small API server of our own, and a real one."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.rigs.http_server import BoundedServer

if TYPE_CHECKING:
    from tests.lab.cluster import Cluster

ARGO, KUSTOMIZE, SOURCE, FLEET = (
    "argoproj.io/v1alpha1",
    "kustomize.toolkit.fluxcd.io/v1",
    "source.toolkit.fluxcd.io/v1",
    "fleet.apexlogic.ai/v1alpha1",
)
PLURALS = {
    "Application": "applications",
    "Kustomization": "kustomizations",
    "GitRepository": "gitrepositories",
    "OCIRepository": "ocirepositories",
    "ExternalArtifact": "externalartifacts",
    "FleetArtifact": "fleetartifacts",
}


class Stage(Protocol):
    """An API server with a namespace for one test."""

    namespace: str
    kubeconfig: Path

    def put(self, item: Mapping[str, Any]) -> None:
        """Make an object, or change it, status included."""

    def remove(self, item: Mapping[str, Any]) -> None:
        """Delete an object."""


@dataclass
class ApiRig:
    """Lists objects as the API server does: by namespace and labels, page by page. ``faults`` are answered first, each once."""

    namespace: str = "fleet"
    kubeconfig: Path = Path()
    objects: dict[tuple[str, str, str, str], dict[str, Any]] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    faults: list[tuple[str, int, bytes]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def put(self, item: Mapping[str, Any]) -> None:
        """See Stage."""
        self.objects[self._key(item)] = json.loads(json.dumps(item))

    def remove(self, item: Mapping[str, Any]) -> None:
        """See Stage."""
        del self.objects[self._key(item)]

    @staticmethod
    def _key(item: Mapping[str, Any]) -> tuple[str, str, str, str]:
        metadata = item["metadata"]
        return item["apiVersion"], PLURALS[item["kind"]], metadata["namespace"], metadata["name"]

    def answer(self, method: str, target: str) -> tuple[int, bytes]:
        """One request."""
        self.asked.append(f"{method} {target}")
        url = urlsplit(target)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        for fault in self.faults:
            if fault[0] in target:
                self.faults.remove(fault)
                return fault[1], fault[2]
        parts = url.path.split("/")[2:]
        version, rest = "/".join(parts[:2]), parts[2:]
        namespace = rest[1] if rest[0] == "namespaces" else ""
        plural = rest[-1]
        if plural in self.absent:
            return (
                404,
                b'{"kind": "Status", "code": 404, "message": "the server could not find the requested resource"}',
            )
        wanted = dict(pair.split("=") for pair in query.get("labelSelector", "").split(",") if pair)
        found = [
            item
            for (kind, name, place, _), item in sorted(self.objects.items())
            if (kind, name) == (version, plural)
            and namespace in ("", place)
            and wanted.items() <= (item["metadata"].get("labels") or {}).items()
        ]
        start, limit = int(query.get("continue") or 0), int(query.get("limit") or len(found) or 1)
        page = found[start : start + limit]
        more = {"continue": str(start + limit)} if start + limit < len(found) else {}
        body = {"apiVersion": version, "kind": "List", "metadata": {"resourceVersion": "7", **more}, "items": page}
        return 200, json.dumps(body).encode()


@contextlib.contextmanager
def api_rig(folder: Path) -> Iterator[ApiRig]:
    """A running one, and the kubeconfig that leads to it."""
    rig = ApiRig(kubeconfig=folder / "kubeconfig")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, body = rig.answer(self.command, self.path)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """A line for each request would bury what matters."""

    with BoundedServer(Handler, "api-rig").running() as address:
        write_kubeconfig(rig.kubeconfig, f"http://{address}")
        yield rig


def write_kubeconfig(path: Path, url: str, token: str = base64.b64encode(b"rig").decode()) -> None:
    """A kubeconfig with one cluster, that only its owner reads."""
    path.touch(0o600)
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "rig", "cluster": {"server": url}}],
        "users": [{"name": "rig", "user": {"token": token}}],
        "contexts": [{"name": "rig", "context": {"cluster": "rig", "user": "rig"}}],
        "current-context": "rig",
    }
    path.write_text(yaml.safe_dump(content), "utf-8")


class LabStage:
    """A real API server with the definitions of Argo CD, Flux and Trimtab, on which no controller of theirs runs."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.kubeconfig = cluster.kubeconfig
        self.namespace = cluster.namespace("delivery")

    def put(self, item: Mapping[str, Any]) -> None:
        """See Stage. What Flux and Trimtab define has a status of its own, which an apply of the object leaves alone."""
        bare = {key: value for key, value in item.items() if key != "status"}
        self.cluster.apply([item if item["kind"] == "Application" else bare])
        if "status" in item and item["kind"] != "Application":
            kind = self.cluster.resource(item["apiVersion"], item["kind"])
            kind.status.patch(
                name=item["metadata"]["name"],
                namespace=item["metadata"]["namespace"],
                body={"status": item["status"]},
                content_type="application/merge-patch+json",
            )

    def remove(self, item: Mapping[str, Any]) -> None:
        """See Stage."""
        metadata = item["metadata"]
        kind = self.cluster.resource(item["apiVersion"], item["kind"])
        kind.delete(name=metadata["name"], namespace=metadata["namespace"])
