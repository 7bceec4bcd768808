"""JSON Schemas (2020-12) of the kinds, made from the same shapes that the reader reads by.

They are for editors and for tools of others; the reader is the judge. What it accepts, the schema accepts. A schema
cannot say everything that the reader knows (dates that exist, quantities within bounds, order between fields).
"""

from __future__ import annotations

import inspect
import json
import re
from typing import TYPE_CHECKING, Any

from trimtab_config.spec.kinds import CohortRule, HoldSpec, Kind, Metadata, Wave
from trimtab_config.spec.plain import plain
from trimtab_config.spec.shapes import (
    BooleanShape,
    ChoiceShape,
    FieldShape,
    ListShape,
    MapShape,
    ObjectShape,
    ScalarShape,
    shape_of,
)
from trimtab_kernel.records import MISSING, fields

if TYPE_CHECKING:
    from trimtab_config.spec.shapes import Shape

DIALECT = "https://json-schema.org/draft/2020-12/schema"
BETWEEN_FIELDS: dict[type, dict[str, Any]] = {
    Wave: {
        "oneOf": [
            {"required": ["percent"], "properties": {"groups": {"maxItems": 0}}},
            {"required": ["groups"], "properties": {"groups": {"minItems": 1}}, "not": {"required": ["percent"]}},
        ]
    },
    CohortRule: {
        "oneOf": [
            {"required": ["value"], "not": {"anyOf": [{"required": ["low"]}, {"required": ["high"]}]}},
            {"anyOf": [{"required": ["low"]}, {"required": ["high"]}], "not": {"required": ["value"]}},
        ]
    },
    HoldSpec: {"anyOf": [{"required": ["version"]}, {"required": ["digest"]}]},
}
"""What must hold between fields and can be said in a schema; trimtab_config.spec.coherence says the same."""


def schema_of(kind: Kind) -> dict[str, Any]:
    """The schema of one kind, self-contained."""
    definitions: dict[str, Any] = {}
    group, _, version = kind.api_version.partition("/")
    properties = {
        "apiVersion": {"const": kind.api_version},
        "kind": {"const": kind.name},
        "metadata": _schema(shape_of(Metadata), definitions),
        "spec": _schema(shape_of(kind.spec), definitions),
    }
    return {
        "$schema": DIALECT,
        "title": f"{kind.api_version} {kind.name}",
        "description": summary(kind.spec),
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
        "x-kubernetes-group-version-kind": [{"group": group, "version": version, "kind": kind.name}],
        "$defs": dict(sorted(definitions.items())),
    }


def schema_text(kind: Kind) -> str:
    """The schema as it is committed: indented, fields in the order of the kind, one newline at the end."""
    return json.dumps(schema_of(kind), indent=2, ensure_ascii=False) + "\n"


def schema_file(kind: Kind) -> str:
    """The name of the file that holds the schema."""
    return f"{kind.name}.json"


def summary(kind: type) -> str:
    """What a kind or a part of one is, in a line; its fields are named as in YAML."""
    text = " ".join((inspect.getdoc(kind) or "").replace("``", "").split())
    names = {each.name: yaml for yaml, each in shape_of(kind).fields.items() if "_" in each.name}
    return re.sub(r"\b\w+\b", lambda word: names.get(word[0], word[0]), text)


def _schema(shape: Shape, definitions: dict[str, Any]) -> dict[str, Any]:
    match shape:
        case ScalarShape(scalar):
            return dict(scalar.schema)
        case BooleanShape():
            return {"type": "boolean"}
        case ChoiceShape(values):
            return {"type": "string", "enum": list(values)}
        case ListShape(item, minimum):
            unique = {"uniqueItems": True} if isinstance(item, ScalarShape | ChoiceShape) else {}
            least = {"minItems": minimum} if minimum else {}
            return {"type": "array", "items": _schema(item, definitions), **least, **unique}
        case MapShape(key, value, minimum):
            least = {"minProperties": minimum} if minimum else {}
            below = _schema(value, definitions)
            return {"type": "object", "propertyNames": dict(key.schema), "additionalProperties": below, **least}
        case ObjectShape():
            return {"$ref": f"#/$defs/{_define(shape, definitions)}"}


def _define(shape: ObjectShape, definitions: dict[str, Any]) -> str:
    name = shape.type.__name__
    if name in definitions:
        return name
    definitions[name] = {}  # known before its fields are, so that a type within itself would end
    properties = {}
    for yaml, field in shape.fields.items():
        below = _schema(field.shape, definitions)
        default = default_of(shape.type, field)
        properties[yaml] = below if default is None else {**below, "default": default}
    schema: dict[str, Any] = {
        "description": summary(shape.type),
        "type": "object",
        "properties": properties,
        "required": [yaml for yaml, field in shape.fields.items() if field.required],
        "additionalProperties": False,
        **BETWEEN_FIELDS.get(shape.type, {}),
    }
    if not schema["required"]:
        del schema["required"]
    if shape.bare:
        bare = _schema(shape.fields[shape.bare].shape, definitions)
        schema = {"description": schema.pop("description"), "anyOf": [bare, schema]}
    definitions[name] = schema
    return name


def default_of(kind: type, field: FieldShape) -> Any:  # noqa: ANN401 - any JSON value
    """The default worth showing: a scalar, a word, a boolean. An object's defaults show in its own fields."""
    if field.required or not isinstance(field.shape, ScalarShape | ChoiceShape | BooleanShape):
        return None
    written = next(each for each in fields(kind) if each.name == field.name)
    return None if written.default is MISSING else plain(written.default)
