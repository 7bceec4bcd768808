"""Canonical bytes: one text per value, so that digests mean something.

JSON with keys sorted by code point, no white space, UTF-8 unescaped, no floats: exact numbers are integers or strings.
This is RFC 8785 (JCS) restricted to strings, integers, booleans, null, lists and objects whose keys are in the Basic
Multilingual Plane; outside that restriction the function refuses instead of guessing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from trimtab_kernel.identity import Digest

Json: TypeAlias = "bool | int | str | Sequence[Json] | Mapping[str, Json] | None"
# Larger integers lose digits in readers that hold numbers as IEEE 754 doubles (RFC 8785 §3.2.2.3).
_MAX_SAFE = 2**53 - 1
_MAX_DEPTH = 64


class CanonicalError(ValueError):
    """The value has no canonical form; the message names the place."""


def canonical_json(value: Json) -> bytes:
    """The canonical bytes of ``value``. Raises :class:`CanonicalError` for floats, huge integers, odd keys, deep nesting."""
    if not _is_sound(value, 0):
        _check(value, "$", 0)  # says what is wrong, and where
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest_of(value: Json) -> Digest:
    """SHA-256 over the canonical bytes."""
    return Digest.of(canonical_json(value))


def _is_sound(value: object, depth: int) -> bool:
    """Whether ``value`` is surely canonical: quick, of plain types alone. Where it says no, :func:`_check` decides."""
    if depth > _MAX_DEPTH:
        return False
    kind = type(value)
    if kind is dict:
        assert isinstance(value, dict)
        for key, item in value.items():
            if type(key) is not str or not key.isascii():
                return False
            if type(item) is str:
                if not item.isascii():
                    return False
            elif not _is_sound(item, depth + 1):
                return False
        return True
    if kind is str:
        assert isinstance(value, str)
        return value.isascii()
    if kind is list or kind is tuple:
        assert isinstance(value, (list, tuple))
        return all(_is_sound(item, depth + 1) for item in value)
    if kind is int:
        assert isinstance(value, int)
        return -_MAX_SAFE <= value <= _MAX_SAFE
    return value is None or kind is bool


def _check(value: object, place: str, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise CanonicalError(f"{place}: nested deeper than {_MAX_DEPTH}")
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, str):
        _check_text(value, place)
    elif isinstance(value, int):
        if abs(value) > _MAX_SAFE:
            raise CanonicalError(f"{place}: integer beyond 2^53-1; write it as a string")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise CanonicalError(f"{place}: key {key!r} is not a string")
            _check_text(key, place)
            if not key.isascii() and any(ord(character) > 0xFFFF for character in key):
                raise CanonicalError(f"{place}: key outside the Basic Multilingual Plane")
            _check(item, f"{place}.{key}", depth + 1)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _check(item, f"{place}[{index}]", depth + 1)
    else:
        raise CanonicalError(f"{place}: {type(value).__name__} has no canonical form; use a string or an integer")


def _check_text(text: str, place: str) -> None:
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        raise CanonicalError(f"{place}: lone surrogate in text") from None
