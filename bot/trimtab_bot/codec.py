"""Frozen records to canonical JSON and back, by their type hints.

The store and the ledger keep the same text of a record. Floats become their shortest exact text (Python's ``repr``
round-trips IEEE 754 doubles), since canonical JSON has none. Reading is strict: an unknown or wrongly typed field, or a
missing one without a default, raises :class:`CodecError`, because a record that is half understood must not steer
anything. A missing field with a default is how a record from before that field is read.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, TypeVar, cast

from trimtab_kernel.identity import Digest, IdentityError

if TYPE_CHECKING:
    from trimtab_kernel.canonical import Json

T = TypeVar("T")


class CodecError(ValueError):
    """The JSON is not such a record; the message names the place."""


def encode(value: object) -> Json:
    """A record, or a part of one, as plain JSON values. Raises :class:`CodecError` for a type it does not know."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, Enum):
        return encode(value.value)
    if isinstance(value, Digest):
        return str(value)
    if isinstance(value, (tuple, list)):
        return [encode(item) for item in value]
    if isinstance(value, frozenset):
        return sorted(str(item) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: encode(getattr(value, field.name)) for field in dataclasses.fields(value)}
    raise CodecError(f"{type(value).__name__} has no text")


def decode(kind: type[T], value: Json) -> T:
    """The record of type ``kind`` that :func:`encode` made ``value`` from. Raises :class:`CodecError`."""
    return cast("T", _decode(kind, value, kind.__name__))


@cache
def _hints(kind: type) -> dict[str, object]:
    return typing.get_type_hints(kind)


def _decode(kind: object, value: object, place: str) -> object:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return _decode_optional(kind, value, place)
    if origin in (tuple, frozenset):
        return _decode_sequence(kind, origin, value, place)
    if isinstance(kind, type):
        if dataclasses.is_dataclass(kind) and kind is not Digest:
            return _decode_record(kind, value, place)
        return _decode_scalar(kind, value, place)
    raise CodecError(f"{place}: {kind} cannot be read")


def _decode_optional(kind: object, value: object, place: str) -> object:
    choices = typing.get_args(kind)
    if value is None and type(None) in choices:
        return None
    others = [choice for choice in choices if choice is not type(None)]
    if len(others) != 1:
        raise CodecError(f"{place}: {kind} is ambiguous")
    return _decode(others[0], value, place)


def _decode_sequence(kind: object, origin: object, value: object, place: str) -> object:
    if not isinstance(value, list):
        raise CodecError(f"{place}: expected a list, got {type(value).__name__}")
    choices = typing.get_args(kind)
    if origin is frozenset or (len(choices) == 2 and choices[1] is Ellipsis):
        items = (_decode(choices[0], item, f"{place}[{index}]") for index, item in enumerate(value))
        return frozenset(items) if origin is frozenset else tuple(items)
    if len(choices) != len(value):
        raise CodecError(f"{place}: expected {len(choices)} items, got {len(value)}")
    return tuple(
        _decode(choice, item, f"{place}[{index}]")
        for index, (choice, item) in enumerate(zip(choices, value, strict=True))
    )


def _decode_record(kind: type, value: object, place: str) -> object:
    if not isinstance(value, dict):
        raise CodecError(f"{place}: expected an object, got {type(value).__name__}")
    hints = _hints(kind)
    names = {field.name: _has_default(field) for field in dataclasses.fields(kind)}
    unknown = sorted(value.keys() - names.keys())
    missing = sorted(name for name, has_default in names.items() if name not in value and not has_default)
    if unknown or missing:
        raise CodecError(f"{place}: unknown {', '.join(unknown) or 'none'}; missing {', '.join(missing) or 'none'}")
    return kind(**{name: _decode(hints[name], item, f"{place}.{name}") for name, item in value.items()})


def _has_default(field: dataclasses.Field[object]) -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def _decode_scalar(kind: type, value: object, place: str) -> object:
    try:
        if kind is float and isinstance(value, str):
            return float(value)
        if kind is Digest and isinstance(value, str):
            return Digest.parse(value)
        if issubclass(kind, Enum):
            return kind(value)
    except (ValueError, IdentityError) as error:
        raise CodecError(f"{place}: {error}") from None
    if kind in (str, int, bool) and type(value) is kind:
        return value
    raise CodecError(f"{place}: expected {kind.__name__}, got {type(value).__name__}")
