"""Who may connect to the runtime of a group, and where it may connect to: NetworkPolicy, Ingress.

A NetworkPolicy (networking.k8s.io/v1) knows addresses and no names, and nothing is looked up at render: an address of a
name would be out of date before it is applied. So a group either lists its egress rules, and they are exact; or it does
not, and endpoints with a host name are opened by their port alone, which an annotation says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trimtab_config.plan.egress import endpoints, opening_rules
from trimtab_config.render.names import labels, selector, service_name
from trimtab_kernel import vocabulary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trimtab_config.plan.placement import GroupPlan
    from trimtab_config.spec.kinds import DeviceGroupSpec, Document

_COMPONENT = "runtime"
_NAMES = {
    "to": [
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
            "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
        }
    ],
    "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}],
}
"""CoreDNS as K3s and others deploy it."""
_ANYWHERE = [
    # Without the link-local addresses, where clouds answer with a node's credentials.
    {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}},
    {"ipBlock": {"cidr": "::/0", "except": ["fe80::/10"]}},
]


def network_policy(plan: GroupPlan, ports: Sequence[int]) -> dict[str, Any]:
    """All pods of the cluster may ask the runtime's ``ports``; it may ask for names, and what its group needs."""
    group = plan.group
    spec: DeviceGroupSpec = group.spec
    opened: dict[tuple[str, ...], set[int]] = {}
    by_port = set()
    for rule in spec.network.egress:
        opened.setdefault(tuple(sorted(set(rule.cidrs))), set()).update(rule.ports)
    for endpoint in endpoints(plan):
        address = endpoint.address
        if opening_rules(endpoint, spec.network.egress):
            continue
        if address is not None:
            opened.setdefault((address,), set()).add(endpoint.port)
        else:
            by_port.add(endpoint)
    egress: list[dict[str, Any]] = [_NAMES]
    for cidrs, numbers in sorted(opened.items()):
        egress.append({"to": [{"ipBlock": {"cidr": cidr}} for cidr in cidrs], "ports": _tcp(numbers)})
    if by_port:
        egress.append({"to": _ANYWHERE, "ports": _tcp({endpoint.port for endpoint in by_port})})
    metadata = _metadata(group)
    if by_port:
        metadata["annotations"] = {vocabulary.FLEET_EGRESS_BY_PORT: ", ".join(map(str, sorted(by_port)))}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        "spec": {
            "podSelector": {"matchLabels": selector(group.metadata.name)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [{"namespaceSelector": {}}], "ports": _tcp(set(ports))}],
            "egress": egress,
        },
    }


def ingress(group: Document, port_name: str) -> dict[str, Any]:
    """The way from outside the cluster to the V2 routes of a site server; its metrics stay inside."""
    spec: DeviceGroupSpec = group.spec
    name = group.metadata.name
    host = spec.ingress.host or f"{name}.{spec.cluster}.internal"
    service = {"name": service_name(name), "port": {"name": port_name}}
    path = {"path": "/v2", "pathType": "Prefix", "backend": {"service": service}}
    body: dict[str, Any] = {"rules": [{"host": host, "http": {"paths": [path]}}]}
    if spec.ingress.class_name is not None:
        body["ingressClassName"] = spec.ingress.class_name
    if spec.ingress.tls_secret is not None:
        body["tls"] = [{"hosts": [host], "secretName": spec.ingress.tls_secret}]
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": _metadata(group), "spec": body}


def _tcp(ports: set[int]) -> list[dict[str, Any]]:
    return [{"port": port, "protocol": "TCP"} for port in sorted(ports)]


def _metadata(group: Document) -> dict[str, Any]:
    name = group.metadata.name
    return {"name": name, "namespace": group.metadata.namespace, "labels": labels(name, _COMPONENT)}
