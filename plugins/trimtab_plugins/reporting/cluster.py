"""The API server, as the reporter needs it: deployments and pods are read, one status is applied. Translation only."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import kubernetes

from trimtab_kernel import vocabulary
from trimtab_kernel.problems import OutsideError
from trimtab_kernel.records import dataclass
from trimtab_plugins.api_server import TIMEOUT, GoneError, client_of, outside

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FIELD_MANAGER = "trimtab-reporter"
_GROUP, _VERSION, _PLURAL, _KIND = "apexlogic.ai", "v1", "edgeaideployments", "EdgeAIDeployment"
_RUNTIME = "app.kubernetes.io/name=trimtab-runtime"
_AGENT_PORT = "agent-metrics"
_MOST_BYTES = 64 << 20
"""Of one page of a list: far above what 200 objects of ours take."""


@dataclass(frozen=True, slots=True)
class Agent:
    """One pod of a group: where its agent answers, or why it cannot. ``device`` is the node's name, which the agent uses."""

    namespace: str
    group: str
    device: str
    address: tuple[str, int] | None
    silence: str


class ReportingCluster:
    """One API server. Methods raise OutsideError where it does not answer as it should."""

    def __init__(self, client: kubernetes.client.ApiClient, page: int = 200) -> None:
        """``page``: how many objects one answer may have."""
        self._page = page
        self._objects = kubernetes.client.CustomObjectsApi(client)
        self._core = kubernetes.client.CoreV1Api(client)

    @classmethod
    def connect(cls, kubeconfig: Path | None, page: int = 200) -> ReportingCluster:
        """By a kubeconfig file where one is named, else as a pod, else as kubectl finds it."""
        return cls(client_of(kubeconfig), page)

    def deployments(self, namespace: str | None) -> list[dict[str, Any]]:
        """All EdgeAIDeployments that were narrowed to a group. Raises AbsentKindError where the CRD is missing."""
        selector = vocabulary.FLEET_GROUP
        return list(self._pages("edgeaideployments", namespace, selector))

    def agents(self, namespace: str | None) -> list[Agent]:
        """Every pod that runs a group's runtime, and is not on its way out."""
        return [
            _agent(pod)
            for pod in self._pages("pods", namespace, _RUNTIME)
            if not (pod.get("metadata") or {}).get("deletionTimestamp")
        ]

    def apply_status(self, deployment: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
        """Server-side apply of the whole status. False where the object is gone or was changed since it was read."""
        metadata = deployment["metadata"]
        body = {
            "apiVersion": f"{_GROUP}/{_VERSION}",
            "kind": _KIND,
            "metadata": {
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                # Exactly what was looked at, or nothing. (A uid alone is not compared where a status is applied.)
                "resourceVersion": metadata["resourceVersion"],
            },
            "status": dict(status),
        }
        try:
            with outside(f"write the status of {_KIND} {metadata['namespace']}/{metadata['name']}"):
                self._objects.patch_namespaced_custom_object_status(
                    _GROUP,
                    _VERSION,
                    metadata["namespace"],
                    _PLURAL,
                    metadata["name"],
                    body,
                    field_manager=FIELD_MANAGER,
                    force=True,
                    _content_type="application/apply-patch+yaml",
                    _request_timeout=TIMEOUT,
                )
        except GoneError:
            return False
        return True

    def _pages(self, what: str, namespace: str | None, selector: str) -> Iterator[dict[str, Any]]:
        token: str | None = None
        while True:
            arguments: dict[str, Any] = {"limit": self._page, "label_selector": selector, "_request_timeout": TIMEOUT}
            if token:
                arguments["_continue"] = token
            with outside(f"list {what}", kind_may_be_absent=True):
                # Plain JSON: the client's classes cost ten times as much, and refuse what they do not know.
                answer = self._asked(what, namespace, arguments)
                try:
                    content = answer.read(_MOST_BYTES + 1)
                finally:
                    answer.release_conn()
                if len(content) > _MOST_BYTES:
                    raise OutsideError(f"cannot list {what}: more than {_MOST_BYTES} bytes in one page")
                page = json.loads(content)
            yield from page.get("items") or ()
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return

    def _asked(self, what: str, namespace: str | None, arguments: Mapping[str, Any]) -> Any:  # noqa: ANN401 - urllib3's answer
        plain: dict[str, Any] = {**arguments, "_preload_content": False}
        if what == "pods":
            if namespace is None:
                return self._core.list_pod_for_all_namespaces(**plain)
            return self._core.list_namespaced_pod(namespace, **plain)
        if namespace is None:
            return self._objects.list_cluster_custom_object(_GROUP, _VERSION, _PLURAL, **plain)
        return self._objects.list_namespaced_custom_object(_GROUP, _VERSION, namespace, _PLURAL, **plain)


def _agent(pod: Mapping[str, Any]) -> Agent:
    metadata, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    group = str((metadata.get("labels") or {}).get(vocabulary.FLEET_GROUP, ""))
    device = str(spec.get("nodeName") or metadata["name"])
    ports = [
        port.get("containerPort")
        for container in spec.get("containers") or ()
        for port in container.get("ports") or ()
        if port.get("name") == _AGENT_PORT
    ]
    host, phase = status.get("podIP"), str(status.get("phase", "Unknown"))
    if phase != "Running" or not host:
        return Agent(metadata["namespace"], group, device, None, f"its pod is {phase}")
    if not ports:
        return Agent(metadata["namespace"], group, device, None, f"its pod has no port {_AGENT_PORT}")
    return Agent(metadata["namespace"], group, device, (str(host), int(ports[0])), "")
