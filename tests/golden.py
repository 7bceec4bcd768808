"""Golden folders: what a door of the compiler gives for ``input`` is what lies in ``expected``, file by file.

``pytest --update-golden`` writes what was got; a mismatch without it shows a unified diff.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

CASES = Path(__file__).parent / "cases"


def cases(door: str) -> list[Path]:
    """The folders of one door, by name."""
    return sorted(path for path in (CASES / door).iterdir() if (path / "input").is_dir())


def compare(case: Path, got: Mapping[str, str], *, update: bool) -> None:
    """Assert that ``got`` (text by path) is exactly what ``case/expected`` holds, or write it there."""
    expected = case / "expected"
    if update:
        for path in expected.rglob("*"):
            if path.is_file() and path.relative_to(expected).as_posix() not in got:
                path.unlink()
        for name, text in got.items():
            path = expected / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return
    there = {
        path.relative_to(expected).as_posix(): path.read_text(encoding="utf-8")
        for path in expected.rglob("*")
        if path.is_file()
    }
    differences = []
    for name in sorted({*there, *got}):
        lines = difflib.unified_diff(
            there.get(name, "").splitlines(),
            got.get(name, "").splitlines(),
            f"expected/{name}" if name in there else "(no such file)",
            f"got/{name}" if name in got else "(nothing)",
            lineterm="",
        )
        differences += list(lines) or ([f"{name}: differs in line ends"] if there.get(name) != got.get(name) else [])
    assert not differences, "\n".join([f"{case.name}:", *differences])
