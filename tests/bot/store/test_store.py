"""The store keeps records exactly, all of a transaction or nothing of it, and one open incident of a kind."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from tests.bot.approvals.table import NOW
from tests.bot.store.samples import incident, proposal
from trimtab_bot.ledger.interface import EntryKind, Head, Record
from trimtab_bot.records import IncidentPhase, TimelineRecord, VerifiedState
from trimtab_bot.store import migrations, tables
from trimtab_bot.store.engine import open_sqlite
from trimtab_bot.store.sql import SqlStore
from trimtab_kernel.problems import InputError, OutsideError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    opened = SqlStore.open(tmp_path / "state" / "bot.db")
    yield opened
    opened.close()


def test_records_come_back_as_they_were(store: SqlStore) -> None:
    state = VerifiedState("triage", "emea-kiosk", "d" * 40, "sha256:" + "1" * 64, ("1.1.0",), NOW)
    with store.transaction() as work:
        work.put_incident(incident())
        work.put_proposal(proposal())
        work.add_timeline(TimelineRecord("i-1", NOW, "breach found"))
        work.add_timeline(TimelineRecord("i-1", NOW, "rollback proposed"))
        assert work.add_verified(state)
        assert not work.add_verified(state)
    with store.reading() as view:
        assert view.incident("i-1") == incident()
        assert view.incidents(open_only=True) == (incident(),)
        assert view.proposal("p-1") == proposal()
        assert view.proposals("i-1") == (proposal(),)
        assert view.proposals(unsettled_only=True) == (proposal(),)
        assert view.newest_timeline() == 2
        assert [entry.text for entry in view.timeline("i-1")] == ["breach found", "rollback proposed"]
        assert view.verified_states("triage") == (state,)
        assert view.incident("i-2") is None
        assert view.proposal("p-2") is None


def test_a_transaction_that_fails_leaves_nothing(store: SqlStore) -> None:
    class BoomError(Exception):
        pass

    def fail() -> None:
        with store.transaction() as work:
            work.put_incident(incident())
            raise BoomError

    with pytest.raises(BoomError):
        fail()
    with store.reading() as view:
        assert view.incidents() == ()


def test_there_is_one_open_incident_of_a_kind(store: SqlStore) -> None:
    with store.transaction() as work:
        work.put_incident(incident("i-1"))
    with pytest.raises(ValueError, match="i-2"), store.transaction() as work:
        work.put_incident(incident("i-2"))
    with store.transaction() as work:
        work.put_incident(incident("i-3", concern="cost"))
        work.put_incident(incident("i-1", phase=IncidentPhase.CLOSED))
        work.put_incident(incident("i-2"))
    with store.reading() as view:
        assert [each.id for each in view.incidents(open_only=True)] == ["i-3", "i-2"]


def test_a_settled_proposal_is_left_out_where_work_is_looked_for(store: SqlStore) -> None:
    with store.transaction() as work:
        work.put_incident(incident())
        work.put_proposal(proposal("p-1"))
        work.put_proposal(proposal("p-2", closed_on_host=True))
    with store.reading() as view:
        assert [each.id for each in view.proposals(unsettled_only=True)] == ["p-1"]
        assert [each.id for each in view.proposals("i-1")] == ["p-1", "p-2"]


def test_two_proposals_never_share_a_key(store: SqlStore) -> None:
    with store.transaction() as work:
        work.put_incident(incident())
        work.put_proposal(proposal("p-1"))
    with pytest.raises(ValueError, match="p-2"), store.transaction() as work:
        work.put_proposal(proposal("p-2", key=proposal("p-1").key))


def record(key: str) -> Record:
    return Record(key, EntryKind.INTENT, "2026-11-22T10:00:00.000Z", "p-1", {"a": 1})


def test_ledger_records_wait_in_order_until_they_are_written(store: SqlStore) -> None:
    with store.transaction() as work:
        work.add_record(record("b"))
        work.add_record(record("a"))
        work.add_record(record("b"))
        assert work.ledger_head() is None
    with store.reading() as view:
        waiting = view.pending_records()
    assert [each.record for each in waiting] == [record("b"), record("a")]
    with store.transaction() as work:
        work.mark_written(waiting[0].number, Head(7, "f" * 64))
    with store.reading() as view:
        assert [each.record.key for each in view.pending_records()] == ["a"]
        assert view.ledger_head() == Head(7, "f" * 64)


def test_a_reader_does_not_wait_for_a_writer_and_sees_what_was_before(store: SqlStore) -> None:
    with store.transaction() as work:
        work.put_incident(incident())
        with store.reading() as view:
            assert view.incidents() == ()


def test_writers_take_turns(store: SqlStore) -> None:
    """Read, change, write: no update is lost between threads."""
    with store.transaction() as work:
        work.put_incident(incident(escalated_because="0"))

    def count() -> None:
        for _ in range(10):
            with store.transaction() as work:
                now = work.incident("i-1")
                assert now is not None
                work.put_incident(incident(escalated_because=str(int(now.escalated_because) + 1)))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.reading() as view:
        counted = view.incident("i-1")
    assert counted is not None
    assert counted.escalated_because == "40"


def test_opening_again_changes_nothing(store: SqlStore, tmp_path: Path) -> None:
    with store.transaction() as work:
        work.put_incident(incident())
    again = SqlStore.open(tmp_path / "state" / "bot.db")
    with again.reading() as view:
        assert view.incidents() == (incident(),)
    again.close()


def test_an_older_program_refuses_newer_state(store: SqlStore, tmp_path: Path) -> None:
    engine = open_sqlite(tmp_path / "state" / "bot.db")
    with engine.begin() as connection:
        connection.execute(tables.SCHEMA.insert().values(version=len(migrations.STEPS) + 1))
    with pytest.raises(InputError, match="B109"):
        SqlStore(engine, "bot.db")
    engine.dispose()


def test_missing_steps_run_once_and_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that fails undoes those before it in the same start; the next start runs them all."""
    ran: list[str] = []

    def second(connection: sa.Connection) -> None:
        connection.execute(sa.text("CREATE TABLE second (x INTEGER)"))
        ran.append("second")

    def third(_: sa.Connection) -> None:
        ran.append("third")
        if ran.count("third") == 1:
            raise RuntimeError("the power went")

    SqlStore.open(tmp_path / "bot.db").close()
    monkeypatch.setattr(migrations, "STEPS", (*migrations.STEPS, second, third))
    with pytest.raises(RuntimeError, match="power"):
        SqlStore.open(tmp_path / "bot.db")
    SqlStore.open(tmp_path / "bot.db").close()
    SqlStore.open(tmp_path / "bot.db").close()
    assert ran == ["second", "third", "second", "third"]


def test_a_record_that_was_spoilt_is_an_outside_failure(store: SqlStore) -> None:
    with store.transaction() as work:
        work.put_incident(incident())
    with store._engine.begin() as connection:
        connection.execute(tables.INCIDENTS.update().values(body='{"id":"i-1"}'))
    with pytest.raises(OutsideError, match="cannot be read"), store.reading() as view:
        view.incidents()


def test_a_disk_that_does_not_answer_is_an_outside_failure(tmp_path: Path) -> None:
    (tmp_path / "bot.db").mkdir()
    with pytest.raises(OutsideError, match="bot\\.db"):
        SqlStore.open(tmp_path / "bot.db")
