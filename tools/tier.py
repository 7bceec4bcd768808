"""Runs one tier of tests by its marker: `tools/tier.py lab|long [PYTEST_ARGS...]`.

A tier without any test yet is not a failure: one line says so, and the exit code is 0. Every other outcome is pytest's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import pytest

TIERS = ("lab", "long")


class _Collected:
    """Remembers how many tests of the tier pytest found."""

    def __init__(self) -> None:
        self.count = 0

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Counts what is left after the marker has been applied."""
        self.count = len(session.items)


def _silent(tier: str) -> int:
    """How many tests the tier has; -1 where collecting them failed, which the loud run then shows."""
    collected = _Collected()
    code = pytest.main(["-m", tier, "--collect-only", "-qq", "--no-header", "-p", "no:terminal"], plugins=[collected])
    return collected.count if code in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED} else -1


def main(arguments: Sequence[str]) -> int:
    """Runs the tier; returns pytest's exit code, or 0 where the tier is empty."""
    parser = argparse.ArgumentParser(prog="tools/tier.py", description=__doc__)
    parser.add_argument("tier", choices=TIERS)
    given, passed_on = parser.parse_known_args(arguments)
    if _silent(given.tier) == 0:
        sys.stdout.write(f"{given.tier}: no test carries this marker yet, nothing was run\n")
        return 0
    return int(pytest.main(["-m", given.tier, *passed_on]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
