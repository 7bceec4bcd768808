"""Runs one tier of tests by its marker: `tools/tier.py lab|long [PYTEST_ARGS...]`.

A tier without any test yet is not a failure: one line says so, and the exit code is 0. Every other outcome is pytest's.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence

import pytest

TIERS = ("lab", "long")


def _is_empty(tier: str) -> bool:
    """Whether pytest finds no test of the tier; a tree that it cannot read is not empty, the real run shows why."""
    command = [sys.executable, "-m", "pytest", "-m", tier, "--collect-only", "-q"]
    return subprocess.run(command, capture_output=True, check=False).returncode == pytest.ExitCode.NO_TESTS_COLLECTED


def main(arguments: Sequence[str]) -> int:
    """Runs the tier; returns pytest's exit code, or 0 where the tier is empty."""
    parser = argparse.ArgumentParser(prog="tools/tier.py", description=__doc__)
    parser.add_argument("tier", choices=TIERS)
    given, passed_on = parser.parse_known_args(arguments)
    if _is_empty(given.tier):
        sys.stdout.write(f"{given.tier}: no test is marked so yet, nothing was run\n")
        return 0
    return int(pytest.main(["-m", given.tier, *passed_on]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
