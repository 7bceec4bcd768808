"""Problems in the form of KRM results. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trimtab_kernel.problems import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trimtab_kernel.problems import Problem
    from trimtab_plugins.krm.resource_list import Identity, Item

_MEANT = re.compile(r'did you mean "([^"]*)"\?')


@dataclass(frozen=True, slots=True)
class Result:
    """One result of the functions specification; what is "" or None is left out."""

    message: str
    severity: str = "error"
    identity: Identity | None = None
    path: str = ""
    index: int | None = None
    field: str = ""
    current: str = ""
    proposed: str = ""
    tags: tuple[tuple[str, str], ...] = ()


def result_of(problem: Problem, items: Mapping[str, Item]) -> Result:
    """``items`` are those that were read, by the name that problems give them as a file."""
    item = items.get(problem.file)
    current = item.text_at(problem.field) if item and problem.field else ""
    meant = _MEANT.search(problem.hint) if current else None
    return Result(
        message=str(unplaced(problem)),
        identity=item.identity if item else None,
        path=item.path if item else "",
        index=item.index if item else None,
        field=problem.field,
        current=current,
        # Of a field that does not exist the name was meant, and not its value.
        proposed=meant[1] if meant and quoted(current) in problem.got else "",
        tags=(("code", problem.code),),
    )


def unplaced(problem: Problem) -> Problem:
    """Without its place, which a result names by itself."""
    return replace(problem, file="", line=0, field="")


def placed_in_item(problem: Problem) -> Problem:
    """Without the line: a ResourceList is written anew, so lines are no longer those of the author's file."""
    return replace(problem, line=0)
