"""What the tests of the Flux controller are made of: objects as an API server gives them, a source server, a small fleet."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from bench.fleets import fleet_files
from trimtab_kernel.problems import OutsideError
from trimtab_plugins.archives import write_archive
from trimtab_plugins.flux.kinds import FleetArtifact, SourceKind, read_fleet_artifact

NAMESPACE = "flux-system"


def fleet_item(name: str = "fleet", **spec: object) -> dict[str, Any]:
    """A FleetArtifact as the API server gives it."""
    return {
        "apiVersion": "fleet.apexlogic.ai/v1alpha1",
        "kind": "FleetArtifact",
        "metadata": {
            "namespace": NAMESPACE,
            "name": name,
            "uid": f"uid-{name}",
            "generation": 1,
            "resourceVersion": "1",
        },
        "spec": {"sourceRef": {"kind": "GitRepository", "name": "fleet"}, **spec},
    }


def fleet_artifact(name: str = "fleet", **spec: object) -> FleetArtifact:
    return read_fleet_artifact(fleet_item(name, **spec))


def tree(groups: int = 4, **changes: bytes | None) -> dict[str, bytes]:
    """A fleet in the folder ``fleet``; ``changes`` by path below it, with "__" for "/" and None for what is removed."""
    named = {name.replace("__", "/") + ".yaml": content for name, content in changes.items()}
    # A deployment that chooses no group is a problem, and each chooses by its last digit.
    made = {
        name: content
        for name, content in fleet_files(groups, 5).items()
        if not name.startswith("deployments/") or int(name.removesuffix(".yaml")[-1]) < groups
    }
    files = {name: content for name, content in {**made, **named}.items() if content is not None}
    return {f"fleet/{name}": content for name, content in files.items()}


@dataclass
class MemoryCluster:
    """An API server's objects, with its rules for writes as far as the controller leans on them: view and writer at once.

    Server-side apply with one manager replaces what that manager set; a delete names version and uid.
    """

    fleets: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    sources: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    external: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: list[tuple[bool, str, str]] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)
    fail_after: int | None = None
    _version: int = 1
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def _count(self, what: str) -> str:
        with self._lock:
            if self.fail_after is not None and len(self.writes) >= self.fail_after:
                raise OutsideError("the API server is not there")
            self.writes.append(what)
            self._version += 1
            return str(self._version)

    def fleet(self, key: tuple[str, str]) -> dict[str, Any] | None:
        return self.fleets.get(key)

    def source(self, kind: SourceKind, key: tuple[str, str]) -> dict[str, Any] | None:
        found = self.sources.get(key)
        return found if found is not None and found["kind"] == kind.value else None

    def artifacts(self, namespace: str) -> dict[str, dict[str, Any]]:
        assert namespace == NAMESPACE
        return dict(self.external)

    def apply(self, body: Mapping[str, Any]) -> None:
        name = body["metadata"]["name"]
        version = self._count(f"apply {name}")
        before = self.external.get(name, {})
        metadata = {"uid": f"uid-{name}", **before.get("metadata", {}), **body["metadata"], "resourceVersion": version}
        self.external[name] = {**before, **body, "metadata": metadata}

    def apply_status(self, body: Mapping[str, Any]) -> None:
        name = body["metadata"]["name"]
        version = self._count(f"status {body['kind']} {name}")
        place: Any = self.external if body["kind"] == "ExternalArtifact" else self.fleets
        key: Any = name if body["kind"] == "ExternalArtifact" else (NAMESPACE, name)
        before = place[key]
        place[key] = {
            **before,
            "metadata": {**before["metadata"], "resourceVersion": version},
            "status": body["status"],
        }

    def delete_artifact(self, namespace: str, name: str, uid: str, resource_version: str) -> None:
        self._count(f"delete {name}")
        there = self.external[name]["metadata"]
        assert (namespace, there["uid"], there["resourceVersion"]) == (NAMESPACE, uid, resource_version)
        del self.external[name]

    def note(self, regarding: Mapping[str, Any], *, warning: bool, reason: str, text: str) -> None:
        assert regarding["kind"] == "FleetArtifact"
        self.events.append((warning, reason, text))

    def ready(self, name: str = "fleet") -> dict[str, Any]:
        [found] = self.fleets[(NAMESPACE, name)]["status"]["conditions"]
        assert isinstance(found, dict)
        return found

    def revisions(self) -> dict[str, str]:
        return {name: item["status"]["artifact"]["revision"] for name, item in self.external.items()}


@dataclass
class SourceServer:
    """A server of archives as source-controller is one. ``answers`` are given first, one a request: status and body."""

    url: str = ""
    archives: dict[str, bytes] = field(default_factory=dict)
    answers: list[tuple[int, bytes]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def artifact(self, files: Mapping[str, bytes], revision: str, **metadata: str) -> dict[str, Any]:
        """Serves an archive of these files; gives the ``status.artifact`` of a source."""
        content = write_archive(files)
        hexdigest = hashlib.sha256(content).hexdigest()
        self.archives[f"/{hexdigest}.tar.gz"] = content
        artifact = {"url": f"{self.url}/{hexdigest}.tar.gz", "digest": f"sha256:{hexdigest}", "revision": revision}
        return {**artifact, **({"metadata": metadata} if metadata else {})}


@contextmanager
def source_server() -> Iterator[SourceServer]:
    made = SourceServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.requests.append(self.path)
            content = made.archives.get(self.path)
            status, body = made.answers.pop(0) if made.answers else ((404, b"") if content is None else (200, content))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """A line for each request would bury what matters."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)
