"""How a script among the clients tells what it found: one JSON object, a line per check, null or what went wrong."""

from __future__ import annotations

import json
import sys
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def report(checks: dict[str, Callable[[], None]]) -> None:
    """Run every check, and print what came of it."""
    found: dict[str, str | None] = {}
    for name, check in checks.items():
        try:
            check()
        except Exception:
            found[name] = traceback.format_exc()
        else:
            found[name] = None
    json.dump(found, sys.stdout)
