"""The API server, through the kubernetes client: lists, watches and server-side applies. Translation only.

Everything goes through the client's custom objects, Leases and Events too: they are plain objects here, and their times are
written as Kubernetes reads them.
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeAlias

import kubernetes
import urllib3

from trimtab_kernel.problems import OutsideError, printable
from trimtab_plugins.api_server import TIMEOUT, AbsentKindError, GoneError, client_of, outside
from trimtab_plugins.flux.kinds import API_GROUP, API_VERSION, KIND, PLURAL, SOURCE_GROUP, SOURCE_VERSION, SourceKind
from trimtab_plugins.flux.planning import FIELD_MANAGER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

Object: TypeAlias = "Mapping[str, Any]"
Key: TypeAlias = tuple[str, str]
log = logging.getLogger("trimtab.flux")

_WATCH_SECONDS = 300
_WATCH_SILENCE = 120.0  # bookmarks come about once a minute; a link that is silent for longer is dead
_SHORTEST_WATCH = 1.0
_LONGEST_PAUSE = 30.0


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind, as the API server's paths name it."""

    group: str
    version: str
    plural: str
    kind: str


FLEETS = Resource(API_GROUP, API_VERSION, PLURAL, KIND)
ARTIFACTS = Resource(SOURCE_GROUP, SOURCE_VERSION, "externalartifacts", "ExternalArtifact")
SOURCES = {kind: Resource(SOURCE_GROUP, SOURCE_VERSION, kind.plural, kind.value) for kind in SourceKind}
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
EVENTS = Resource("events.k8s.io", "v1", "events", "Event")
_OF_KIND = {resource.kind: resource for resource in (FLEETS, ARTIFACTS)}


@dataclass(frozen=True, slots=True)
class Change:
    """One event of a watch. ``kind`` is ADDED, MODIFIED, DELETED or BOOKMARK."""

    kind: str
    item: Object


class Cluster:
    """One API server. Methods raise OutsideError where it does not answer as it should; safe to use from several threads."""

    def __init__(self, client: kubernetes.client.ApiClient, page: int = 500) -> None:
        """``page``: how many objects one answer to a list may have."""
        self._page = page
        self._api = kubernetes.client.CustomObjectsApi(client)

    @classmethod
    def connect(cls, kubeconfig: Path | None, page: int = 500) -> Cluster:
        """By a kubeconfig file where one is named or the environment names one, else as a pod, else by ~/.kube/config."""
        return cls(client_of(kubeconfig), page)

    def list(self, resource: Resource, namespace: str | None) -> tuple[list[dict[str, Any]], str]:
        """All objects, in pages, and the resource version from which a watch goes on."""
        items: list[dict[str, Any]] = []
        token: str | None = None
        while True:
            page = self._listed(resource, namespace, limit=self._page, **({"_continue": token} if token else {}))
            items += page.get("items") or ()
            metadata = page.get("metadata") or {}
            token = metadata.get("continue")
            if not token:
                return items, str(metadata.get("resourceVersion", ""))

    def _listed(self, resource: Resource, namespace: str | None, **arguments: Any) -> Any:  # noqa: ANN401 - JSON, or an open answer
        with outside(f"list {resource.plural}", kind_may_be_absent=True):
            arguments = {"_request_timeout": TIMEOUT, **arguments}
            if namespace is None:
                return self._api.list_cluster_custom_object(
                    resource.group, resource.version, resource.plural, **arguments
                )
            return self._api.list_namespaced_custom_object(
                resource.group, resource.version, namespace, resource.plural, **arguments
            )

    def watch(self, resource: Resource, namespace: str | None, version: str) -> Iterator[Change]:
        """Changes after ``version``, until the server ends the watch. Raises GoneError where that is too long ago."""
        answer = self._listed(
            resource,
            namespace,
            watch=True,
            resource_version=version,
            allow_watch_bookmarks=True,
            timeout_seconds=_WATCH_SECONDS,
            _preload_content=False,
            _request_timeout=(TIMEOUT[0], _WATCH_SILENCE),
        )
        with outside(f"watch {resource.plural}"):
            try:
                for line in _lines(answer):
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        code = event["object"].get("code")
                        text = f"cannot watch {resource.plural}: {printable(str(event['object'].get('message')), 200)}"
                        raise GoneError(text) if code == HTTPStatus.GONE else OutsideError(text)
                    yield Change(event["type"], event["object"])
            finally:
                answer.close()

    def apply(self, body: Object) -> None:
        """Server-side apply; fields that another manager changed are taken back."""
        self._patch(body, self._api.patch_namespaced_custom_object)

    def apply_status(self, body: Object) -> None:
        """Server-side apply of the status subresource."""
        self._patch(body, self._api.patch_namespaced_custom_object_status)

    def _patch(self, body: Object, call: Callable[..., object]) -> None:
        resource, metadata = _OF_KIND[body["kind"]], body["metadata"]
        with outside(f"apply {resource.kind} {metadata['namespace']}/{metadata['name']}"):
            call(
                resource.group,
                resource.version,
                metadata["namespace"],
                resource.plural,
                metadata["name"],
                dict(body),
                field_manager=FIELD_MANAGER,
                force=True,
                _content_type="application/apply-patch+yaml",
                _request_timeout=TIMEOUT,
            )

    def delete_artifact(self, namespace: str, name: str, uid: str, resource_version: str) -> None:
        """Remove exactly this object; one that is gone or was changed since is left for the next look."""
        try:
            with outside(f"delete ExternalArtifact {namespace}/{name}"):
                self._api.delete_namespaced_custom_object(
                    ARTIFACTS.group,
                    ARTIFACTS.version,
                    namespace,
                    ARTIFACTS.plural,
                    name,
                    body=kubernetes.client.V1DeleteOptions(
                        preconditions=kubernetes.client.V1Preconditions(uid=uid, resource_version=resource_version)
                    ),
                    _request_timeout=TIMEOUT,
                )
        except GoneError:
            log.info("ExternalArtifact %s/%s was gone or changed before it could be removed", namespace, name)

    def create_event(self, namespace: str, body: Object) -> None:
        """Record an event."""
        with outside("create an event"):
            self._api.create_namespaced_custom_object(
                EVENTS.group, EVENTS.version, namespace, EVENTS.plural, dict(body), _request_timeout=TIMEOUT
            )

    def lease(self, namespace: str, name: str, timeout: float) -> dict[str, Any] | None:
        """The lease, None where there is none."""
        try:
            with outside(f"read Lease {namespace}/{name}"):
                got: Any = self._api.get_namespaced_custom_object(
                    LEASES.group, LEASES.version, namespace, LEASES.plural, name, _request_timeout=timeout
                )
                return dict(got)
        except GoneError:
            return None

    def write_lease(self, namespace: str, name: str, body: Object, timeout: float, *, create: bool) -> str | None:
        """The resource version that was stored; None where somebody else was first."""
        whole = {
            "apiVersion": f"{LEASES.group}/{LEASES.version}",
            "kind": LEASES.kind,
            **body,
            "metadata": {**body.get("metadata", {}), "name": name, "namespace": namespace},
        }
        head = (LEASES.group, LEASES.version, namespace, LEASES.plural)
        try:
            with outside(f"write Lease {namespace}/{name}"):
                got: Any = (
                    self._api.create_namespaced_custom_object(*head, whole, _request_timeout=timeout)
                    if create
                    else self._api.replace_namespaced_custom_object(*head, name, whole, _request_timeout=timeout)
                )
                return str(got["metadata"]["resourceVersion"])
        except GoneError:
            return None


class Informer:
    """What is known of one kind, kept up by a list and then a watch in a thread of its own."""

    def __init__(
        self,
        cluster: Cluster,
        resource: Resource,
        namespace: str | None,
        on_change: Callable[[Key], None],
        *,
        may_be_absent: bool = False,
    ) -> None:
        """``on_change`` is called for each object that came, changed or went.

        A kind that is not installed has no objects where it ``may_be_absent``; else it is waited for.
        """
        self._may_be_absent = may_be_absent
        self._cluster = cluster
        self._resource = resource
        self._namespace = namespace
        self._on_change = on_change
        self._items: dict[Key, Object] = {}
        self._stop = threading.Event()
        self.synced = threading.Event()
        self._told = ""
        self._thread = threading.Thread(target=self._run, name=f"watch-{resource.plural}", daemon=True)

    @property
    def resource(self) -> Resource:
        """Which kind."""
        return self._resource

    def get(self, key: Key) -> Object | None:
        """The object as it was seen last."""
        return self._items.get(key)

    def items(self) -> dict[Key, Object]:
        """All of them."""
        return dict(self._items)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End with the next event; the thread holds nothing that outlives the process."""
        self._stop.set()

    def _run(self) -> None:
        pause = 0.0
        while not self._stop.wait(pause * random.uniform(0.5, 1.0)):  # noqa: S311 - spreads load, hides nothing
            try:
                self._follow()
                pause = 0.0
            except AbsentKindError as error:
                self._replace([])
                if self._may_be_absent:
                    self.synced.set()
                self._tell(str(error))
                pause = _LONGEST_PAUSE / 3
            except GoneError as error:
                log.info("%s; listing anew", error)
                pause = 0.2
            except OutsideError as error:
                self._tell(str(error))
                pause = min(max(pause * 2, 0.5), _LONGEST_PAUSE)
            except Exception:
                # An answer that nobody foresaw must not end the watch for good while everything else looks alive.
                log.exception("a fault while watching %s", self._resource.plural)
                pause = _LONGEST_PAUSE

    def _tell(self, text: str) -> None:
        if text != self._told:
            log.warning("%s", text)
        self._told = text

    def _follow(self) -> None:
        items, version = self._cluster.list(self._resource, self._namespace)
        self._replace(items)
        self.synced.set()
        self._told = ""
        while not self._stop.is_set():
            begun = time.monotonic()
            for change in self._cluster.watch(self._resource, self._namespace, version):
                version = str(change.item["metadata"]["resourceVersion"])
                if change.kind != "BOOKMARK":
                    self._take(change)
                if self._stop.is_set():
                    return
            if time.monotonic() - begun < _SHORTEST_WATCH:
                self._stop.wait(_SHORTEST_WATCH)  # something between here and the server ends watches at once

    def _take(self, change: Change) -> None:
        key = _key(change.item)
        if change.kind == "DELETED":
            self._items.pop(key, None)
        else:
            self._items[key] = _slim(change.item)
        self._on_change(key)

    def _replace(self, items: list[dict[str, Any]]) -> None:
        fresh: dict[Key, Object] = {_key(item): _slim(item) for item in items}
        before, self._items = self._items, fresh
        for key in sorted(before.keys() | fresh.keys()):
            if before.get(key) != fresh.get(key):
                self._on_change(key)


def _slim(item: Object) -> Object:
    """Without the record of who set which field: it is as large as the rest, and nobody here reads it."""
    metadata = {key: value for key, value in item["metadata"].items() if key != "managedFields"}
    return {**item, "metadata": metadata}


def _key(item: Object) -> Key:
    metadata = item["metadata"]
    return (metadata["namespace"], metadata["name"])


def _lines(answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    rest = b""
    for part in answer.stream(amt=None, decode_content=True):
        *whole, rest = (rest + part).split(b"\n")
        yield from (line for line in whole if line.strip())
