"""Which column of a file means what: names are compared without case and punctuation.

``lineItem/UnblendedCost`` of a CSV is ``line_item_unblended_cost`` of a Parquet file, ``BillingCurrencyCode`` is
``billingCurrencyCode``: providers spell one column differently from one format, agreement or version to the next.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from trimtab_config.bills.cells import CellError, shown, sorted_tags
from trimtab_config.bills.cells import tags as tags_of
from trimtab_kernel.problems import InputError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from trimtab_config.bills.files import Rows

T = TypeVar("T")
_PUNCTUATION = re.compile(r"[^a-z0-9]")
_TAG_PREFIXES = ("resourceTags/", "resource_tags_")


def bare(name: str) -> str:
    """A column's name without case and punctuation."""
    return _PUNCTUATION.sub("", name.lower())


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of one kind of bill: every name that a field may have, the best first.

    ``needed`` are the fields without which a file is no bill of this kind, ``nothing`` the texts that stand for an empty
    cell.
    """

    names: Mapping[str, tuple[str, ...]]
    needed: tuple[str, ...]
    nothing: frozenset[str] = frozenset()

    def bind(self, header: Sequence[str], file: str) -> Bound:
        """The fields that a header has, by place. Raises InputError (F702) for each needed one that is not there."""
        places: dict[str, int] = {}
        for place, name in enumerate(header):
            places.setdefault(bare(name), place)
        found = {}
        for field, names in self.names.items():
            place_of = next((places[bare(name)] for name in names if bare(name) in places), None)
            if place_of is not None:
                found[field] = place_of
        missing = [field for field in self.needed if field not in found]
        if missing:
            raise InputError(
                *(
                    Problem(
                        "F702",
                        file,
                        1,
                        self.names[field][0],
                        "no such column",
                        " or ".join(self.names[field]),
                        "--kind says whose bill it is; include the column in the export",
                    )
                    for field in missing
                )
            )
        tags = tuple(
            (place, name[len(prefix) :])
            for place, name in enumerate(header)
            for prefix in _TAG_PREFIXES
            if name.startswith(prefix)
        )
        return Bound(found, tuple(header), tags, file, self.nothing)


class Bound:
    """Columns of one file, and the cells of the row that was set last.

    Values are texts as the file has them, or pairs of texts where a Parquet file holds a map.
    """

    __slots__ = ("_found", "_header", "_nothing", "_tags", "file", "line", "row")

    def __init__(
        self,
        found: Mapping[str, int],
        header: tuple[str, ...],
        tags: tuple[tuple[int, str], ...],
        file: str,
        nothing: frozenset[str],
    ) -> None:
        self._nothing = nothing
        self._found = found
        self._header = header
        self._tags = tags
        self.file = file
        self.line = 0
        self.row: Sequence[object] = ()

    @property
    def used(self) -> tuple[int, ...]:
        """Places of all columns that are ever read."""
        return tuple(sorted({*self._found.values(), *(place for place, _ in self._tags)}))

    @property
    def header(self) -> tuple[str, ...]:
        """The names of all columns of the file."""
        return self._header

    def over(self, rows: Rows) -> Iterator[Sequence[object]]:
        """Each row of the file in turn, set as the one whose cells are read."""
        for line, row in rows.wanted(self.used):
            self.line, self.row = line, row
            yield row

    def has(self, field: str) -> bool:
        """Whether the file has the column."""
        return field in self._found

    def text(self, field: str) -> str:
        """The cell; "" where there is none."""
        place = self._found.get(field)
        if place is None:
            return ""
        value = self.row[place]
        if isinstance(value, str):
            return "" if value in self._nothing else value
        return "" if value is None else str(value)

    def read(self, field: str, parse: Callable[[str], T]) -> T:
        """The cell, parsed. Raises InputError (F703) that names file, line and column."""
        text = self.text(field)
        try:
            return parse(text)
        except CellError as error:
            name = self._header[self._found[field]] if field in self._found else field
            raise InputError(Problem("F703", self.file, self.line, name, shown(text), str(error))) from None

    def tags(self, field: str = "tags") -> tuple[tuple[str, str], ...]:
        """Tags of the row: those of a map or of JSON in one column, and those that have columns of their own."""
        own = [(key, str(self.row[place])) for place, key in self._tags if self.row[place]]
        whole: tuple[tuple[str, str], ...] = ()
        place = self._found.get(field)
        if place is not None:
            value = self.row[place]
            if isinstance(value, tuple):
                whole = value
            elif value and value not in self._nothing:
                whole = self.read(field, tags_of)
        if not own:
            return whole
        return sorted_tags({**dict(whole), **dict(own)}.items())
