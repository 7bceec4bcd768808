"""What every store promises, over SQLite and over a real PostgreSQL (in the lab): the same tests for both."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.bot.approvals.table import NOW
from tests.bot.store.samples import incident, proposal
from trimtab_bot.ledger.interface import EntryKind, Head, Record
from trimtab_bot.records import ChatMessage, IncidentPhase, TimelineRecord, VerifiedState
from trimtab_bot.store import tables
from trimtab_bot.store.interface import Sealed, Ticket
from trimtab_bot.store.sql import SqlStore
from trimtab_kernel.problems import InputError, OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.lab.postgresql import Postgresql


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.lab)])
def again(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], SqlStore]:
    """Opens the store of this test, each time anew."""
    if request.param == "sqlite":
        return lambda: SqlStore.open(tmp_path / "state" / "bot.db")
    server: Postgresql = request.getfixturevalue("postgresql")
    url = server.database()
    return lambda: SqlStore.connect(url)


@pytest.fixture
def store(again: Callable[[], SqlStore]) -> Iterator[SqlStore]:
    opened = again()
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


def test_opening_again_changes_nothing(store: SqlStore, again: Callable[[], SqlStore]) -> None:
    with store.transaction() as work:
        work.put_incident(incident())
    another = again()
    with another.reading() as view:
        assert view.incidents() == (incident(),)
    another.close()


def test_two_that_open_a_new_store_together_make_one(again: Callable[[], SqlStore]) -> None:
    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(lambda _: again(), range(4)))
    with stores[0].transaction() as work:
        work.put_incident(incident())
    for each in stores:
        with each.reading() as view:
            assert view.incidents() == (incident(),)
        each.close()


def test_a_newer_schema_is_refused(store: SqlStore, again: Callable[[], SqlStore]) -> None:
    with store._engine.begin() as connection:
        connection.execute(tables.ALEMBIC.update().values(version_num="9999"))
    with pytest.raises(InputError, match="B109"):
        again()


def test_a_record_that_was_spoilt_is_an_outside_failure(store: SqlStore) -> None:
    with store.transaction() as work:
        work.put_incident(incident())
    with store._engine.begin() as connection:
        connection.execute(tables.INCIDENTS.update().values(body='{"id":"i-1"}'))
    with pytest.raises(OutsideError, match="cannot be read"), store.reading() as view:
        view.incidents()


def test_an_epoch_is_larger_than_every_one_before(store: SqlStore, again: Callable[[], SqlStore]) -> None:
    other = again()
    assert store_epoch(store) == 0

    def take(number: int) -> int:
        with (store, other)[number % 2].transaction() as work:
            return work.take_leadership(f"replica-{number}")

    with ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(take, range(12)))
    assert sorted(taken) == list(range(1, 13))
    assert store_epoch(other) == 12
    other.close()


def store_epoch(store: SqlStore) -> int:
    with store.reading() as view:
        return view.epoch()


def test_what_chat_has_not_said_waits_in_one_row_for_each_incident(store: SqlStore) -> None:
    with store.transaction() as work:
        work.put_incident(incident("i-1"))
        work.put_incident(incident("i-2", concern="cost"))
    with store.transaction() as work:
        work.add_timeline(TimelineRecord("i-1", NOW, "something"))
        work.add_timeline(TimelineRecord("i-1", NOW, "something more"))
    with store.reading() as view:
        second, first = view.unsaid()
    assert (second.incident, first.incident) == ("i-2", "i-1"), "the longest waiting first"
    with store.transaction() as work:
        work.put_proposal(proposal("p-1"))
    with store.transaction() as work:
        work.mark_said(first)  # but it has changed since
        work.mark_said(second)
    with store.reading() as view:
        assert [each.incident for each in view.unsaid()] == ["i-1"]


def test_a_delivery_counts_once(store: SqlStore) -> None:
    with store.transaction() as work:
        assert work.add_delivery("slack", "e-1", NOW, "{}")
        assert not work.add_delivery("slack", "e-1", NOW + 1, "{}")
        assert work.add_delivery("github", "e-1", NOW, "{}")
    with store.reading() as view:
        (waiting,) = view.unanswered("slack")
        assert (waiting.key, waiting.body, waiting.answer) == ("e-1", "{}", None)
    with store.transaction() as work:
        work.answer_delivery("slack", "e-1", "done")
        assert work.forget_deliveries(NOW) == 0
        assert work.forget_deliveries(NOW + 1) == 1
    with store.reading() as view:
        assert view.delivery("slack", "e-1") is None
        assert len(view.unanswered("github")) == 1


def test_a_notice_is_queued_once_and_in_order(store: SqlStore) -> None:
    with store.transaction() as work:
        for key in ("b", "a", "b"):
            work.add_notice(key, f'"{key}"')
    with store.reading() as view:
        assert [each.key for each in view.pending_notices()] == ["b", "a"]
        first = view.pending_notices(1)[0]
    with store.transaction() as work:
        work.mark_notice(first.number, NOW)
        work.add_notice("b", "again")
    with store.reading() as view:
        assert [each.key for each in view.pending_notices()] == ["a"]


def test_text_that_no_column_may_hold_is_kept_in_another_form(store: SqlStore) -> None:
    with store.transaction() as work:
        work.put_incident(incident(summary="a\0b"))
        work.add_timeline(TimelineRecord("i-1", NOW, "a\0b"))
    with store.reading() as view:
        assert view.timeline("i-1")[0].text == "a\N{REPLACEMENT CHARACTER}b"
        found = view.incident("i-1")
    assert found is not None
    assert found.summary == "a\0b"


def test_workspaces_are_told_each_for_itself_and_one_without_a_name_gets_one(store: SqlStore) -> None:
    with store.transaction() as work:
        work.put_incident(incident("i-1"))
        work.put_chat_message(ChatMessage("i-1", "C1", "1.1", "d", NOW, ask="", final=False))
    with store.reading() as view:
        (item,) = view.unsaid("T1")
    with store.transaction() as work:
        work.mark_said(item)
        work.mark_said(item, "T2")
        work.name_workspace("T3", "C-other")
        work.name_workspace("T1", "C1")
    with store.reading() as view:
        assert [len(view.unsaid(each)) for each in ("", "T1", "T2")] == [1, 1, 0]
        moved = view.chat_message("i-1", "T1")
        assert moved is not None
        assert (moved.workspace, moved.id) == ("T1", "1.1")
        assert [view.chat_message("i-1", each) for each in ("", "T2", "T3")] == [None] * 3


def test_what_is_sealed_has_one_owner_and_a_ticket_comes_back_once(store: SqlStore) -> None:
    first, other = Sealed("k", "7", "ada", NOW, "x"), Sealed("k", "8", "ada", NOW, "y")
    with store.transaction() as work:
        work.put_sealed(first)
        work.put_sealed(Sealed("other", "7", "ada", NOW, "z"))
        with pytest.raises(ValueError, match="ada has another one"):
            work.put_sealed(other)
        work.put_sealed(Sealed("k", "7", "ada", NOW + 1, "renewed"))
        work.add_ticket(Ticket("d-1", "p", "b", "ada", "", NOW + 600), 0.0)
    with store.transaction() as work:
        assert [each.body for each in work.all_sealed("k")] == ["renewed"]
        found = [work.use_ticket("d-1", NOW + at) for at in (1.0, 2.0)]
        assert [each.used_at if each else 0 for each in found] == [None, NOW + 1]
        assert work.use_ticket("d-2", NOW) is None
        assert (work.drop_sealed("k", "7"), work.drop_sealed("k", "7")) == (True, False)
        work.add_ticket(Ticket("d-3", "p", "", "", "", NOW + 9000), NOW + 601)
    with store.transaction() as work:
        assert work.use_ticket("d-1", NOW) is None, "forgotten"
        assert work.sealed("other", "7") is not None
