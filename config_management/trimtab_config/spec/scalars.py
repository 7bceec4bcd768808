"""Scalar fields of manifests: how text becomes a value, and how the JSON Schema says so.

A field's annotation carries a :class:`Scalar`; the reader and the schema generator both go by it, so that they cannot
disagree. ``parse`` gets the text as it stands in the file (``0.10`` stays ``0.10``: no float is ever made) and raises
ValueError whose message starts with "expected".
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import re
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any

from trimtab_kernel.eligibility import parse_os_version
from trimtab_kernel.identity import SEMVER_PATTERN, Digest, Version, parse_label_name, parse_name
from trimtab_kernel.money import parse_currency, parse_decimal
from trimtab_kernel.quantity import Quantity
from trimtab_kernel.records import dataclass, field
from trimtab_kernel.vocabulary import TAGS

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


# Text reaches terminals, pages, labels and other people's parsers; nothing in it may steer one of them.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_TEXT_PATTERN = "^[^\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u2028\\u2029]*$"


def _text(low: int, high: int) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not low <= len(text) <= high:
            raise ValueError(f"expected {low} to {high} characters")
        if found := _CONTROL.search(text):
            raise ValueError(f"expected text without control characters, such as U+{ord(found.group()):04X}")
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
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,9})?", text, re.ASCII) or Fraction(text) > 100:
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
        raise ValueError('expected a date that exists, such as "2026-12-31"') from None


_DURATION = re.compile(r"(?=[0-9])(?:([0-9]{1,4})d)?(?:([0-9]{1,4})h)?(?:([0-9]{1,5})m)?(?:([0-9]{1,6})s)?", re.ASCII)


def _duration(text: str) -> datetime.timedelta:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError('expected a duration such as "24h", "30m" or "1d12h"')
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return datetime.timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


_URI_PATTERN = "(s3|gs|https?|oci|file)://[!-~]{1,2000}"
_URI = re.compile(_URI_PATTERN)


def _uri(text: str) -> str:
    if not _URI.fullmatch(text):
        raise ValueError('expected a URI such as "s3://bucket/model.onnx" (s3, gs, http, https, oci or file)')
    return text


_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9])?", re.ASCII)


def _label_value(text: str) -> str:
    if not _LABEL_VALUE.fullmatch(text):
        raise ValueError(
            "expected a label value: at most 63 letters, digits, '-', '_' and '.', starting and ending with a letter or digit"
        )
    return text


_cohort_text = _text(1, 63)


def _cohort_name(text: str) -> str:
    if any(ord(character) > 0xFFFF for character in text):  # it becomes a key of canonical JSON, which sorts no others
        raise ValueError("expected text of 1 to 63 characters of the Basic Multilingual Plane")
    return _cohort_text(text)


_LABEL_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", re.ASCII)


def _label_key(text: str) -> str:
    prefix, slash, name = text.rpartition("/")
    if not name or not _LABEL_VALUE.fullmatch(name) or (slash and not _LABEL_PREFIX.fullmatch(prefix)):
        raise ValueError(
            'expected a label name such as "region" or "example.com/region", the name at most 63 characters'
        )
    return text


_KEY = re.compile(r"[A-Za-z_][-A-Za-z0-9_.]{0,62}", re.ASCII)


def _key(text: str) -> str:
    if not _KEY.fullmatch(text):
        raise ValueError("expected at most 63 letters, digits, '-', '_' and '.', starting with a letter or '_'")
    return text


def _label_value_present(text: str) -> str:
    if not text:
        raise ValueError("expected 1 to 63 characters")
    return _label_value(text)


_CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9]"
_WINDOW = re.compile(f"({_CLOCK})-({_CLOCK})", re.ASCII)


def _window(text: str) -> str:
    match = _WINDOW.fullmatch(text)
    if match is None or match[1] == match[3]:
        raise ValueError('expected a window of local time such as "01:00-05:00" (it may pass midnight)')
    return text


_ZONE_PATTERN = "[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}"
_ZONE = re.compile(_ZONE_PATTERN, re.ASCII)


def _time_zone(text: str) -> str:
    """A name that the machine's time zones have; on a machine without any, one of the right form."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # few fleets name one

    def there_is(name: str) -> bool:
        with contextlib.suppress(ZoneInfoNotFoundError, ValueError, OSError):
            return bool(ZoneInfo(name))
        return False

    if not _ZONE.fullmatch(text) or len(text) > 64 or (not there_is(text) and there_is("Europe/Berlin")):
        raise ValueError('expected an IANA time zone such as "Europe/Berlin"')
    return text


def _os_version(text: str) -> str:
    parse_os_version(text)
    return text


def _tag(text: str) -> str:
    if text not in TAGS:
        raise ValueError(f"expected one of {', '.join(TAGS)}")
    return text


def _confidence(text: str) -> Decimal:
    value = parse_decimal(text)
    if not Decimal("0.5") <= value < 1:
        raise ValueError("expected a confidence from 0.5 to below 1, such as 0.95")
    return value


def _more_than_nothing(text: str) -> Quantity:
    quantity = Quantity.parse(text)
    if not quantity.value:
        raise ValueError("expected a quantity of more than 0")
    return quantity


def _version_text(text: str) -> str:
    Version.parse(text)
    return text


_LABEL_PATTERN = r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)"
_DECIMAL_PATTERN = r"[0-9]{1,18}(\.[0-9]{1,18})?"


def _string(**schema: object) -> dict[str, Any]:
    return {"type": "string", **schema}


def _decimal(low: int | None = None, high: int | None = None, pattern: str = f"^{_DECIMAL_PATTERN}$") -> dict[str, Any]:
    bounds = {key: bound for key, bound in (("minimum", low), ("maximum", high)) if bound is not None}
    return {"anyOf": [{"type": "number", **bounds}, _string(pattern=pattern)]}


_CIDR_PATTERN = "[0-9a-fA-F.:]{2,45}/[0-9]{1,3}"


def _cidr(text: str) -> str:
    try:
        network = ipaddress.ip_network(text if re.fullmatch(_CIDR_PATTERN, text, re.ASCII) else "")
    except ValueError:
        raise ValueError(
            'expected addresses such as "203.0.113.0/24" or "2001:db8::/32", without bits beyond the prefix'
        ) from None
    return str(network)


def _host(text: str) -> str:
    if not re.fullmatch(_HOST_PATTERN, text, re.ASCII) or len(text) > 253 or text.rpartition(".")[2].isdigit():
        raise ValueError('expected a host name such as "models.example.com"')
    return text


_HOST_PATTERN = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*"

NAME = Scalar(
    "name",
    parse_name,
    'a name (RFC 1123) such as "camera-emea-1"',
    Accepts.TEXT,
    _string(maxLength=253, pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$"),
)
LABEL_NAME = Scalar(
    "label name",
    parse_label_name,
    "a name of at most 63 characters (RFC 1123)",
    Accepts.TEXT,
    _string(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
)
TEXT = Scalar(
    "text",
    _text(1, 2048),
    "text of 1 to 2048 characters",
    Accepts.TEXT,
    _string(minLength=1, maxLength=2048, pattern=_TEXT_PATTERN),
)
ANNOTATION = Scalar(
    "annotation",
    _text(0, 65536),
    "text of at most 65536 characters",
    Accepts.TEXT,
    _string(maxLength=65536, pattern=_TEXT_PATTERN),
)
COHORT_NAME = Scalar(
    "cohort name",
    _cohort_name,
    "text of 1 to 63 characters",
    Accepts.TEXT,
    _string(minLength=1, maxLength=63, pattern=_TEXT_PATTERN),
)
LABEL_KEY = Scalar(
    "label key",
    _label_key,
    'a label name such as "region" or "example.com/region"',
    Accepts.TEXT,
    _string(pattern=rf"^([a-z0-9]([-a-z0-9.]{{0,251}}[a-z0-9])?/)?{_LABEL_PATTERN}$"),
)
LABEL_VALUE = Scalar(
    "label value", _label_value, "a label value", Accepts.TEXT, _string(pattern=f"^{_LABEL_PATTERN}?$")
)
REGION = Scalar(
    "region",
    _label_value_present,
    'the value of a "region" label',
    Accepts.TEXT,
    _string(pattern=f"^{_LABEL_PATTERN}$"),
)
KEY = Scalar(
    "key", _key, 'a key such as "enableDetails"', Accepts.TEXT, _string(pattern=r"^[A-Za-z_][-A-Za-z0-9_.]{0,62}$")
)
TAG = Scalar("tag", _tag, f"one of {', '.join(TAGS)}", Accepts.TEXT, _string(enum=list(TAGS)))
VERSION = Scalar(
    "version",
    _version_text,
    'a semantic version in quotes such as "2.1.0"',
    Accepts.TEXT,
    _string(maxLength=128, pattern=f"^{SEMVER_PATTERN}$"),
)
OS_VERSION = Scalar(
    "OS version",
    _os_version,
    'an OS version such as "iOS16" or "16.4"',
    Accepts.TEXT,
    _string(maxLength=32, pattern=r"^([A-Za-z]{1,16} ?)?[0-9]{1,5}(\.[0-9]{1,5}){0,3}$"),
)
DIGEST = Scalar(
    "digest", Digest.parse, '"sha256:" and 64 hex digits', Accepts.TEXT, _string(pattern="^sha256:[0-9a-f]{64}$")
)
_QUANTITY_SCHEMA = {
    "anyOf": [
        _string(
            maxLength=64,
            pattern=r"^(\+?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})|-0+(\.0*)?|-\.0+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]{1,3})?$",
        ),
        {"type": "number", "minimum": 0},
    ]
}
QUANTITY = Scalar(
    "quantity", Quantity.parse, 'a quantity such as "500m", "0.5" or "1Gi"', Accepts.TEXT_OR_NUMBER, _QUANTITY_SCHEMA
)
SIZE = Scalar(
    "quantity above 0",
    _more_than_nothing,
    'a quantity such as "500m", "0.5" or "1Gi", more than 0',
    Accepts.TEXT_OR_NUMBER,
    _QUANTITY_SCHEMA,
)
CURRENCY = Scalar(
    "currency", parse_currency, 'an ISO 4217 code such as "EUR"', Accepts.TEXT, _string(pattern="^[A-Z]{3}$")
)
NUMBER = Scalar("number", _non_negative, "a decimal number that is not negative", Accepts.TEXT_OR_NUMBER, _decimal(0))
SIGNED = Scalar(
    "signed number",
    parse_decimal,
    "a decimal number",
    Accepts.TEXT_OR_NUMBER,
    _decimal(pattern=f"^-?{_DECIMAL_PATTERN}$"),
)
RATIO = Scalar(
    "ratio",
    _ratio,
    "a number from 0 to 1",
    Accepts.TEXT_OR_NUMBER,
    _decimal(0, 1, r"^0{0,17}(0(\.[0-9]{1,18})?|1(\.0{1,18})?)$"),
)
CONFIDENCE = Scalar(
    "confidence",
    _confidence,
    "a confidence from 0.5 to below 1, such as 0.95",
    Accepts.TEXT_OR_NUMBER,
    {
        "anyOf": [
            {"type": "number", "minimum": 0.5, "exclusiveMaximum": 1},
            _string(pattern=r"^0{1,18}\.[5-9][0-9]{0,17}$"),
        ]
    },
)
PERCENT = Scalar(
    "percent",
    _percent,
    "a percentage from 0 to 100",
    Accepts.TEXT_OR_NUMBER,
    _decimal(0, 100, r"^(0?[0-9]{1,2}(\.[0-9]{1,9})?|100(\.0{1,9})?)$"),
)
DATE = Scalar(
    "date",
    _date,
    'a date such as "2026-12-31"',
    Accepts.TEXT,
    _string(format="date", pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$"),
)
DURATION = Scalar(
    "duration",
    _duration,
    'a duration such as "24h"',
    Accepts.TEXT,
    _string(minLength=2, pattern="^([0-9]{1,4}d)?([0-9]{1,4}h)?([0-9]{1,5}m)?([0-9]{1,6}s)?$"),
)
WINDOW = Scalar(
    "window",
    _window,
    'a window of local time such as "01:00-05:00"',
    Accepts.TEXT,
    _string(pattern=f"^{_CLOCK}-{_CLOCK}$"),
)
TIME_ZONE = Scalar(
    "time zone",
    _time_zone,
    'an IANA time zone such as "Europe/Berlin"',
    Accepts.TEXT,
    _string(maxLength=64, pattern=f"^{_ZONE_PATTERN}$"),
)
URI = Scalar(
    "uri",
    _uri,
    'a URI such as "s3://bucket/model.onnx"',
    Accepts.TEXT,
    _string(pattern=f"^{_URI_PATTERN}$"),
)
CIDR = Scalar(
    "CIDR",
    _cidr,
    'addresses such as "203.0.113.0/24"',
    Accepts.TEXT,
    _string(maxLength=49, pattern=f"^{_CIDR_PATTERN}$"),
)
HOST = Scalar(
    "host",
    _host,
    'a host name such as "models.example.com"',
    Accepts.TEXT,
    _string(maxLength=253, pattern=f"^{_HOST_PATTERN}$"),
)

NameField = Annotated[str, NAME]
LabelNameField = Annotated[str, LABEL_NAME]
TextField = Annotated[str, TEXT]
AnnotationField = Annotated[str, ANNOTATION]
CohortNameField = Annotated[str, COHORT_NAME]
LabelKeyField = Annotated[str, LABEL_KEY]
LabelValueField = Annotated[str, LABEL_VALUE]
RegionField = Annotated[str, REGION]
KeyField = Annotated[str, KEY]
TagField = Annotated[str, TAG]
VersionField = Annotated[str, VERSION]
OsVersionField = Annotated[str, OS_VERSION]
DigestField = Annotated[Digest, DIGEST]
QuantityField = Annotated[Quantity, QUANTITY]
SizeField = Annotated[Quantity, SIZE]
CurrencyField = Annotated[str, CURRENCY]
NumberField = Annotated[Decimal, NUMBER]
SignedField = Annotated[Decimal, SIGNED]
RatioField = Annotated[Decimal, RATIO]
ConfidenceField = Annotated[Decimal, CONFIDENCE]
PercentField = Annotated[Fraction, PERCENT]
DateField = Annotated[datetime.date, DATE]
DurationField = Annotated[datetime.timedelta, DURATION]
WindowField = Annotated[str, WINDOW]
TimeZoneField = Annotated[str, TIME_ZONE]
UriField = Annotated[str, URI]
CidrField = Annotated[str, CIDR]
HostField = Annotated[str, HOST]
PortField = Annotated[int, integer(1, 65535)]
CountField = Annotated[int, integer(0, 2**31 - 1)]
PositiveField = Annotated[int, integer(1, 2**31 - 1)]
BytesField = Annotated[int, integer(0, 2**40)]
PercentIntField = Annotated[int, integer(0, 100)]
ApiLevelField = Annotated[int, integer(1, 10_000)]
