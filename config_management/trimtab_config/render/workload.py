"""The runtime of one group: server and agent in one pod on each device, with Service and ServiceAccount.

Nothing here depends on a price, a version or a digest: those live in the desired document, so a release restarts no pod.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trimtab_config.plan.capacity import AGENT_CPU, AGENT_MEMORY, sum_of_limits
from trimtab_config.render.names import desired_name, labels, selector, service_name
from trimtab_config.render.options import Monitoring
from trimtab_config.spec.kinds import Accelerator, Workload
from trimtab_kernel import vocabulary

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trimtab_config.spec.kinds import DeviceGroupSpec, Document

IMAGE = "ghcr.io/apexlogic/trimtab-edge:0.1.0"
"""The image of the edge runtime of this version; a registry of one's own is put in by kustomize's ``images``."""
USER_ID = 65532
SERVE_PORT = 8080
AGENT_PORT = 8081
DATA_DIRECTORY = "/var/lib/trimtab"
DESIRED_DIRECTORY = "/etc/trimtab/desired"
SERVE_STATE = f"{DATA_DIRECTORY}/serve"
"""What was used of the daily budgets; all of the data directory that the server may write."""
SERVE_PORT_NAME, AGENT_PORT_NAME = "http", "agent-metrics"
PORTS = {SERVE_PORT_NAME: SERVE_PORT, AGENT_PORT_NAME: AGENT_PORT}
"""Ports of the pods by name; both give metrics."""
_COMPONENT = "runtime"


def runtime_objects(
    group: Document, deployments: Sequence[Document], annotations: Mapping[str, str], monitoring: Monitoring
) -> list[dict[str, Any]]:
    """Workload, Service and ServiceAccount. ``annotations`` go on the workload's own metadata, never on its pods."""
    name, namespace = group.metadata.name, group.metadata.namespace
    kind: Workload = deployments[0].spec.workload
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": namespace, "labels": labels(name, _COMPONENT)},
        "automountServiceAccountToken": False,
    }
    return [_workload(kind, group, deployments, annotations, monitoring), _service(kind, group), account]


def _service(kind: Workload, group: Document) -> dict[str, Any]:
    name = group.metadata.name
    # What runs on a device asks its own device, and gets an answer with the link down.
    policy = "Local" if kind is Workload.DAEMON_SET else "Cluster"
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": service_name(name),
            "namespace": group.metadata.namespace,
            "labels": labels(name, _COMPONENT),
        },
        "spec": {
            "type": "ClusterIP",
            "internalTrafficPolicy": policy,
            "selector": selector(name),
            "ports": [{"name": "http", "port": SERVE_PORT, "protocol": "TCP", "targetPort": "http"}],
        },
    }


def _workload(
    kind: Workload,
    group: Document,
    deployments: Sequence[Document],
    annotations: Mapping[str, str],
    monitoring: Monitoring,
) -> dict[str, Any]:
    name = group.metadata.name
    spec: DeviceGroupSpec = group.spec
    pod = _pod(group, deployments)
    template: dict[str, Any] = {"metadata": {"labels": labels(name, _COMPONENT)}, "spec": pod}
    if monitoring is Monitoring.ANNOTATIONS:
        # Without a port annotation every declared port is scraped: the server's and the agent's.
        template["metadata"]["annotations"] = {"prometheus.io/scrape": "true", "prometheus.io/path": "/metrics"}
    body: dict[str, Any] = {"selector": {"matchLabels": selector(name)}, "template": template}
    if kind is Workload.DAEMON_SET:
        body["updateStrategy"] = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}}
    else:
        body["replicas"] = spec.device_count
        body["strategy"] = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": "25%"}}
        pod["affinity"] = {
            "podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    {"labelSelector": {"matchLabels": selector(name)}, "topologyKey": "kubernetes.io/hostname"}
                ]
            }
        }
    return {
        "apiVersion": "apps/v1",
        "kind": kind.value,
        "metadata": {
            "name": name,
            "namespace": group.metadata.namespace,
            "labels": labels(name, _COMPONENT),
            "annotations": dict(annotations),
        },
        "spec": body,
    }


def _pod(group: Document, deployments: Sequence[Document]) -> dict[str, Any]:
    name = group.metadata.name
    spec: DeviceGroupSpec = group.spec
    limits = sum_of_limits(deployments)
    serve_limits = {"cpu": str(limits.cpu), "memory": str(limits.memory)}
    pod: dict[str, Any] = {
        "serviceAccountName": name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 30,
        "nodeSelector": {
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": spec.hardware.arch.value,
            vocabulary.FLEET_GROUP: name,
        },
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    if limits.gpu is not None and spec.hardware.accelerator is Accelerator.CUDA:
        serve_limits["nvidia.com/gpu"] = str(limits.gpu.units)
        pod["runtimeClassName"] = "nvidia"  # how K3s gives a pod the NVIDIA container runtime
    pod["containers"] = [_server(serve_limits), _agent(spec)]
    pod["volumes"] = [
        {"name": "desired", "configMap": {"name": desired_name(name)}},
        # Models and state outlive the pod, so that a device that starts without a link has its model. The directory
        # is prepared once per device for the unprivileged user: "Directory" fails with a clear event where it is not.
        {"name": "data", "hostPath": {"path": DATA_DIRECTORY, "type": "Directory"}},
        {"name": "serve-state", "hostPath": {"path": SERVE_STATE, "type": "Directory"}},
        {"name": "scratch", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}},
    ]
    return pod


def _container(name: str, arguments: list[str], port: int, port_name: str, limits: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": name,
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "args": arguments,
        "ports": [{"name": port_name, "containerPort": port, "protocol": "TCP"}],
        "resources": {"limits": dict(limits)},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _server(limits: Mapping[str, str]) -> dict[str, Any]:
    arguments = ["serve", "--model-repository", f"{DATA_DIRECTORY}/models", "--state", SERVE_STATE]
    arguments += ["--host", "0.0.0.0", "--http-port", str(SERVE_PORT)]  # noqa: S104 - in its pod
    container = _container("serve", arguments, SERVE_PORT, "http", limits)
    container["volumeMounts"] = [
        # It reads models and cannot change them; its own directory lies within, and alone can be written.
        {"name": "data", "mountPath": DATA_DIRECTORY, "readOnly": True},
        {"name": "serve-state", "mountPath": SERVE_STATE},
        {"name": "scratch", "mountPath": "/tmp"},  # noqa: S108 - a volume of this pod alone
    ]
    container["readinessProbe"] = {"httpGet": {"path": "/v2/health/ready", "port": "http"}, "periodSeconds": 10}
    container["livenessProbe"] = {
        "httpGet": {"path": "/v2/health/live", "port": "http"},
        "periodSeconds": 20,
        "failureThreshold": 6,
    }
    return container


def _agent(spec: DeviceGroupSpec) -> dict[str, Any]:
    arguments = [
        "agent",
        "--desired",
        DESIRED_DIRECTORY,
        "--model-repository",
        f"{DATA_DIRECTORY}/models",
        "--artifacts",
        f"{DATA_DIRECTORY}/artifacts",
        "--state",
        f"{DATA_DIRECTORY}/state",
        "--device",
        "$(NODE_NAME)",
        "--serve-url",
        f"http://127.0.0.1:{SERVE_PORT}",
        "--network",
        spec.network.constraint.value,
        "--host",
        "0.0.0.0",  # noqa: S104 - in its pod
        "--metrics-port",
        str(AGENT_PORT),
    ]
    limits = {"cpu": str(AGENT_CPU), "memory": str(AGENT_MEMORY)}
    container = _container("agent", arguments, AGENT_PORT, "agent-metrics", limits)
    container["env"] = [{"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]
    container["volumeMounts"] = [
        {"name": "desired", "mountPath": DESIRED_DIRECTORY, "readOnly": True},
        {"name": "data", "mountPath": DATA_DIRECTORY},
        {"name": "scratch", "mountPath": "/tmp"},  # noqa: S108 - a volume of this pod alone
    ]
    container["livenessProbe"] = {"tcpSocket": {"port": "agent-metrics"}, "periodSeconds": 20, "failureThreshold": 6}
    return container
