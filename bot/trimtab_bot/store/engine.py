"""SQLite as the bot uses it: a write-ahead log, every commit on disk before it counts, writers in turn."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import sqlalchemy as sa

from trimtab_kernel.problems import OutsideError

if TYPE_CHECKING:
    from pathlib import Path

BUSY_SECONDS = 30.0


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


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    # The driver must not begin transactions by itself: its BEGIN is deferred, and a reader that turns writer can fail.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: sa.Connection) -> None:
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
