"""Cells of a bill: texts of a known form, or a sentence about what was expected."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING

from trimtab_config.bills.charges import MOST
from trimtab_kernel.money import MoneyError, parse_currency
from trimtab_kernel.problems import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable

_NUMBER = re.compile(r"[-+]?(?:[0-9]{1,30}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][-+]?[0-9]{1,2})?", re.ASCII)
_MONTH_DAY_YEAR = re.compile(r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})", re.ASCII)
_FRACTION = re.compile(r"\.([0-9]{6})[0-9]+")
_MOST_TAGS = 200
_MOST_TAG_TEXT = 64 * 1024


class CellError(ValueError):
    """The text has not the form that its column takes; the message says which one would do."""


def number(text: str) -> Decimal:
    """An exact decimal, with or without an exponent, smaller than 10^14. Raises :class:`CellError`."""
    text = text.strip()
    if not _NUMBER.fullmatch(text):
        raise CellError('a decimal number such as "0.0125"')
    value = Decimal(text)
    if not -MOST < value < MOST:
        raise CellError("an amount below 10^14")
    return value


@lru_cache(maxsize=8192)
def moment(text: str) -> datetime:
    """A point in time, UTC unless it says otherwise: ISO 8601, or ``MM/DD/YYYY`` as Azure writes days.

    A word ``UTC`` behind it, as warehouses write it, says what is so anyway.
    """
    text = text.strip().removesuffix(" UTC")
    american = _MONTH_DAY_YEAR.fullmatch(text)
    try:
        if american:
            return datetime(int(american[3]), int(american[1]), int(american[2]), tzinfo=UTC)
        # Nanoseconds, as Parquet has them, are cut: no bill is that fine.
        found = datetime.fromisoformat(_FRACTION.sub(r".\1", text))
    except ValueError:
        raise CellError('a time such as "2026-10-01T00:00:00Z"') from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


@lru_cache(maxsize=256)
def currency(text: str) -> str:
    """An ISO 4217 code."""
    try:
        return parse_currency(text.strip())
    except MoneyError as error:
        raise CellError(str(error).removeprefix("expected ")) from None


def month_of(when: datetime) -> tuple[date, date]:
    """The calendar month (UTC) as first day and first day of the next."""
    first = when.date().replace(day=1)
    return first, (first + timedelta(days=32)).replace(day=1)


@lru_cache(maxsize=8192)
def tags(text: str) -> tuple[tuple[str, str], ...]:
    """Tags written as JSON, sorted by key.

    An object, with or without its braces (Azure leaves them out), or a list of ``{"key": ..., "value": ...}``. A value that is not text is written as JSON; an empty text is no tags.
    """
    text = text.strip()
    if text in {"", "null", "{}", "[]"}:
        return ()
    if len(text) > _MOST_TAG_TEXT:
        raise CellError(f"at most {_MOST_TAG_TEXT} characters of tags")
    try:
        found = json.loads(text if text.startswith(("{", "[")) else f"{{{text}}}")
    except (ValueError, RecursionError):
        raise CellError('tags as JSON such as {"team": "vision"}') from None
    if isinstance(found, list):
        found = _pairs(found)
    if not isinstance(found, dict):
        raise CellError('tags as JSON such as {"team": "vision"}')
    return sorted_tags((str(key), _plain(value)) for key, value in found.items() if value is not None)


def sorted_tags(found: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Pairs of texts without those that have no value, sorted by key."""
    pairs = tuple(sorted((key, value) for key, value in found if value))
    if len(pairs) > _MOST_TAGS:
        raise CellError(f"at most {_MOST_TAGS} tags")
    return pairs


def shown(text: str) -> str:
    """A cell as a message shows it."""
    return quoted(text) if text else "nothing"


def _pairs(found: list[object]) -> dict[str, object] | None:
    """A list of keys with values as one object; None where it is another list."""
    pairs: dict[str, object] = {}
    for each in found:
        if not isinstance(each, dict):
            return None
        named = {str(name).lower(): value for name, value in each.items()}
        key = named.get("key")
        if not isinstance(key, str) or key in pairs:
            return None
        pairs[key] = named.get("value")
    return pairs


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
