"""The ledger as one hash-linked table of SQLite.

The content of an entry is the canonical JSON of its index, the previous entry's hash and the record; its hash is the
SHA-256 of these bytes. Triggers refuse every change of an existing row: no guard against somebody who owns the file
(that is what the links and :mod:`trimtab_bot.ledger.verification` are for), but one against mistakes.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from trimtab_bot.ledger.interface import GENESIS, Entry, EntryKind, Head, LedgerConflictError, Record
from trimtab_bot.store.engine import open_sqlite
from trimtab_kernel.canonical import canonical_json
from trimtab_kernel.problems import OutsideError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_METADATA = sa.MetaData()
_ENTRIES = sa.Table(
    "entries",
    _METADATA,
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("key", sa.Text, nullable=False, unique=True),
    sa.Column("subject", sa.Text, nullable=False, index=True),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
)
_GUARDS = tuple(
    f"CREATE TRIGGER IF NOT EXISTS entries_no_{word} BEFORE {word.upper()} ON entries "
    f"BEGIN SELECT RAISE(ABORT, 'the ledger is append only'); END"
    for word in ("update", "delete")
)


class SqliteLedger:
    """A :class:`trimtab_bot.ledger.interface.LedgerStore` in one file. Safe for several threads and processes."""

    def __init__(self, path: Path, *, reading: bool = False) -> None:
        """Opens the file, and makes what is missing of it unless it is opened for ``reading`` alone.

        Raises :class:`OutsideError` where the file cannot be used.
        """
        if reading and not path.is_file():
            raise OutsideError(f"there is no ledger at {path}")
        self._engine = open_sqlite(path)
        self._name = path.name
        if reading:
            return
        with self._answering(), self._engine.begin() as connection:
            _METADATA.create_all(connection)
            for guard in _GUARDS:
                connection.exec_driver_sql(guard)

    def close(self) -> None:
        """Lets go of the file."""
        self._engine.dispose()

    def append(self, record: Record) -> Entry:
        """See the port. The write lock is taken first, so that two writers never see the same head."""
        with self._answering(), self._engine.begin() as connection:
            existing = connection.execute(sa.select(_ENTRIES).where(_ENTRIES.c.key == record.key)).first()
            if existing is not None:
                entry = _entry(existing)
                if (entry.record.kind, entry.record.subject, entry.record.body) != (
                    record.kind,
                    record.subject,
                    json.loads(canonical_json(dict(record.body))),
                ):
                    raise LedgerConflictError(f"B506 the ledger already has another entry under the key {record.key}")
                return entry
            head = _head(connection)
            index = head.index + 1 if head else 1
            previous = head.hash if head else GENESIS
            content = canonical_json(
                {
                    "index": index,
                    "previous": previous,
                    "key": record.key,
                    "kind": record.kind.value,
                    "at": record.at,
                    "subject": record.subject,
                    "body": record.body,
                }
            )
            digest = hashlib.sha256(content).hexdigest()
            connection.execute(
                _ENTRIES.insert().values(
                    position=index, key=record.key, subject=record.subject, content=content, hash=digest
                )
            )
        return Entry(index, previous, digest, record)

    def head(self) -> Head | None:
        """See the port."""
        with self._answering(), self._engine.connect().execution_options(reading=True) as connection:
            return _head(connection)

    def entries(self, subject: str | None = None) -> Iterator[Entry]:
        """See the port."""
        query = sa.select(_ENTRIES).order_by(_ENTRIES.c.position)
        if subject is not None:
            query = query.where(_ENTRIES.c.subject == subject)
        with self._answering(), self._engine.connect().execution_options(reading=True) as connection:
            for row in connection.execute(query).all():
                yield _entry(row)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Turns what the database says of the file, the disk or locks into our error."""
        try:
            yield
        except sa.exc.DatabaseError as error:
            raise OutsideError(f"the ledger {self._name} does not answer: {error.orig}") from error


def _head(connection: sa.Connection) -> Head | None:
    query = sa.select(_ENTRIES.c.position, _ENTRIES.c.hash).order_by(_ENTRIES.c.position.desc()).limit(1)
    row = connection.execute(query).first()
    return None if row is None else Head(row.position, row.hash)


def _entry(row: sa.Row[Any]) -> Entry:
    try:
        data = json.loads(row.content)
        record = Record(data["key"], EntryKind(data["kind"]), data["at"], data["subject"], data["body"])
    except (ValueError, TypeError, KeyError, RecursionError):
        reason = (
            f"entry {row.position} of the ledger cannot be read; 'trimtab ledger verify' says what is wrong with it"
        )
        raise OutsideError(reason) from None
    return Entry(row.position, data["previous"], row.hash, record)
