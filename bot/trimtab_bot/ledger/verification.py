"""Is the ledger what it was when it was written? Checked by another road than the one that writes.

Nothing here is shared with the writer: rows are read by the bare driver, read only; the canonical
text is rebuilt by an encoder of its own; hashes and links are recomputed from the first entry on. What a chain of
hashes cannot show by itself is that its end was cut off, or that all of it was written anew: for that the verifier is
given the head that the bot wrote down elsewhere, and compares.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from trimtab_kernel.problems import OutsideError, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

_ROWS = "SELECT position, key, subject, content, hash FROM entries ORDER BY position"

_FIELDS = frozenset({"index", "previous", "key", "kind", "at", "subject", "body"})
_KINDS = frozenset({"evidence", "decision", "intent", "effect"})
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


@dataclass(frozen=True, slots=True)
class Fault:
    """The first entry that is not as it was written: its index (1-based), a code of the family B5, and what is wrong."""

    index: int
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Verification:
    """``entries`` were found good in order, up to ``head`` (hash of the last good one); ``fault`` is what came next."""

    entries: int
    head: str
    fault: Fault | None


def verify(path: Path, expected: tuple[int, str] | None = None) -> Verification:
    """Check every entry of the ledger at ``path``. ``expected``: index and hash of an entry that must be there.

    Raises :class:`OutsideError` where the file cannot be read as a ledger at all.
    """
    if not path.is_file():
        raise OutsideError(f"there is no ledger at {path}")

    @contextmanager
    def rows() -> Iterator[Iterable[tuple[object, ...]]]:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as connection:
            yield connection.execute(_ROWS)

    return _verify(str(path), rows, sqlite3.Error, expected)


def verify_postgresql(url: str, expected: tuple[int, str] | None = None) -> Verification:
    """As :func:`verify`, for the ledger in a PostgreSQL database. Nothing of ``url`` is ever shown."""
    import psycopg

    @contextmanager
    def rows() -> Iterator[Iterable[tuple[object, ...]]]:
        with psycopg.connect(url.replace("+psycopg", "", 1), connect_timeout=10) as connection:
            connection.read_only = True
            # A cursor that the server keeps: the ledger may be larger than memory.
            with connection.cursor("entries") as cursor:
                yield cursor.execute(_ROWS)

    return _verify("the database", rows, psycopg.Error, expected)


def _verify(
    place: str,
    rows: Callable[[], AbstractContextManager[Iterable[tuple[object, ...]]]],
    failure: type[Exception],
    expected: tuple[int, str] | None,
) -> Verification:
    count, previous = 0, "0" * 64
    seen: set[object] = set()
    try:
        with rows() as found:
            for position, key, subject, content, stored in found:
                fault = _check_entry(count + 1, previous, position, key, subject, content, stored)
                if fault is None and key in seen:
                    fault = ("B502", f"the key {key!r} was written before")
                if fault is None and expected and position == expected[0] and stored != expected[1]:
                    fault = ("B505", f"its hash is {str(stored)[:12]}, the bot noted {expected[1][:12]}")
                if fault is not None:
                    return Verification(count, previous, Fault(count + 1, *fault))
                count, previous = count + 1, str(stored)
                seen.add(key)
    except failure as error:
        reason = printable(str(error), 300)
        if count == 0:
            raise OutsideError(f"{place} cannot be read as a ledger: {reason}") from None
        return Verification(count, previous, Fault(count + 1, "B501", f"cannot be read: {reason}"))
    if expected and count < expected[0]:
        reason = f"missing: the bot noted {expected[0]} entries, here are {count}"
        return Verification(count, previous, Fault(count + 1, "B505", reason))
    return Verification(count, previous, None)


def _check_entry(
    index: int, previous: str, position: object, key: object, subject: object, content: object, stored: object
) -> tuple[str, str] | None:
    """What is wrong with one row, or None."""
    if position != index:
        return "B502", f"the entry after {index - 1} is numbered {position}"
    if not isinstance(content, bytes) or not isinstance(stored, str):
        return "B501", "the row has the wrong types"
    if hashlib.sha256(content).hexdigest() != stored:
        return "B504", "its content does not have the hash that was stored with it"
    try:
        data = json.loads(content.decode("utf-8"))
        again = _canonical(data)
    except (ValueError, TypeError, RecursionError) as error:
        return "B501", f"its content is not canonical JSON: {error}"
    if again.encode("utf-8", "surrogatepass") != content:
        return "B501", "its content is not in canonical form"
    if not isinstance(data, dict) or data.keys() != _FIELDS or data["kind"] not in _KINDS:
        return "B501", "its content does not have the fields of an entry"
    if data["previous"] != previous:
        return "B503", f"it links to {str(data['previous'])[:12]}, the entry before has the hash {previous[:12]}"
    if data["index"] != index or data["key"] != key or data["subject"] != subject:
        return "B502", "the columns beside its content say something else than the content"
    return None


def _canonical(value: object) -> str:
    """RFC 8785 restricted to what the ledger writes: no floats, keys of the Basic Multilingual Plane."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return '"' + "".join(_escaped(character) for character in value) + '"'
    if isinstance(value, list):
        return "[" + ",".join(_canonical(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{_canonical(key)}:{_canonical(value[key])}" for key in sorted(value)) + "}"
    raise ValueError(f"{type(value).__name__} is not allowed in an entry")


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    return f"\\u{ord(character):04x}" if ord(character) < 0x20 else character
