"""Times and spans as text. Inside the bot a time is Unix seconds, rounded to milliseconds so that its text loses nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

Clock: TypeAlias = "Callable[[], float]"
"""Gives the present in Unix seconds. Injected, so that a test's clock may jump."""


def rounded(at: float) -> float:
    """``at`` to the millisecond."""
    return round(at, 3)


def moment_text(at: float) -> str:
    """RFC 3339 in UTC with milliseconds: ``2026-11-22T11:34:34.123Z``."""
    whole = datetime.fromtimestamp(rounded(at), UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{round(whole.microsecond / 1000):03d}Z"


def parse_moment(text: str) -> float:
    """The inverse of :func:`moment_text`. Raises ValueError."""
    return rounded(datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC).timestamp())


def clock_text(at: float) -> str:
    """For people: ``2026-11-22 11:34:34 UTC``."""
    return f"{datetime.fromtimestamp(rounded(at), UTC):%Y-%m-%d %H:%M:%S} UTC"


def span_text(seconds: float) -> str:
    """For people, two units at most: ``42 s``, ``3 min 12 s``, ``2 h 5 min``, ``3 d 4 h``."""
    if abs(seconds) < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, length, below, rest_unit in (("d", 86400, 3600, "h"), ("h", 3600, 60, "min"), ("min", 60, 1, "s")):
        if abs(whole) >= length:
            rest = whole % length // below
            return f"{whole // length} {unit} {rest} {rest_unit}" if rest else f"{whole // length} {unit}"
    return f"{whole} s"
