"""Days on a command line."""

from __future__ import annotations

import argparse
import datetime


def date(text: str) -> datetime.date:
    """A day written as in ISO 8601. Raises ArgumentTypeError."""
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'expected a date such as "2026-12-31", got "{text}"') from None
