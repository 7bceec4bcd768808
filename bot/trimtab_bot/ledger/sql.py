"""The ledger as one hash-linked table of a database.

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
from trimtab_bot.store.engine import open_postgresql, reading_options
from trimtab_kernel.canonical import canonical_json
from trimtab_kernel.problems import OutsideError, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

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
_GUARDS = {
    "sqlite": tuple(
        f"CREATE TRIGGER IF NOT EXISTS entries_no_{word} BEFORE {word.upper()} ON entries "
        f"BEGIN SELECT RAISE(ABORT, 'the ledger is append only'); END"
        for word in ("update", "delete")
    ),
    "postgresql": (
        """CREATE FUNCTION entries_append_only() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'the ledger is append only'; END $$""",
        """CREATE TRIGGER entries_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON entries
        FOR EACH STATEMENT EXECUTE FUNCTION entries_append_only()""",
    ),
}
_WRITERS = 0x7472696D02  # the advisory lock of those who write the ledger


class SqlLedger:
    """A :class:`trimtab_bot.ledger.interface.LedgerStore` in one database. Safe for several threads and processes."""

    def __init__(self, engine: sa.Engine, name: str, *, reading: bool = False) -> None:
        """Makes what is missing unless it is opened for ``reading`` alone. ``name`` is for messages.

        Raises :class:`OutsideError` where the database cannot be used.
        """
        self._engine = engine
        self._name = name
        if reading:
            return
        try:
            self._make()
        except BaseException:
            engine.dispose()
            raise

    def _make(self) -> None:
        engine = self._engine
        with self._answering(), engine.begin() as connection:
            new = not sa.inspect(connection).has_table(_ENTRIES.name)
            if new:
                _METADATA.create_all(connection)
            if new or engine.dialect.name == "sqlite":
                for guard in _GUARDS[engine.dialect.name]:
                    connection.exec_driver_sql(guard)

    @classmethod
    def connect(cls, url: str, *, reading: bool = False) -> SqlLedger:
        """The ledger in a PostgreSQL database. Raises InputError (B111) and OutsideError."""
        return cls(open_postgresql(url, _WRITERS), "in PostgreSQL", reading=reading)

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
        with self._answering(), self._engine.connect().execution_options(**reading_options(self._engine)) as connection:
            return _head(connection)

    def entries(self, subject: str | None = None) -> Iterator[Entry]:
        """See the port."""
        query = sa.select(_ENTRIES).order_by(_ENTRIES.c.position)
        if subject is not None:
            query = query.where(_ENTRIES.c.subject == subject)
        with self._answering(), self._engine.connect().execution_options(**reading_options(self._engine)) as connection:
            for row in connection.execute(query).all():
                yield _entry(row)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Turns what the database says of the file, the disk or locks into our error."""
        try:
            yield
        except sa.exc.DatabaseError as error:
            raise OutsideError(f"the ledger {self._name} does not answer: {printable(str(error.orig), 300)}") from error


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
