"""Argument types: each raises ValueError's cousin that argparse shows, saying what was expected."""

from __future__ import annotations

import argparse
import math
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def count(low: int, high: int) -> Callable[[str], int]:
    """A whole number within bounds."""

    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"expected a whole number from {low} to {high}, got {text!r}")
        return int(text)

    return parse


port = count(0, 65535)


def seconds(text: str) -> float:
    """A time in seconds, not negative."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 86400:
        raise argparse.ArgumentTypeError(f"expected seconds from 0 to 86400, got {text!r}")
    return value


def watts(text: str) -> float:
    """A power in watts, or an amount of watt hours; not negative."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1e6:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1000000, got {text!r}")
    return value


def epsilon(text: str) -> Decimal:
    """A parameter of differential privacy: a decimal number from 0.001 to 100."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("nan")
    if not (value.is_finite() and Decimal("0.001") <= value <= 100 and len(text) <= 16):
        raise argparse.ArgumentTypeError(f"expected a number from 0.001 to 100, got {text!r}")
    return value
