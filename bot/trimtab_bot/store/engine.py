"""The two databases as the bot uses them: every commit on disk before it counts, writers in turn, readers never waiting.

SQLite: a write-ahead log, ``synchronous=FULL``, transactions that begin IMMEDIATE. PostgreSQL: one advisory lock for all
writers of a store, taken as the first statement of a transaction, so that what it reads afterwards is what the writer before
it left; ``synchronous_commit=on``; readers see one snapshot.
"""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from trimtab_kernel.problems import InputError, OutsideError, Problem

if TYPE_CHECKING:
    from pathlib import Path

BUSY_SECONDS = 30.0
_CONNECT_SECONDS = 10
# A writer that was frozen in the middle of a transaction must not keep all others from writing for ever.
_OPTIONS = (
    "-c synchronous_commit=on -c lock_timeout=30s -c statement_timeout=60s -c idle_in_transaction_session_timeout=60s"
)

FAILURES = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.InternalError)
"""What the driver raises where the database, its disk or the way to it fails."""


def open_sqlite(path: Path) -> sa.Engine:
    """An engine whose transactions begin IMMEDIATE and end on disk (``synchronous=FULL``).

    Raises :class:`OutsideError` where the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise OutsideError(f"{path.parent} cannot be made: {error.strerror}") from None
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
    )
    sa.event.listen(engine, "connect", _prepare)
    sa.event.listen(engine, "begin", _begin)
    return engine


def open_postgresql(url: str, lock: int) -> sa.Engine:
    """An engine over PostgreSQL at ``url`` (``postgresql://user:password@host/database``), connected to when it is used.

    ``lock`` names the advisory lock of its writers. Raises InputError (B111); nothing of the URL is ever shown.
    """
    try:
        address = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        address = None
    if address is None or address.drivername not in ("postgresql", "postgresql+psycopg"):
        raise InputError(
            Problem("B111", field="database.urlFile", got="another text", expected="postgresql://USER@HOST/DATABASE")
        )
    given = address.query.get("options", "")
    options = " ".join((*((given,) if isinstance(given, str) else given), _OPTIONS)).strip()
    engine = sa.create_engine(
        address.set(drivername="postgresql+psycopg").difference_update_query(["options"]),
        connect_args={"connect_timeout": _CONNECT_SECONDS, "options": options, "tcp_user_timeout": 30_000},
        pool_pre_ping=True,
    )

    def begin(connection: sa.Connection) -> None:
        if not connection.get_execution_options().get("reading", False):
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({int(lock)})")

    sa.event.listen(engine, "begin", begin)
    return engine


def reading_options(engine: sa.Engine) -> dict[str, Any]:
    """Options of a connection that only reads, and sees one state of the database throughout."""
    if engine.dialect.name == "sqlite":
        return {"reading": True}
    return {"reading": True, "isolation_level": "REPEATABLE READ", "postgresql_readonly": True}


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    # The driver must not begin transactions by itself: its BEGIN is deferred, and a reader that turns writer can fail.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        _patiently(connection, f"PRAGMA {pragma}")


def _patiently(connection: sqlite3.Connection, statement: str) -> None:
    """SQLite does not wait by itself where two processes turn a new file to the write-ahead log together."""
    end = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute(statement).close()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.02)
        else:
            return


def _begin(connection: sa.Connection) -> None:
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
