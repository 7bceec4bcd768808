"""Adds up JUnit reports: `tools/test_reports.py FILE...` prints how many tests passed and how many did not."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree


def totals(reports: Iterable[str]) -> tuple[int, int]:
    """Tests passed, and failed or in error, over JUnit documents; what was skipped is in neither.

    Raises `xml.etree.ElementTree.ParseError` where a document was cut off, as by a run that was killed.
    """
    passed = failed = 0
    for report in reports:
        # Written by our own pytest a moment ago: nothing foreign is parsed.
        for suite in ElementTree.fromstring(report).iter("testsuite"):  # noqa: S314 - see above
            counts = {name: int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")}
            failed += counts["failures"] + counts["errors"]
            passed += counts["tests"] - counts["failures"] - counts["errors"] - counts["skipped"]
    return passed, failed


if __name__ == "__main__":
    print(*totals(Path(name).read_text("utf-8") for name in sys.argv[1:]))
