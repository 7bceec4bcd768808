"""Parsed objects back as plain JSON values, spelled as in YAML.

Reading what :func:`plain_document` gives yields the same object again. A field that holds its default is left out, so
that the value (and every digest over it) stays what it is when a kind gains an optional field.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING

from trimtab_config.spec.kinds import Document, GradedFigure
from trimtab_config.spec.shapes import shape_of
from trimtab_kernel.desired import percent_text
from trimtab_kernel.identity import Digest
from trimtab_kernel.quantity import Quantity
from trimtab_kernel.records import MISSING, fields, is_record

if TYPE_CHECKING:
    from trimtab_kernel.canonical import Json


def plain_document(document: Document) -> dict[str, Json]:
    """apiVersion, kind, metadata and spec of ``document``."""
    return {
        "apiVersion": document.api_version,
        "kind": document.kind,
        "metadata": plain(document.metadata),
        "spec": plain(document.spec),
    }


def plain(value: object) -> Json:  # noqa: PLR0911 - one line for each type that a kind may hold
    """``value`` as JSON: whole numbers as integers, others as exact text, quantities, dates and durations as text.

    Raises TypeError for a type that no kind uses.
    """
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, GradedFigure) and value.low is None and value.high is None and value.grade is None:
        return decimal_json(value.value)
    if isinstance(value, Decimal):
        return decimal_json(value)
    if isinstance(value, Fraction):
        return value.numerator if value.denominator == 1 else percent_text(value)
    if isinstance(value, (Quantity, Digest)):
        return str(value)
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, datetime.timedelta):
        return duration_text(value)
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    kind: type = type(value)
    if is_record(kind):
        return {
            name: plain(item)
            for attribute, name, default in _fields(kind)
            if (item := getattr(value, attribute)) is not None and item != default
        }
    raise TypeError(f"no kind holds a {type(value).__name__}")


@cache
def _fields(kind: type) -> tuple[tuple[str, str, object], ...]:
    """Attribute, name in YAML and default of each field."""
    found = []
    names = {shape.name: yaml for yaml, shape in shape_of(kind).fields.items()}
    for field in fields(kind):
        default: object = MISSING
        if field.default is not MISSING:
            default = field.default
        elif field.default_factory is not MISSING:
            default = field.default_factory()
        found.append((field.name, names[field.name], default))
    return tuple(found)


def decimal_json(value: Decimal) -> int | str:
    """A whole number as an integer, another as text without an exponent and without zeros at the end."""
    if value == value.to_integral_value() and abs(value) < 2**53:
        return int(value)
    return f"{value:f}".rstrip("0").rstrip(".") if "." in f"{value:f}" else f"{value:f}"


def duration_text(duration: datetime.timedelta) -> str:
    """``1d12h``; ``0s`` for none."""
    seconds = duration.days * 86400 + duration.seconds
    text = ""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, length)
        text += f"{count}{unit}" if count else ""
    return text or "0s"
