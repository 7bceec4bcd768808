"""What a field may hold, taken once from the dataclasses of :mod:`trimtab_config.spec.kinds`.

The reader and the JSON Schema generator both walk these shapes, so that neither knows more than the other.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any, TypeAlias, Union, get_args, get_origin, get_type_hints

from trimtab_config.spec.kinds import Only
from trimtab_config.spec.scalars import Scalar
from trimtab_kernel.records import dataclass, fields, is_record


@dataclass(frozen=True, slots=True)
class ScalarShape:
    """Text or a number."""

    scalar: Scalar


@dataclass(frozen=True, slots=True)
class BooleanShape:
    """``true`` or ``false``."""


@dataclass(frozen=True, slots=True)
class ChoiceShape:
    """One of a few words."""

    values: Mapping[str, Enum]


@dataclass(frozen=True, slots=True)
class ListShape:
    """A list; scalars in it are unique. ``minimum`` is 1 where the field is required, else 0."""

    item: Shape
    minimum: int


@dataclass(frozen=True, slots=True)
class MapShape:
    """An object with free keys of one form. ``minimum`` as for lists."""

    key: Scalar
    value: Shape
    minimum: int


@dataclass(frozen=True, slots=True)
class FieldShape:
    """One field: its name in Python and in YAML, and what it holds."""

    name: str
    yaml: str
    shape: Shape
    required: bool


@dataclass(frozen=True, slots=True)
class ObjectShape:
    """An object with known fields. ``bare`` names the field that a scalar in place of the object fills, or is ""."""

    type: type
    fields: Mapping[str, FieldShape]
    bare: str = ""


Shape: TypeAlias = ScalarShape | BooleanShape | ChoiceShape | ListShape | MapShape | ObjectShape


_SHAPES: dict[type, ObjectShape] = {}


def shape_of(kind: type) -> ObjectShape:
    """The shape of a dataclass of kinds. Raises TypeError for an annotation that no manifest can hold."""
    known = _SHAPES.get(kind)
    if known is None:
        known = _SHAPES[kind] = _object(kind)
    return known


def _object(kind: type) -> ObjectShape:
    hints = get_type_hints(kind, include_extras=True)
    found = {}
    for each in fields(kind):
        yaml = each.metadata.get("yaml") or _camel(each.name)
        found[yaml] = FieldShape(each.name, yaml, _shape(hints[each.name], each.required), each.required)
    return ObjectShape(kind, types.MappingProxyType(found), getattr(kind, "bare", ""))


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _shape(hint: Any, required: bool) -> Shape:  # noqa: ANN401 - an annotation may be anything
    origin = get_origin(hint)
    if origin is types.UnionType or origin is Union:
        (hint,) = (arm for arm in get_args(hint) if arm is not type(None))
        return _shape(hint, required)
    if origin is Annotated:
        base, *marks = get_args(hint)
        for mark in marks:
            if isinstance(mark, Scalar):
                return ScalarShape(mark)
            if isinstance(mark, Only):
                return ChoiceShape(types.MappingProxyType({value.value: value for value in mark.values}))
        return _shape(base, required)
    if origin is tuple:
        return ListShape(_shape(get_args(hint)[0], True), int(required))
    if origin is Mapping:
        key, value = get_args(hint)
        return MapShape(_key_scalar(key), _shape(value, True), int(required))
    if hint is bool:
        return BooleanShape()
    if isinstance(hint, type) and issubclass(hint, Enum):
        return ChoiceShape(types.MappingProxyType({value.value: value for value in hint}))
    if isinstance(hint, type) and is_record(hint):
        return shape_of(hint)
    raise TypeError(f"no manifest can hold {hint!r}")


def _key_scalar(hint: Any) -> Scalar:  # noqa: ANN401 - an annotation may be anything
    for mark in get_args(hint):
        if isinstance(mark, Scalar):
            return mark
    raise TypeError(f"the keys of an object need a Scalar, not {hint!r}")
