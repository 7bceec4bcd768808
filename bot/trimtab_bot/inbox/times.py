"""Times as people read them."""

from __future__ import annotations

import datetime


def utc(at: float) -> str:
    """``2026-11-22 03:04:05 UTC``."""
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def ago(at: float, now: float) -> str:
    """How long ago, in one unit: ``12 s ago``, ``3 min ago``, ``in 2 h``."""
    seconds = now - at
    size = abs(seconds)
    if size < 90:
        text = f"{size:.0f} s"
    elif size < 5400:
        text = f"{size / 60:.0f} min"
    elif size < 172800:
        text = f"{size / 3600:.0f} h"
    else:
        text = f"{size / 86400:.0f} days"
    return f"{text} ago" if seconds >= 0 else f"in {text}"
