"""CustomResourceDefinitions of the kinds, made from the same shapes that the reader reads by.

Their schemas are structural (Kubernetes: "Extend the Kubernetes API with CustomResourceDefinitions"): no references, no
types within ``anyOf`` and ``not``, no forbidding of unknown fields, which the API server prunes or, with strict field
validation, refuses. What the reader accepts the API server accepts, with one exception that is the convention of
Kubernetes: a bare fraction as a quantity (``cpu: 0.5``) needs quotes there. Rendered objects have them.

No field has a default here. The API server would write it into the object, and what a field means when it is left out is
the reader's to say.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from trimtab_config.spec.schema import BETWEEN_FIELDS, summary
from trimtab_config.spec.shapes import (
    BooleanShape,
    ChoiceShape,
    ListShape,
    MapShape,
    ObjectShape,
    ScalarShape,
    shape_of,
)
from trimtab_kernel import vocabulary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trimtab_config.spec.kinds import Kind
    from trimtab_config.spec.shapes import Shape

_QUANTITIES = frozenset({"quantity", "quantity above 0"})
_SHORT_NAMES = {
    "EdgeAIDeployment": "eaid",
    "OnDeviceModel": "odm",
    "DeviceGroup": "dgrp",
    "Model": "aim",
    "FinOpsPolicy": "finops",
    "AIAlignmentPolicy": "aialign",
    "PriceBook": "pbook",
    "Hold": "mhold",
}
_REPORTED = frozenset({"EdgeAIDeployment", "OnDeviceModel"})
"""The kinds that have a status. That of an OnDeviceModel is left to whoever owns its clients: they are no pods."""
_COUNTED = "EdgeAIDeployment"
_COUNT = {"type": "integer", "format": "int32", "minimum": 0}
_DEVICES: Mapping[str, Any] = {
    "devices": {
        "description": "How many devices of the group there are, by what their agents said when they were asked last.",
        "type": "object",
        "properties": {
            "total": {**_COUNT, "description": "Pods of the group's runtime."},
            "reporting": {**_COUNT, "description": "Of them, those whose agent answered."},
            "ready": {**_COUNT, "description": "Of those, the ones that run what they are asked for."},
            "updating": {**_COUNT, "description": "On the way, or still without the newest document."},
            "stalled": {
                **_COUNT,
                "description": "With a document they cannot obey, or an artifact they will not try again.",
            },
        },
    },
    "versions": {
        "description": "What the model's devices run, the most frequent first.",
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"version": {"type": "string", "maxLength": 256}, "devices": _COUNT},
            "required": ["version", "devices"],
        },
        "maxItems": 21,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["version"],
    },
}
"""What the status reporter of `trimtab_plugins.reporting` writes beside the conditions."""

# Go's regular expressions repeat at most a thousand times, and know no \u; the same text in both dialects.
_MOST_REPEATS = 1000


def crd_of(kind: Kind) -> dict[str, Any]:
    """The CustomResourceDefinition of one kind: namespaced, one version, served and stored."""
    group, _, version = kind.api_version.partition("/")
    properties: dict[str, Any] = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": _schema(shape_of(kind.spec)),
    }
    served: dict[str, Any] = {
        "name": version,
        "served": True,
        "storage": True,
        "schema": {
            "openAPIV3Schema": {
                "description": summary(kind.spec),
                "type": "object",
                "properties": properties,
                "required": ["spec"],
            }
        },
        "additionalPrinterColumns": [dict(column) for column in (*_COLUMNS[kind.name], _AGE)],
    }
    if kind.name in _REPORTED:
        properties["status"] = {
            "description": "What the group's devices report. Never written in Git.",
            "type": "object",
            "properties": {**conditions_schema(), **(_DEVICES if kind.name == _COUNTED else {})},
        }
        served["subresources"] = {"status": {}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{kind.plural}.{group}",
            "labels": {"app.kubernetes.io/name": "trimtab", "app.kubernetes.io/component": "crds"},
        },
        "spec": {
            "group": group,
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.name.lower(),
                "shortNames": [_SHORT_NAMES[kind.name]],
                "categories": ["trimtab"],
            },
            "scope": "Namespaced",
            "versions": [served],
        },
    }


def crd_file(kind: Kind) -> str:
    """The name of the file that holds the definition in the chart."""
    return f"{kind.plural}.yaml"


def structural_schema(kind: type) -> dict[str, Any]:
    """The structural schema of one dataclass of fields: what a kind of another room has as its ``spec``."""
    return _schema(shape_of(kind))


def conditions_schema() -> dict[str, Any]:
    """The fields of a status by which generic tools wait: conditions as every Kubernetes kind has them (metav1.Condition)."""
    text = {"type": "string"}
    condition = {
        "type": "object",
        "properties": {
            "type": {
                "type": "string",
                "maxLength": 316,
                "pattern": r"^([a-z0-9.-]{1,253}/)?[A-Za-z0-9][-A-Za-z0-9_.]*$",
            },
            "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
            "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
            "lastTransitionTime": {"type": "string", "format": "date-time"},
            "reason": {
                "type": "string",
                "minLength": 1,
                "maxLength": 1024,
                "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
            },
            "message": {**text, "maxLength": 32768},
        },
        "required": ["type", "status", "lastTransitionTime", "reason", "message"],
    }
    return {
        "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
        "conditions": {
            "type": "array",
            "items": condition,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        },
    }


def _column(name: str, path: str, kind: str = "string", priority: int = 0) -> Mapping[str, Any]:
    below = {"priority": priority} if priority else {}
    return {"name": name, "type": kind, "jsonPath": path, **below}


def _annotation(name: str) -> str:
    return ".metadata.annotations." + name.replace(".", "\\.")


_AGE = _column("Age", ".metadata.creationTimestamp", "date")
_GROUP = _column("Group", _annotation(vocabulary.FLEET_GROUP))
_WAVE = _column("Wave", _annotation(vocabulary.FLEET_WAVE), priority=1)
_COST = _column("Monthly", _annotation(vocabulary.COST_MONTHLY), priority=1)
_CURRENCY = _column("Currency", _annotation(vocabulary.COST_CURRENCY), priority=1)
_COLUMNS: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "EdgeAIDeployment": (
        _column("Model", ".spec.modelRef.name"),
        _column("Version", ".spec.modelRef.version"),
        _column("Ready", ".status.devices.ready", "integer"),
        _column("Reporting", ".status.devices.reporting", "integer"),
        _column("Devices", ".status.devices.total", "integer"),
        _GROUP,
        _WAVE,
        _COST,
        _CURRENCY,
    ),
    "OnDeviceModel": (
        _column("Model", ".spec.modelId"),
        _column("Version", ".spec.version"),
        _GROUP,
        _column("Percent", ".spec.updateStrategy.rolloutPercentage"),
        _COST,
        _CURRENCY,
    ),
    "DeviceGroup": (
        _column("Cluster", ".spec.cluster"),
        _column("Devices", ".spec.deviceCount", "integer"),
        _column("Class", ".spec.hardware.class"),
        _column("Jurisdiction", ".spec.jurisdiction"),
        _column("Owner", ".spec.owner.team", priority=1),
    ),
    "Model": (_column("Versions", ".spec.versions[*].version"),),
    "FinOpsPolicy": (
        _column("Level", ".spec.level"),
        _column("Budget", ".spec.budget.monthly.amount"),
        _column("Currency", ".spec.budget.monthly.currency"),
    ),
    "AIAlignmentPolicy": (_column("Level", ".spec.level"),),
    "PriceBook": (
        _column("Currency", ".spec.currency"),
        _column("From", ".spec.validFrom"),
        _column("Until", ".spec.validUntil"),
    ),
    "Hold": (
        _column("Model", ".spec.model"),
        _column("Version", ".spec.version"),
        _column("Until", ".spec.until"),
        _column("Owner", ".spec.owner"),
    ),
}


def _schema(shape: Shape) -> dict[str, Any]:
    match shape:
        case ScalarShape(scalar):
            return _scalar(scalar.schema, quantity=scalar.name in _QUANTITIES)
        case BooleanShape():
            return {"type": "boolean"}
        case ChoiceShape(values):
            return {"type": "string", "enum": list(values)}
        case ListShape(item, minimum):
            unique = isinstance(item, ScalarShape | ChoiceShape)
            least = {"minItems": minimum} if minimum else {}
            kind = {"x-kubernetes-list-type": "set" if unique else "atomic"}
            return {"type": "array", "items": _schema(item), **least, **kind}
        case MapShape(_, value, minimum):
            least = {"minProperties": minimum} if minimum else {}
            return {"type": "object", "additionalProperties": _schema(value), **least}
        case ObjectShape():
            return _object(shape)


def _object(shape: ObjectShape) -> dict[str, Any]:
    required = [yaml for yaml, field in shape.fields.items() if field.required]
    properties = {yaml: _schema(field.shape) for yaml, field in shape.fields.items()}
    below = {"properties": properties, **({"required": required} if required else {})}
    below |= BETWEEN_FIELDS.get(shape.type, {})
    if not shape.bare:
        return {"description": summary(shape.type), "type": "object", **below}
    # An object, or the scalar in its place: what is said of numbers, texts and objects each binds its own type alone.
    bare = properties[shape.bare]
    scalar = {key: bare[key] for key in bare if key not in {"maxProperties", "not"}}
    refused = [value for value in bare["not"]["enum"] if value != {}]
    return {"description": summary(shape.type), **scalar, **below, "not": {"enum": refused}}


def _scalar(schema: Mapping[str, Any], *, quantity: bool) -> dict[str, Any]:
    arms = schema.get("anyOf")
    if arms is None:
        return _keywords(schema, keep_type=True)
    merged: dict[str, Any] = {}
    for arm in arms:
        merged |= _keywords(arm, keep_type=False)
    if quantity:
        return {"x-kubernetes-int-or-string": True, **merged}
    # A number or a text. No type may be named for that, so all others are shut out by their values. (The API server itself
    # takes a null for a field that is not there, before it looks at values.)
    shut_out = {"maxItems": 0, "maxProperties": 0, "not": {"enum": [None, False, True, [], {}]}}
    return {"x-kubernetes-preserve-unknown-fields": True, **merged, **shut_out}


def _keywords(schema: Mapping[str, Any], *, keep_type: bool) -> dict[str, Any]:
    found = {key: value for key, value in schema.items() if keep_type or key != "type"}
    if "pattern" in found:
        found["pattern"] = _pattern(found["pattern"])
    if "exclusiveMaximum" in found:  # a number since draft 6; in OpenAPI 3.0 it says that the maximum is none
        found["maximum"], found["exclusiveMaximum"] = found["exclusiveMaximum"], True
    if found.get("type") == "integer":
        found["format"] = "int64"
    return found


def _pattern(pattern: str) -> str:
    r"""``pattern`` in the common part of ECMAScript's and Go's dialects: characters instead of ``\uXXXX``, no long repeats."""
    text = re.sub(r"\\u00([0-9a-f]{2})", r"\\x\1", pattern)
    text = re.sub(r"\\u([0-9a-f]{4})", lambda match: chr(int(match[1], 16)), text)
    return re.sub(r"(\[[^]]*\])\{1,(\d+)\}", _split_repeat, text)


def _split_repeat(match: re.Match[str]) -> str:
    characters, most = match[1], int(match[2])
    if most <= _MOST_REPEATS:
        return match[0]
    rest = most - _MOST_REPEATS
    if rest > _MOST_REPEATS:
        raise ValueError(f"{match[0]} repeats more often than two parts can say")
    return f"{characters}{{1,{_MOST_REPEATS}}}{characters}{{0,{rest}}}"
