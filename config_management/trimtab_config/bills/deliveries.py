"""Reading a bill as it was delivered: parts of it, parts that came twice, and periods that were delivered again.

Providers deliver the bill of a running month again and again, each time whole. What may be in a folder:

- the same file twice (equal bytes): read once, and said;
- two folders with the same account's bill of the same period: two deliveries, of which one counts. Which one is not
  guessed: that is refused, unless it was said that the one with the newest files counts;
- two files in one folder that begin with the same rows: two deliveries that somebody put together. Refused.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trimtab_config.bills.files import BillFile, bill_files, digest, open_rows
from trimtab_config.bills.layouts import LAYOUTS, Kind, period_key
from trimtab_config.bills.opencost import allocations
from trimtab_kernel.problems import InputError, OutsideError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date
    from pathlib import Path

    from trimtab_config.bills.charges import Charge

MAX_JSON = 64 * 1024 * 1024
MOST_PROBLEMS = 50
_COMPARED_ROWS = 500


@dataclass(slots=True)
class Delivered:
    """The charges of a bill, read once by :meth:`charges`; ``notes`` say what was left out and why, after that."""

    kind: Kind
    files: tuple[BillFile, ...]
    currency: str = ""
    left_out: frozenset[tuple[str, str, date]] = frozenset()
    """Delivery, account and first day of the period of what another delivery replaces."""
    notes: list[str] = field(default_factory=list)

    def charges(self) -> Iterator[Charge]:
        """One charge after another. Raises InputError at the end with every refused row (at most 50, then at once)."""
        problems: list[Problem] = []
        beginnings: dict[bytes, BillFile] = {}
        for file in self.files:
            if self.kind is Kind.OPENCOST:
                yield from allocations(_content(file), file.name, self.currency)
                continue
            try:
                yield from self._rows(file, problems, beginnings)
            except InputError as error:
                problems += error.problems
                if len(problems) >= MOST_PROBLEMS:
                    break
        if problems:
            raise InputError(*problems[:MOST_PROBLEMS])

    def _rows(self, file: BillFile, problems: list[Problem], beginnings: dict[bytes, BillFile]) -> Iterator[Charge]:
        layout = LAYOUTS[self.kind]
        skipped = 0
        compared = seen = 0
        others: dict[str, int] = {}
        mine: list[bytes] = []
        with open_rows(file) as rows:
            bound = layout.columns.bind(rows.header, file.name)
            for cells in bound.over(rows):
                if compared < _COMPARED_ROWS:
                    compared += 1
                    print_of = hashlib.blake2b(repr(cells).encode(errors="surrogatepass"), digest_size=16).digest()
                    mine.append(print_of)
                    other = beginnings.get(print_of)
                    if other is not None:
                        seen += 1
                        others[other.name] = others.get(other.name, 0) + 1
                try:
                    if self.left_out and (file.delivery, *period_key(self.kind, bound)) in self.left_out:
                        skipped += 1
                        continue
                    charge = layout.charge(bound)
                except InputError as error:
                    problems += error.problems
                    if len(problems) >= MOST_PROBLEMS:
                        raise InputError(*problems) from None
                    continue
                if compared == _COMPARED_ROWS and 2 * seen >= compared:
                    raise _overlap(file, others, seen, compared)
                yield charge
        if compared and not skipped and 2 * seen >= compared:
            raise _overlap(file, others, seen, compared)
        if not skipped:
            for each in mine:
                beginnings.setdefault(each, file)
        if skipped:
            self.notes.append(f"{file.name}: {skipped} rows of periods that a newer delivery has again are left out")


def deliveries(kind: Kind, path: Path, *, newest: bool = False, currency: str = "") -> Delivered:
    """The bill at a path: a file, or a folder with everything below it.

    ``newest``: of a period that several folders hold, the folder with the newest file counts. ``currency`` is OpenCost's,
    whose answers have none. Raises InputError (F701, F704, F706), OutsideError where a file cannot be read.
    """
    found = Delivered(kind, (), currency)
    by_content: dict[str, BillFile] = {}
    kept: list[BillFile] = []
    files = bill_files(path)
    for file in files:
        if kind is not Kind.OPENCOST and file.name.endswith(".json"):
            continue
        if kind is Kind.OPENCOST and len(files) > 1 and not file.name.endswith(".json"):
            continue
        if len(files) > 1:
            first = by_content.setdefault(digest(file), file)
            if first is not file:
                found.notes.append(f"{file.name}: the same bytes as {first.name}, read once")
                continue
        kept.append(file)
    found.files = tuple(kept)
    if not kept:
        raise InputError(Problem("F706", str(path), 0, "", f"no file of kind {kind.value}", "a part of the bill"))
    if len({file.delivery for file in kept}) > 1 and kind is not Kind.OPENCOST:
        found.left_out = _older(kind, kept, newest=newest)
    return found


def _older(kind: Kind, files: list[BillFile], *, newest: bool) -> frozenset[tuple[str, str, date]]:
    """What of the deliveries does not count. Raises InputError (F704) where that would be a guess."""
    held: dict[tuple[str, date], dict[str, list[BillFile]]] = {}
    for file in files:
        with open_rows(file) as rows:
            bound = LAYOUTS[kind].columns.bind(rows.header, file.name)
            keys = set()
            for _ in bound.over(rows):
                try:
                    keys.add(period_key(kind, bound))
                except InputError:
                    continue  # it is reported when the row itself is read
            for key in keys:
                held.setdefault(key, {}).setdefault(file.delivery, []).append(file)
    left_out = set()
    problems = []
    for (account, day), folders in sorted(held.items()):
        if len(folders) == 1:
            continue
        ages = {folder: max(_modified(file) for file in inside) for folder, inside in folders.items()}
        counts = max(ages, key=lambda folder: (ages[folder], folder))
        if newest and list(ages.values()).count(ages[counts]) == 1:
            left_out |= {(folder, account, day) for folder in folders if folder != counts}
            continue
        expected = "one delivery of a period"
        got = f"the period from {day} of account {account or '(none)'} in {len(folders)} folders"
        hint = f"keep one of {', '.join(sorted(folders))}, or --newest counts the one with the newest file"
        problems.append(Problem("F704", min(folders), 0, "", got, expected, hint))
    if problems:
        raise InputError(*problems)
    return frozenset(left_out)


def _modified(file: BillFile) -> int:
    try:
        return file.path.stat().st_mtime_ns
    except OSError as error:
        raise OutsideError(f"{file.name}: {error.strerror or error}") from None


def _content(file: BillFile) -> bytes:
    try:
        with file.path.open("rb") as stream:
            content = stream.read(MAX_JSON + 1)
    except OSError as error:
        raise OutsideError(f"{file.name}: {error.strerror or error}") from None
    if len(content) > MAX_JSON:
        raise InputError(
            Problem("F701", file.name, 0, "", f"more than {MAX_JSON} bytes", "an answer for a shorter window")
        )
    return content


def _overlap(file: BillFile, others: dict[str, int], seen: int, compared: int) -> InputError:
    other = max(others, key=lambda name: (others[name], name))
    got = f"{seen} of its first {compared} rows are in {other} as well"
    hint = "these are two deliveries of one bill: keep the newer one"
    return InputError(Problem("F705", file.name, 0, "", got, "parts of one delivery, each row in one of them", hint))
