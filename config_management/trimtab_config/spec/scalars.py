"""Scalar fields of manifests: how text becomes a value, and how the JSON Schema says so.

A field's annotation carries a :class:`Scalar`; the reader and the schema generator both go by it, so that they cannot
disagree. ``parse`` gets the text as it stands in the file (``0.10`` stays ``0.10``: no float is ever made) and raises
ValueError whose message starts with "expected".
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any

from trimtab_kernel.identity import Digest, Version, parse_label_name, parse_name
from trimtab_kernel.money import parse_currency, parse_decimal
from trimtab_kernel.quantity import Quantity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Accepts(Enum):
    """Which YAML scalars a field takes. Version ``1.10`` unquoted is a number and would lose its zero: such fields take text only."""

    TEXT = "text"
    NUMBER = "number"
    TEXT_OR_NUMBER = "text or number"


@dataclass(frozen=True, slots=True)
class Scalar:
    """How one scalar is read and described. ``schema`` is a JSON Schema (2020-12) fragment."""

    name: str
    parse: Callable[[str], Any]
    expected: str
    accepts: Accepts
    schema: Mapping[str, Any] = field(hash=False)


def _bounded_text(limit: int) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not text or len(text) > limit:
            raise ValueError(f"expected 1 to {limit} characters")
        if "\x00" in text:
            raise ValueError("expected text without NUL")
        return text

    return parse


def _integer(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"-?(0|[1-9][0-9]{0,18})", text, re.ASCII) or not low <= int(text) <= high:
            raise ValueError(f"expected a whole number from {low} to {high}")
        return int(text)

    return parse


def integer(low: int, high: int) -> Scalar:
    """A whole number within bounds."""
    return Scalar(
        f"integer {low}..{high}",
        _integer(low, high),
        f"a whole number from {low} to {high}",
        Accepts.NUMBER,
        {"type": "integer", "minimum": low, "maximum": high},
    )


def _percent(text: str) -> Fraction:
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,9})?", text, re.ASCII) or Fraction(text) > 100:  # noqa: PLR2004 - a percentage
        raise ValueError("expected a percentage from 0 to 100")
    return Fraction(text)


def _ratio(text: str) -> Decimal:
    value = parse_decimal(text)
    if not 0 <= value <= 1:
        raise ValueError("expected a number from 0 to 1")
    return value


def _non_negative(text: str) -> Decimal:
    value = parse_decimal(text)
    if value < 0:
        raise ValueError("expected a number that is not negative")
    return value


def _date(text: str) -> datetime.date:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text, re.ASCII):
        raise ValueError('expected a date such as "2026-12-31"')
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise ValueError(f'expected a date that exists, such as "2026-12-31", got "{text}"') from None


_DURATION = re.compile(r"(?=[0-9])(?:([0-9]{1,4})d)?(?:([0-9]{1,4})h)?(?:([0-9]{1,5})m)?(?:([0-9]{1,6})s)?", re.ASCII)


def _duration(text: str) -> datetime.timedelta:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError('expected a duration such as "24h", "30m" or "1d12h"')
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return datetime.timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


_URI = re.compile(r"(s3|gs|https?|oci|file)://[^\s\x00-\x1f\x7f]{1,2000}", re.ASCII)


def _uri(text: str) -> str:
    if not _URI.fullmatch(text):
        raise ValueError('expected a URI such as "s3://bucket/model.onnx" (s3, gs, http, https, oci or file)')
    return text


_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9])?", re.ASCII)


def _label_value(text: str) -> str:
    if not _LABEL_VALUE.fullmatch(text):
        raise ValueError("expected a label value: at most 63 letters, digits, '-', '_' and '.', starting and ending with a letter or digit")
    return text


def _version_text(text: str) -> str:
    Version.parse(text)
    return text


_TEXT_SCHEMA = {"type": "string", "minLength": 1}
NAME = Scalar("name", parse_name, "a name (RFC 1123) such as \"camera-emea-1\"", Accepts.TEXT, {"type": "string", "minLength": 1, "maxLength": 253, "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"})
LABEL_NAME = Scalar("label name", parse_label_name, "a name of at most 63 characters (RFC 1123)", Accepts.TEXT, {"type": "string", "minLength": 1, "maxLength": 63, "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"})
TEXT = Scalar("text", _bounded_text(2048), "text of 1 to 2048 characters", Accepts.TEXT, {**_TEXT_SCHEMA, "maxLength": 2048})
LABEL_VALUE = Scalar("label value", _label_value, "a label value", Accepts.TEXT, {"type": "string", "maxLength": 63, "pattern": r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"})
VERSION = Scalar("version", _version_text, 'a semantic version in quotes such as "2.1.0"', Accepts.TEXT, {**_TEXT_SCHEMA, "maxLength": 128})
DIGEST = Scalar("digest", Digest.parse, '"sha256:" and 64 hex digits', Accepts.TEXT, {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"})
QUANTITY = Scalar("quantity", Quantity.parse, 'a quantity such as "500m", "0.5" or "1Gi"', Accepts.TEXT_OR_NUMBER, {"anyOf": [{"type": "string", "minLength": 1}, {"type": "number", "minimum": 0}]})
CURRENCY = Scalar("currency", parse_currency, 'an ISO 4217 code such as "EUR"', Accepts.TEXT, {"type": "string", "pattern": "^[A-Z]{3}$"})
NUMBER = Scalar("number", _non_negative, "a decimal number that is not negative", Accepts.TEXT_OR_NUMBER, {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": r"^[0-9]{1,18}(\.[0-9]{1,18})?$"}]})
SIGNED = Scalar("number", parse_decimal, "a decimal number", Accepts.TEXT_OR_NUMBER, {"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^-?[0-9]{1,18}(\.[0-9]{1,18})?$"}]})
RATIO = Scalar("ratio", _ratio, "a number from 0 to 1", Accepts.TEXT_OR_NUMBER, {"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "string", "pattern": r"^[01](\.[0-9]{1,18})?$"}]})
PERCENT = Scalar("percent", _percent, "a percentage from 0 to 100", Accepts.TEXT_OR_NUMBER, {"anyOf": [{"type": "number", "minimum": 0, "maximum": 100}, {"type": "string", "pattern": r"^[0-9]{1,3}(\.[0-9]{1,9})?$"}]})
DATE = Scalar("date", _date, 'a date such as "2026-12-31"', Accepts.TEXT, {"type": "string", "format": "date"})
DURATION = Scalar("duration", _duration, 'a duration such as "24h"', Accepts.TEXT, {"type": "string", "pattern": "^[0-9dhms]+$", "minLength": 2})
URI = Scalar("uri", _uri, 'a URI such as "s3://bucket/model.onnx"', Accepts.TEXT, {"type": "string", "pattern": "^(s3|gs|https?|oci|file)://", "maxLength": 2048})

NameField = Annotated[str, NAME]
LabelNameField = Annotated[str, LABEL_NAME]
TextField = Annotated[str, TEXT]
LabelValueField = Annotated[str, LABEL_VALUE]
VersionField = Annotated[str, VERSION]
DigestField = Annotated[Digest, DIGEST]
QuantityField = Annotated[Quantity, QUANTITY]
CurrencyField = Annotated[str, CURRENCY]
NumberField = Annotated[Decimal, NUMBER]
SignedField = Annotated[Decimal, SIGNED]
RatioField = Annotated[Decimal, RATIO]
PercentField = Annotated[Fraction, PERCENT]
DateField = Annotated[datetime.date, DATE]
DurationField = Annotated[datetime.timedelta, DURATION]
UriField = Annotated[str, URI]
CountField = Annotated[int, integer(0, 2**31 - 1)]
PositiveField = Annotated[int, integer(1, 2**31 - 1)]
BytesField = Annotated[int, integer(0, 2**40)]
PercentIntField = Annotated[int, integer(0, 100)]
ApiLevelField = Annotated[int, integer(1, 10_000)]
