"""The schema's history, in Alembic's form: numbered steps forward, all that are missing in one transaction.

A step never changes after it was released; a new need is a new file in ``versions`` and a new :data:`HEAD`. There is no way
back: an older program refuses state that a newer one wrote, instead of acting on half of it. A new database is made as the
tables are now and marked as being at :data:`HEAD`; a test proves that both roads lead to one schema. So Alembic is imported
only where something has to be brought up to date.
"""

from __future__ import annotations

import threading
from pathlib import Path

import sqlalchemy as sa

from trimtab_bot.store import tables
from trimtab_kernel.problems import InputError, Problem, quoted

FOLDER = Path(__file__).parent
HEAD = "0004"
"""The newest step."""

# What programs before Alembic counted in the table `schema_version`, and the step that each number stands for.
_COUNTED = {1: "0001", 2: "0002"}
# Alembic's context is one for the process.
_LOCK = threading.Lock()


def migrate(connection: sa.Connection, place: str, folder: Path = FOLDER) -> str | None:
    """Bring the schema up to date within the caller's transaction; gives the step before, None for a new database.

    Raises InputError (B109) for a schema that is newer than this program.
    """
    found = _step(connection, place)
    if found == HEAD and folder == FOLDER:
        return found
    if found is None and folder == FOLDER:
        tables.METADATA.create_all(connection)
        connection.execute(tables.SCHEMA.insert().values(version=tables.COUNTED_LAST))
        connection.execute(tables.ALEMBIC.insert().values(version_num=HEAD))
        return None
    _upgrade(connection, place, folder, found)
    return found


def _step(connection: sa.Connection, place: str) -> str | None:
    """Where the schema stands. A store from before Alembic is marked with the step that it is at."""
    there = set(sa.inspect(connection).get_table_names())
    if tables.ALEMBIC.name in there:
        found: str | None = connection.execute(sa.select(tables.ALEMBIC.c.version_num)).scalar()
        return found
    if tables.SCHEMA.name not in there:
        return None
    counted: int = connection.execute(sa.select(sa.func.max(tables.SCHEMA.c.version))).scalar() or 0
    if counted not in _COUNTED:
        raise InputError(
            Problem("B109", file=place, got=f"schema version {counted}", expected=f"at most {max(_COUNTED)}")
        )
    tables.ALEMBIC.create(connection)
    connection.execute(tables.ALEMBIC.insert().values(version_num=_COUNTED[counted]))
    return _COUNTED[counted]


def _upgrade(connection: sa.Connection, place: str, folder: Path, found: str | None) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    configuration = Config(attributes={"connection": connection})
    configuration.set_main_option("script_location", str(folder).replace("%", "%%"))
    scripts = ScriptDirectory.from_config(configuration)
    known = {script.revision for script in scripts.walk_revisions()}
    if found is not None and found not in known:
        expected = f"at most {quoted(scripts.get_current_head())}"
        raise InputError(Problem("B109", file=place, got=f"schema step {quoted(found)}", expected=expected))
    with _LOCK:
        command.upgrade(configuration, "head")
