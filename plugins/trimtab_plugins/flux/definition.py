"""The CustomResourceDefinition of ``FleetArtifact``, made from the types by which it is read."""

from __future__ import annotations

from typing import Any

from trimtab_config.emit.yaml_stream import yaml_stream
from trimtab_config.spec.crd import conditions_schema, structural_schema
from trimtab_plugins.flux.kinds import API_GROUP, API_VERSION, KIND, PLURAL, FleetArtifactSpec
from trimtab_plugins.flux.planning import MAX_FLEET_NAME

FILE = f"{PLURAL}.yaml"
"""The name of the file that holds the definition in the chart."""


def definition() -> dict[str, Any]:
    """The definition: namespaced, one version, with a status of its own."""
    spec = structural_schema(FleetArtifactSpec)
    spec["properties"]["path"]["x-kubernetes-validations"] = [
        {
            "rule": "!self.startsWith('/') && !self.split('/').exists(part, part == '..')",
            "message": "a path inside the source",
        }
    ]
    text, count = {"type": "string"}, {"type": "integer", "format": "int64", "minimum": 0}
    row = {"name": text, "artifact": text, "revision": text, "originRevision": text}
    status = {
        **conditions_schema(),
        "lastHandledReconcileAt": {**text, "description": "The request for a look at once that was answered last."},
        "sourceRevision": {**text, "description": "The revision of the source that the artifacts were built from."},
        "groups": {
            "description": "The artifact of every device group.",
            "type": "array",
            "items": {"type": "object", "properties": row, "required": ["name", "artifact", "revision"]},
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
        },
        "counts": {"type": "object", "properties": {"selected": count, "published": count}},
    }
    schema = {
        "description": "One ExternalArtifact of Flux for each device group of the fleet that a source holds.",
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": text,
            "kind": text,
            "metadata": {"type": "object"},
            "spec": spec,
            "status": {"type": "object", "properties": status},
        },
        "x-kubernetes-validations": [
            {
                "rule": f"self.metadata.name.size() <= {MAX_FLEET_NAME}",
                "message": f"a name of at most {MAX_FLEET_NAME} characters, so that names of artifacts fit",
            }
        ],
    }
    ready = '.status.conditions[?(@.type=="Ready")]'
    columns = [
        {"name": "Ready", "type": "string", "jsonPath": f"{ready}.status"},
        {"name": "Groups", "type": "integer", "jsonPath": ".status.counts.published"},
        {"name": "Source", "type": "string", "jsonPath": ".spec.sourceRef.name"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        {"name": "Status", "type": "string", "jsonPath": f"{ready}.message", "priority": 1},
    ]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{PLURAL}.{API_GROUP}",
            "labels": {"app.kubernetes.io/name": "trimtab", "app.kubernetes.io/component": "crds"},
        },
        "spec": {
            "group": API_GROUP,
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["fleetart"],
                "categories": ["trimtab"],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": API_VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": columns,
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def definition_text() -> str:
    """The definition as it is committed."""
    return yaml_stream([definition()])
