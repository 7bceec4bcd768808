"""The store's own roads: older stores are taken over, new ones are made at once, and both end in one schema."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from tests.bot.approvals.table import NOW
from tests.bot.store.samples import incident, proposal
from trimtab_bot.codec import encode
from trimtab_bot.records import ChatMessage, TimelineRecord
from trimtab_bot.store import migrations, tables
from trimtab_bot.store.engine import open_postgresql, open_sqlite
from trimtab_bot.store.migrations import FOLDER, HEAD, migrate
from trimtab_bot.store.sql import SqlStore
from trimtab_kernel.problems import InputError, OutsideError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.postgresql import Postgresql

# The schema as programs before Alembic made it, word for word.
COUNTED = """
CREATE TABLE schema_version (version INTEGER NOT NULL, PRIMARY KEY (version));
CREATE TABLE incidents (number INTEGER NOT NULL, id TEXT NOT NULL, concern TEXT NOT NULL, model TEXT NOT NULL,
  version TEXT NOT NULL, is_open BOOLEAN NOT NULL, body TEXT NOT NULL, PRIMARY KEY (number), UNIQUE (id));
CREATE UNIQUE INDEX one_open_incident ON incidents (concern, model, version) WHERE is_open IS 1;
CREATE TABLE proposals (number INTEGER NOT NULL, id TEXT NOT NULL, "key" TEXT NOT NULL, incident_id TEXT NOT NULL,
  is_settled BOOLEAN NOT NULL, body TEXT NOT NULL, PRIMARY KEY (number), UNIQUE (id), UNIQUE ("key"),
  FOREIGN KEY(incident_id) REFERENCES incidents (id));
CREATE INDEX ix_proposals_incident_id ON proposals (incident_id);
CREATE INDEX ix_proposals_is_settled ON proposals (is_settled);
CREATE TABLE timeline (number INTEGER NOT NULL, subject TEXT NOT NULL, at FLOAT NOT NULL, text TEXT NOT NULL,
  PRIMARY KEY (number));
CREATE INDEX ix_timeline_subject ON timeline (subject);
CREATE TABLE verified_states (model TEXT NOT NULL, device_group TEXT NOT NULL, commit_id TEXT NOT NULL,
  body TEXT NOT NULL, PRIMARY KEY (model, device_group, commit_id));
CREATE TABLE ledger_outbox (number INTEGER NOT NULL, "key" TEXT NOT NULL, body TEXT NOT NULL, entry_index INTEGER,
  entry_hash TEXT, PRIMARY KEY (number), UNIQUE ("key"));
CREATE INDEX ledger_outbox_pending ON ledger_outbox (number) WHERE entry_index IS NULL;
"""
CHAT = "CREATE TABLE chat_messages (incident TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (incident));"


def older(path: Path, version: int) -> None:
    """A store as version 1 or 2 left it, with records in it."""
    import sqlite3
    from contextlib import closing

    SqlStore.open(path.with_name("donor.db")).close()
    donor = SqlStore.open(path.with_name("donor.db"))
    with donor.transaction() as work:
        work.put_incident(incident())
        work.put_proposal(proposal())
        work.add_timeline(TimelineRecord("i-1", NOW, "breach found"))
    donor.close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(COUNTED + (CHAT if version > 1 else ""))
        connection.executemany("INSERT INTO schema_version VALUES (?)", [(each,) for each in range(1, version + 1)])
        connection.execute("ATTACH DATABASE ? AS donor", (str(path.with_name("donor.db")),))
        for table in ("incidents", "proposals", "timeline"):
            connection.execute(f"INSERT INTO {table} SELECT * FROM donor.{table}")  # noqa: S608 - names of ours


@pytest.mark.parametrize("version", [1, 2])
def test_an_older_store_is_taken_over_with_all_that_is_in_it(tmp_path: Path, version: int) -> None:
    older(tmp_path / "bot.db", version)
    store = SqlStore.open(tmp_path / "bot.db")
    with store.reading() as view:
        assert view.incident("i-1") == incident()
        assert view.proposals() == (proposal(),)
        assert [entry.text for entry in view.timeline("i-1")] == ["breach found"]
        assert [each.incident for each in view.unsaid()] == ["i-1"], "chat looks at everything once more"
    assert shape(store._engine) == shape(new(tmp_path / "new.db"))
    with store._engine.connect() as connection:
        assert connection.execute(sa.select(sa.func.max(tables.SCHEMA.c.version))).scalar() == tables.COUNTED_LAST
    store.close()


def new(path: Path) -> sa.Engine:
    store = SqlStore.open(path)
    store.close()
    return store._engine


def shape(engine: sa.Engine) -> dict[str, object]:
    """Everything that a schema promises: columns with type and nullness, keys, indexes with conditions, links."""
    inspector = sa.inspect(engine)
    found: dict[str, object] = {}
    for table in sorted(inspector.get_table_names()):
        indexes = [
            (
                each["name"],
                tuple(each["column_names"]),
                bool(each["unique"]),
                str(sorted((key, str(value)) for key, value in each["dialect_options"].items())),
            )
            for each in inspector.get_indexes(table)
        ]
        found[table] = (
            [(each["name"], str(each["type"]), each["nullable"]) for each in inspector.get_columns(table)],
            inspector.get_pk_constraint(table)["constrained_columns"],
            sorted(indexes, key=str),
            sorted(tuple(each["column_names"]) for each in inspector.get_unique_constraints(table)),
            [(each["constrained_columns"], each["referred_table"]) for each in inspector.get_foreign_keys(table)],
        )
    engine.dispose()
    return found


def stepped(engine: sa.Engine, folder: Path) -> None:
    """All steps, one by one, on an empty database."""
    with engine.begin() as connection:
        migrate(connection, "here", folder)


def test_the_steps_and_the_tables_are_one_schema(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "steps")
    engine = open_sqlite(tmp_path / "stepped.db")
    stepped(engine, tmp_path / "steps")
    assert shape(engine) == shape(new(tmp_path / "new.db"))
    with engine.connect() as connection:
        assert connection.execute(sa.select(tables.ALEMBIC.c.version_num)).scalars().all() == [HEAD]
    engine.dispose()


def test_what_one_workspace_was_told_before_there_were_several_is_not_told_again(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "steps")
    (tmp_path / "steps" / "versions" / "v0004_workspaces.py").unlink()
    engine = open_sqlite(tmp_path / "bot.db")
    stepped(engine, tmp_path / "steps")
    written = encode(ChatMessage("i-1", "C1", "1.1", "d", NOW, ask="", final=False))
    assert isinstance(written, dict)
    body = json.dumps({name: value for name, value in written.items() if name != "workspace"})
    with engine.begin() as connection:
        for name, concern in (("i-1", "fairness"), ("i-2", "cost")):
            connection.execute(
                tables.INCIDENTS.insert().values(
                    id=name, concern=concern, model="m", version="1", is_open=True, body="{}"
                )
            )
        connection.execute(sa.text("INSERT INTO chat_messages VALUES ('i-1', :body)"), {"body": body})
        connection.execute(sa.text("INSERT INTO chat_outbox VALUES ('i-2', 5)"))
    store = SqlStore(engine, "bot.db")
    with store.reading() as view:
        assert [each.incident for each in view.unsaid()] == ["i-2"]
        assert {each.incident for each in view.unsaid("T1")} == {"i-1", "i-2"}
        known = view.chat_message("i-1")
        assert known is not None
        assert (known.id, known.workspace) == ("1.1", "")
    store.close()


@pytest.mark.lab
def test_the_steps_and_the_tables_are_one_schema_in_postgresql(tmp_path: Path, postgresql: Postgresql) -> None:
    shutil.copytree(FOLDER, tmp_path / "steps")
    engine = open_postgresql(postgresql.database(), 1)
    stepped(engine, tmp_path / "steps")
    store = SqlStore.connect(postgresql.database())
    assert shape(engine) == shape(store._engine)
    store.close()
    engine.dispose()


def test_a_counted_store_that_is_newer_is_refused(tmp_path: Path) -> None:
    older(tmp_path / "bot.db", 2)
    engine = open_sqlite(tmp_path / "bot.db")
    with engine.begin() as connection:
        connection.execute(tables.SCHEMA.insert().values(version=3))
    with pytest.raises(InputError, match="B109"):
        SqlStore(engine, "bot.db")
    engine.dispose()


STEP = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = {own!r}, {before!r}
def upgrade():
    op.create_table("table_of_" + revision, sa.Column("x", sa.Integer))
    {more}
"""


def test_missing_steps_run_once_and_together(tmp_path: Path) -> None:
    """A step that fails undoes those before it in the same start; the next start runs them all."""
    engine = open_sqlite(tmp_path / "bot.db")
    SqlStore(engine, "bot.db").close()
    shutil.copytree(FOLDER, tmp_path / "steps")
    versions = tmp_path / "steps" / "versions"
    (versions / "a.py").write_text(STEP.format(own="a", before=HEAD, more=""))
    (versions / "b.py").write_text(STEP.format(own="b", before="a", more='raise RuntimeError("the power went")'))
    with pytest.raises(RuntimeError, match="power"):
        stepped(engine, tmp_path / "steps")
    with engine.connect() as connection:
        assert "table_of_a" not in sa.inspect(connection).get_table_names()
        assert connection.execute(sa.select(tables.ALEMBIC.c.version_num)).scalars().all() == [HEAD]
    (versions / "b.py").write_text(STEP.format(own="b", before="a", more="assert True"))
    shutil.rmtree(versions / "__pycache__", ignore_errors=True)
    for _ in range(2):
        stepped(engine, tmp_path / "steps")
    with engine.connect() as connection:
        assert {"table_of_a", "table_of_b"} <= set(sa.inspect(connection).get_table_names())
        assert connection.execute(sa.select(tables.ALEMBIC.c.version_num)).scalars().all() == ["b"]
    engine.dispose()


def test_a_new_store_needs_no_alembic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is imported only where an older store is taken over."""

    def refused(*_: object) -> None:
        raise AssertionError("a new store went through the steps")

    monkeypatch.setattr(migrations, "_upgrade", refused)
    for _ in range(2):
        SqlStore.open(tmp_path / "bot.db").close()


def test_a_disk_that_does_not_answer_is_an_outside_failure(tmp_path: Path) -> None:
    (tmp_path / "bot.db").mkdir()
    with pytest.raises(OutsideError, match="bot\\.db"):
        SqlStore.open(tmp_path / "bot.db")


@pytest.mark.parametrize("text", ["", "sqlite:///x", "mysql://a@b/c", "postgresql+asyncpg://a@b/c", "hunter2@db"])
def test_an_address_of_another_kind_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(InputError, match="B111") as caught:
        SqlStore.connect(text)
    assert "hunter2" not in str(caught.value)


def test_a_server_that_is_not_there_is_an_outside_failure(tmp_path: Path) -> None:
    with pytest.raises(OutsideError, match="does not answer") as caught:
        SqlStore.connect(f"postgresql://trimtab:hunter2@/x?host={tmp_path}")
    assert "hunter2" not in str(caught.value)
