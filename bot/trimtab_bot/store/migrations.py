"""The schema's history: numbered steps forward, each run once, all that are missing in one transaction.

A step never changes after it was released; a new need is a new step. There is no way back: an older program refuses
state that a newer one wrote, instead of acting on half of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from trimtab_bot.store import tables
from trimtab_kernel.problems import InputError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable


def _first(connection: sa.Connection) -> None:
    """Everything that version 1 has."""
    for table in (tables.INCIDENTS, tables.PROPOSALS, tables.TIMELINE, tables.VERIFIED, tables.OUTBOX):
        table.create(connection)


def _chat(connection: sa.Connection) -> None:
    """Version 2: what was said in chat."""
    tables.CHAT.create(connection)


STEPS: tuple[Callable[[sa.Connection], None], ...] = (_first, _chat)
"""Step n leads from schema version n - 1 to n."""


def migrate(connection: sa.Connection, place: str) -> int:
    """Bring the schema up to date within the caller's transaction; gives the version before.

    Raises InputError (B109) for a schema that is newer than this program.
    """
    tables.SCHEMA.create(connection, checkfirst=True)
    found: int = connection.execute(sa.select(sa.func.max(tables.SCHEMA.c.version))).scalar() or 0
    if found > len(STEPS):
        raise InputError(Problem("B109", file=place, got=f"schema version {found}", expected=f"at most {len(STEPS)}"))
    for version, step in enumerate(STEPS[found:], start=found + 1):
        step(connection)
        connection.execute(tables.SCHEMA.insert().values(version=version))
    return found
