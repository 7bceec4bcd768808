"""Files of bills as streams of rows: CSV, CSV in gzip or zip, Parquet. Never more than a batch of a file is in memory.

Lines are 1-based and those of the text for a CSV (a quoted cell may span several; the last one counts), those of the
rows for a Parquet file.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import zipfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from trimtab_config.bills.cells import sorted_tags
from trimtab_kernel.problems import InputError, OutsideError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

MAX_LINE = 1024 * 1024
MAX_FILES = 20_000
MAX_COLUMNS = 4096
_BATCH = 8192
_SUFFIXES = (".csv", ".csv.gz", ".csv.zip", ".zip", ".gz", ".parquet", ".json")
_PARQUET = b"PAR1"
_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class BillFile:
    """One file of a bill. ``delivery`` is the folder it lies in: parts that were delivered together lie together."""

    path: Path
    name: str
    delivery: str


def bill_files(path: Path) -> tuple[BillFile, ...]:
    """The files at a path: itself, or all in a folder and below that look like parts of a bill, by name.

    Manifests (``*manifest*.json``) are not bills. Links and what is no file are passed over. Raises InputError (F701,
    F706) where there is nothing to read, or far too much.
    """
    if not path.is_dir():
        if not path.is_file():
            raise InputError(Problem("F701", str(path), 0, "", "no such file or folder", "a bill"))
        return (BillFile(path, path.as_posix(), ""),)
    found = []
    for each in sorted(path.rglob("*")):
        name = each.name.lower()
        if name.endswith(_SUFFIXES) and "manifest" not in name and each.is_file() and not each.is_symlink():
            found.append(BillFile(each, each.as_posix(), each.parent.as_posix()))
            if len(found) > MAX_FILES:
                raise InputError(Problem("F701", str(path), 0, "", "more files", f"at most {MAX_FILES}"))
    if not found:
        raise InputError(Problem("F706", str(path), 0, "", "no file of a bill", f"some of {', '.join(_SUFFIXES)}"))
    return tuple(found)


def digest(file: BillFile) -> str:
    """SHA-256 of the bytes. Raises OutsideError where they cannot be read."""
    found = hashlib.sha256()
    try:
        with file.path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                found.update(chunk)
    except OSError as error:
        raise OutsideError(f"{file.name}: {error.strerror or error}") from None
    return found.hexdigest()


class Rows:
    """The rows of one file: ``header``, then (line, cells) one after another.

    A Parquet file gives no more than the columns at the places ``wanted``, and None for the others.
    """

    def __init__(
        self, header: tuple[str, ...], rows: Callable[[frozenset[int]], Iterator[tuple[int, Sequence[object]]]]
    ) -> None:
        self.header = header
        self._rows = rows

    def wanted(self, places: Iterable[int]) -> Iterator[tuple[int, Sequence[object]]]:
        """The rows, once."""
        return self._rows(frozenset(places))


@contextmanager
def open_rows(file: BillFile) -> Iterator[Rows]:
    """The rows of a file, while it is open. Raises InputError (F701) where it is not what its name says, while reading too."""
    try:
        with file.path.open("rb") as stream:
            start = stream.read(4)
            stream.seek(0)
            if start == _PARQUET:
                with _parquet(file) as rows:
                    yield rows
            elif start[:2] == b"\x1f\x8b":
                with gzip.open(stream) as inner:
                    yield _csv(file, cast("IO[bytes]", inner))
            elif start == b"PK\x03\x04":
                with zipfile.ZipFile(stream) as archive, archive.open(_member(file, archive)) as inner:
                    yield _csv(file, inner)
            else:
                yield _csv(file, stream)
    except (EOFError, zipfile.BadZipFile, gzip.BadGzipFile, NotImplementedError, RuntimeError) as error:
        raise InputError(_unreadable(file, 0, str(error))) from None
    except OSError as error:
        raise OutsideError(f"{file.name}: {error.strerror or error}") from None


def _member(file: BillFile, archive: zipfile.ZipFile) -> str:
    names = [name for name in archive.namelist() if name.lower().endswith(".csv")]
    if len(names) != 1:
        raise InputError(_unreadable(file, 0, f"{len(names)} CSV files in the archive"))
    return names[0]


def _unreadable(file: BillFile, line: int, got: str) -> Problem:
    return Problem("F701", file.name, line, "", got, "a CSV (plain, gzip, zip) or Parquet file", "download it again")


def _lines(file: BillFile, stream: IO[bytes]) -> Iterator[str]:
    """The lines of a text, each checked before it grows beyond what a row can be."""
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    line = 0
    try:
        while found := text.readline(MAX_LINE):
            line += 1
            if len(found) >= MAX_LINE and not found.endswith("\n"):
                raise InputError(_unreadable(file, line, f"a line of more than {MAX_LINE} characters"))
            if "\0" in found:
                raise InputError(_unreadable(file, line, "a NUL character"))
            yield found
    except UnicodeDecodeError:
        raise InputError(_unreadable(file, line + 1, "bytes that are not UTF-8")) from None
    except EOFError:
        raise InputError(_unreadable(file, line + 1, "a file that ends in the middle")) from None
    finally:
        # The file is not this function's to close; where its owner has, there is nothing to let go of.
        with suppress(ValueError):
            text.detach()


def _csv(file: BillFile, stream: IO[bytes]) -> Rows:
    reader = csv.reader(_lines(file, stream), strict=True)
    try:
        header = next(reader, None)
    except csv.Error as error:
        raise InputError(_unreadable(file, reader.line_num, str(error))) from None
    if not header or len(header) > MAX_COLUMNS:
        raise InputError(_unreadable(file, 1, "no header" if not header else f"{len(header)} columns"))
    names = tuple(header)

    def rows(_wanted: frozenset[int]) -> Iterator[tuple[int, Sequence[object]]]:
        try:
            for cells in reader:
                if len(cells) != len(names):
                    if not cells:
                        continue
                    got = f"{len(cells)} cells"
                    expected = f"{len(names)}, as the header has"
                    raise InputError(Problem("F703", file.name, reader.line_num, "", got, expected))
                yield reader.line_num, cells
        except csv.Error as error:
            raise InputError(_unreadable(file, reader.line_num, str(error))) from None

    return Rows(names, rows)


@contextmanager
def _parquet(file: BillFile) -> Iterator[Rows]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        opened = parquet.ParquetFile(file.path, memory_map=True)
    except (pa.ArrowException, OSError) as error:
        raise InputError(_unreadable(file, 0, str(error).splitlines()[0])) from None
    with opened:
        names = tuple(opened.schema_arrow.names)
        if len(names) > MAX_COLUMNS:
            raise InputError(_unreadable(file, 0, f"{len(names)} columns"))

        def rows(wanted: frozenset[int]) -> Iterator[tuple[int, Sequence[object]]]:
            line = 0
            try:
                for batch in opened.iter_batches(batch_size=_BATCH, columns=[names[place] for place in sorted(wanted)]):
                    read = {
                        name: [_cell(value) for value in batch.column(name).to_pylist()] for name in batch.schema.names
                    }
                    nothing = [None] * batch.num_rows
                    columns = [read.get(name, nothing) for name in names]
                    for cells in zip(*columns, strict=True):
                        line += 1
                        yield line, cells
            except (pa.ArrowException, OSError) as error:
                raise InputError(_unreadable(file, line + 1, str(error).splitlines()[0])) from None

        yield Rows(names, rows)


def _cell(value: object) -> object:
    """A typed cell as text. A float has the shortest decimal that is this float: what people see of it."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, list):  # a map of text to text, as pairs
        return sorted_tags((str(pair[0]), str(pair[1])) for pair in value if pair[1] is not None)
    if isinstance(value, dict):
        return sorted_tags((str(key), str(each)) for key, each in value.items() if each is not None)
    isoformat = getattr(value, "isoformat", None)
    return isoformat() if isoformat is not None else str(value)
