"""How a group's figures are found: recording rules, and with the Prometheus operator its PodMonitor and PrometheusRule."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from trimtab_config.render.names import labels, rules_name, selector
from trimtab_config.rules.recording import group_rules
from trimtab_kernel import vocabulary
from trimtab_kernel.canonical import canonical_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trimtab_config.spec.kinds import Document

RULES_FILE = "rules.json"
"""Key of the recording rules in their ConfigMap. JSON is YAML: Prometheus reads it as a rules file."""
_COMPONENT = "monitoring"
_PLACEHOLDER = "group-placeholder"
_SCRAPED = f"__meta_kubernetes_pod_label_{''.join(c if c.isalnum() else '_' for c in vocabulary.FLEET_GROUP)}"


def rules_config_map(group: Document) -> dict[str, Any]:
    """The recording rules of the group, for a Prometheus that reads rules from ConfigMaps."""
    name = group.metadata.name
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(group, rules_name(name)),
        "data": {RULES_FILE: _rules_template().replace(_PLACEHOLDER, name)},
    }


def operator_objects(group: Document, port_names: Sequence[str]) -> list[dict[str, Any]]:
    """PodMonitor and PrometheusRule (monitoring.coreos.com/v1).

    Scraped series get the labels that recording rules keep: the group from the pod's label, the device from its node.
    """
    name = group.metadata.name
    relabelings = [
        {"sourceLabels": [_SCRAPED], "targetLabel": vocabulary.LABEL_DEVICE_GROUP},
        {"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": vocabulary.LABEL_DEVICE},
    ]
    monitored = [{"port": port, "path": "/metrics", "relabelings": relabelings} for port in port_names]
    api = "monitoring.coreos.com/v1"
    return [
        {
            "apiVersion": api,
            "kind": "PodMonitor",
            "metadata": _metadata(group, name),
            "spec": {"selector": {"matchLabels": selector(name)}, "podMetricsEndpoints": monitored},
        },
        {
            "apiVersion": api,
            "kind": "PrometheusRule",
            "metadata": _metadata(group, rules_name(name)),
            "spec": group_rules(name),
        },
    ]


@cache
def _rules_template() -> str:
    """The rules with a word in place of the group, which is no label name that occurs in them. They differ in that alone."""
    return canonical_json(group_rules(_PLACEHOLDER)).decode()


def _metadata(group: Document, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": group.metadata.namespace,
        "labels": labels(group.metadata.name, _COMPONENT),
        "annotations": {vocabulary.FLEET_GROUP: group.metadata.name},
    }
