"""Problems as the text that Argo CD copies into an Application: short, the place first, the code always there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trimtab_kernel.problems import Problem

MAX_BYTES = 1024
_SHOWN = 3
_PLACE = 160  # bytes of file, line and field
_LINE = 300  # bytes of one problem


def diagnosis(problems: Sequence[Problem], folder: str = "") -> str:
    """The first three problems, one line each, and how many more there are. At most 1 KiB of UTF-8."""
    lines = [_line(problem) for problem in problems[:_SHOWN]]
    rest = len(problems) - len(lines)
    if rest:
        lines.append(f"and {rest} more; 'trimtab validate {cut(folder or '.', 60)}' shows all")
    return cut("\n".join(lines), MAX_BYTES)


def _line(problem: Problem) -> str:
    text = str(problem)
    head, found, body = text.partition(f": {problem.code}")
    if not found:  # without a place: it begins with the code
        return cut(text, _LINE)
    return cut(f"{_middle_cut(head, _PLACE)}{found}{body}", _LINE)


def _middle_cut(text: str, limit: int) -> str:
    """Both ends of ``text``: of a long path the file's name and the field are what a reader needs."""
    raw = text.encode()
    if len(raw) <= limit:
        return text
    kept = (limit - 3) // 2
    return f"{raw[:kept].decode('utf-8', 'ignore')}...{raw[-kept:].decode('utf-8', 'ignore')}"


def cut(text: str, limit: int) -> str:
    """``text`` of at most ``limit`` bytes of UTF-8, whole characters."""
    raw = text.encode("utf-8", "replace")
    return text if len(raw) <= limit else f"{raw[: limit - 3].decode('utf-8', 'ignore')}..."
