"""The ledger keeps what it was given, and its verifier finds whatever was changed since."""

from __future__ import annotations

import random
import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab_bot.ledger.interface import GENESIS, EntryKind, LedgerConflictError, Record
from trimtab_bot.ledger.sqlite import SqliteLedger
from trimtab_bot.ledger.verification import _canonical, verify
from trimtab_kernel.canonical import canonical_json
from trimtab_kernel.problems import OutsideError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trimtab_kernel.canonical import Json


def record(number: int, **more: str) -> Record:
    kind = list(EntryKind)[number % len(EntryKind)]
    at = f"2026-11-22T10:00:{number:02d}.000Z"
    body: dict[str, Json] = {"n": number, "text": 'a "quoted"\n\u20ac', **more}
    return Record(f"key-{number}", kind, at, f"incident-{number % 2}", body)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    made = SqliteLedger(tmp_path / "ledger.db")
    yield made
    made.close()


@pytest.mark.parametrize("size", range(8))
def test_a_ledger_of_any_size_verifies(ledger: SqliteLedger, tmp_path: Path, size: int) -> None:
    entries = [ledger.append(record(number)) for number in range(size)]
    found = verify(tmp_path / "ledger.db")
    assert (found.entries, found.fault) == (size, None)
    assert found.head == (entries[-1].hash if entries else GENESIS)
    assert [entry.previous for entry in entries] == [GENESIS, *(entry.hash for entry in entries)][:size]
    assert list(ledger.entries()) == entries
    assert list(ledger.entries("incident-1")) == entries[1::2]


def test_writing_the_same_again_leaves_one_entry(ledger: SqliteLedger) -> None:
    first = ledger.append(record(1))
    ledger.append(record(2))
    assert ledger.append(record(1)) == first
    head = ledger.head()
    assert head is not None
    assert head.index == 2


def test_the_same_key_with_another_content_is_refused(ledger: SqliteLedger) -> None:
    ledger.append(record(1))
    with pytest.raises(LedgerConflictError, match="B506"):
        ledger.append(record(1, more="words"))


def test_a_row_cannot_be_changed_or_removed_by_mistake(ledger: SqliteLedger, tmp_path: Path) -> None:
    ledger.append(record(1))
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        for statement in ("UPDATE entries SET hash = 'x'", "DELETE FROM entries"):
            with pytest.raises(sqlite3.IntegrityError, match="append only"):
                connection.execute(statement)


def test_writers_in_many_threads_leave_one_chain(ledger: SqliteLedger, tmp_path: Path) -> None:
    def write(first: int) -> None:
        for number in range(first, first + 8):
            ledger.append(record(number))

    threads = [threading.Thread(target=write, args=(first,)) for first in (0, 8, 16, 24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = verify(tmp_path / "ledger.db")
    assert (found.entries, found.fault) == (32, None)


def test_what_is_committed_is_synchronous_and_in_a_write_ahead_log(ledger: SqliteLedger) -> None:
    with ledger._engine.connect() as connection:
        assert connection.execute(sa.text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(sa.text("PRAGMA synchronous")).scalar() == 2  # FULL


def test_a_file_that_is_no_ledger_is_an_outside_failure_for_the_writer(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("not a database, but long enough to be looked at " * 40)
    with pytest.raises(OutsideError, match="does not answer"):
        SqliteLedger(tmp_path / "text.db")


def test_reading_makes_no_ledger_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(OutsideError, match="no ledger"):
        SqliteLedger(tmp_path / "none.db", reading=True)
    assert not (tmp_path / "none.db").exists()


# ---------------------------------------------------------------- tampering


def tamper(path: Path, statement: str, *values: object) -> None:
    """What somebody who owns the file can do: the guards go first."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("DROP TRIGGER IF EXISTS entries_no_update")
        connection.execute("DROP TRIGGER IF EXISTS entries_no_delete")
        connection.execute(statement, values)


@pytest.fixture
def written(ledger: SqliteLedger, tmp_path: Path) -> Path:
    for number in range(5):
        ledger.append(record(number))
    ledger.close()
    return tmp_path / "ledger.db"


SET = {
    "key": "UPDATE entries SET key = ? WHERE position = ?",
    "subject": "UPDATE entries SET subject = ? WHERE position = ?",
    "content": "UPDATE entries SET content = ? WHERE position = ?",
    "hash": "UPDATE entries SET hash = ? WHERE position = ?",
}


def test_a_flipped_bit_in_any_byte_is_found_at_its_entry(written: Path) -> None:
    """A seeded sample of the bytes of every column of every row; each of them is flipped back before the next."""
    chance = random.Random(20261122)  # noqa: S311 - a seeded sample, no secret
    with closing(sqlite3.connect(written)) as connection:
        rows = connection.execute("SELECT position, key, subject, content, hash FROM entries").fetchall()
    tried = 0
    for position, *values in rows:
        for column, value in zip(SET, values, strict=True):
            raw = value if isinstance(value, bytes) else value.encode()
            places = range(len(raw)) if len(raw) < 20 else chance.sample(range(len(raw)), 20)
            for place in places:
                flipped = bytearray(raw)
                # The low bits of a text column could give the text of another row, which the table refuses by itself.
                flipped[place] ^= 1 << (chance.randrange(8) if column == "content" else chance.randrange(4, 7))
                changed = bytes(flipped) if column == "content" else flipped.decode("ascii")
                tamper(written, SET[column], changed, position)
                found = verify(written)
                assert found.fault is not None, (position, column, place)
                assert found.fault.index == position, (column, place, found.fault)
                assert found.entries == position - 1
                tamper(written, SET[column], value, position)
                tried += 1
    assert tried > 200
    assert verify(written).fault is None


def rehashed(path: Path, position: int) -> None:
    """Change one entry's body and give it the hash that belongs to it, as a clever forger would."""
    import hashlib
    import json

    with closing(sqlite3.connect(path)) as connection:
        (content,) = connection.execute("SELECT content FROM entries WHERE position = ?", (position,)).fetchone()
    data = json.loads(content)
    data["body"]["n"] = 99
    forged = canonical_json(data)
    tamper(
        path,
        "UPDATE entries SET content = ?, hash = ? WHERE position = ?",
        *(forged, hashlib.sha256(forged).hexdigest(), position),
    )


@pytest.mark.parametrize("position", [1, 3, 4])
def test_an_entry_that_was_rewritten_with_its_hash_breaks_the_next_link(written: Path, position: int) -> None:
    rehashed(written, position)
    fault = verify(written).fault
    assert fault is not None
    assert (fault.index, fault.code) == (position + 1, "B503")


def test_the_last_entry_rewritten_is_found_by_the_head_that_the_bot_noted(written: Path) -> None:
    noted = verify(written).head
    rehashed(written, 5)
    assert verify(written).fault is None
    fault = verify(written, (5, noted)).fault
    assert fault is not None
    assert (fault.index, fault.code) == (5, "B505")


@pytest.mark.parametrize("gone", [1, 2, 5])
def test_a_missing_entry_is_found(written: Path, gone: int) -> None:
    noted = verify(written).head
    tamper(written, "DELETE FROM entries WHERE position = ?", gone)
    fault = verify(written, (5, noted)).fault
    assert fault is not None
    assert (fault.index, fault.code) == (gone, "B505" if gone == 5 else "B502")


def test_entries_that_changed_places_are_found(written: Path) -> None:
    tamper(written, "UPDATE entries SET position = position + 10 WHERE position IN (2, 3)")
    tamper(written, "UPDATE entries SET position = CASE position WHEN 12 THEN 3 ELSE 2 END WHERE position IN (12, 13)")
    fault = verify(written).fault
    assert fault is not None
    assert fault.index == 2


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{"a":1}', "fields"),
        (b"[1,2]", "fields"),
        (b'{"a": 1}', "canonical form"),
        (b"{\xff}", "not canonical JSON"),
        (b'{"a":1.5}', "not canonical JSON"),
        (b"[" * 100_000, "not canonical JSON"),
    ],
)
def test_content_that_is_not_an_entry_is_named_even_with_a_fitting_hash(
    written: Path, content: bytes, why: str
) -> None:
    import hashlib

    digest = hashlib.sha256(content).hexdigest()
    tamper(written, "UPDATE entries SET content = ?, hash = ? WHERE position = 1", content, digest)
    fault = verify(written).fault
    assert fault is not None
    assert (fault.index, fault.code) == (1, "B501")
    assert why in fault.reason


def test_what_is_no_ledger_is_an_outside_failure(tmp_path: Path) -> None:
    with pytest.raises(OutsideError, match="no ledger"):
        verify(tmp_path / "none.db")
    (tmp_path / "text.db").write_text("not a database, but long enough to be looked at " * 40)
    with pytest.raises(OutsideError, match="cannot be read"):
        verify(tmp_path / "text.db")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=5), inner)
    ),
    max_leaves=12,
)


@given(JSON)
@settings(max_examples=200)
def test_writer_and_verifier_agree_on_canonical_text_without_sharing_it(value: object) -> None:
    assert _canonical(value).encode() == canonical_json(value)  # type: ignore[arg-type]  # JSON by construction
