"""One replica acts. Who was replaced writes nothing, however sure of itself it is."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bot.store.samples import incident
from trimtab_bot.leading.fencing import FencedStore, NotLeadingError, SoleLeadership
from trimtab_bot.leading.lease import LeaseLeadership
from trimtab_bot.store.sql import SqlStore
from trimtab_kernel.election import Terms, Write
from trimtab_kernel.problems import OutsideError


class OneLease:
    """A lease with versions, as an API server keeps it; ``down`` while it does not answer."""

    def __init__(self) -> None:
        self.down = False
        self.kept: dict[str, Any] | None = None
        self._versions = itertools.count(1)

    def read(self, timeout: float) -> dict[str, Any] | None:
        assert timeout > 0
        if self.down:
            raise OutsideError("the API server does not answer")
        return self.kept

    def write(self, write: Write, timeout: float) -> str | None:
        found = self.read(timeout)
        version = found["metadata"]["resourceVersion"] if found else None
        if write.create is (found is not None) or write.body.get("metadata", {}).get("resourceVersion") != version:
            return None
        stored = str(next(self._versions))
        self.kept = {"metadata": {"resourceVersion": stored}, "spec": dict(write.body["spec"])}
        return stored


class Replica:
    """One candidate with a clock of its own."""

    def __init__(self, name: str, lease: OneLease, path: Path) -> None:
        self.store = SqlStore.open(path)
        self.now = 1000.0
        self.told: list[str] = []
        terms = Terms(name, 15, 10.0, 2.0)
        self.leadership = LeaseLeadership(lease, self.store, terms, self.told.append, lambda: self.now)
        self.fenced = FencedStore(self.store, self.leadership)

    def write(self, incident_id: str) -> None:
        with self.fenced.transaction() as work:
            work.put_incident(incident(incident_id, version=incident_id))

    def later(self, seconds: float) -> None:
        """Time goes on, and it looks every two seconds, as its thread would."""
        for _ in range(int(seconds // 2)):
            self.now += 2
            self.leadership.step()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[OneLease, Replica, Replica]]:
    lease = OneLease()
    first, second = (Replica(name, lease, tmp_path / "bot.db") for name in ("a", "b"))
    first.leadership.step()
    second.leadership.step()
    yield lease, first, second
    for each in (first, second):
        each.store.close()


Pair = tuple[OneLease, Replica, Replica]


def test_one_leads_and_the_other_stands_by(pair: Pair) -> None:
    _, first, second = pair
    assert (first.leadership.epoch(), second.leadership.epoch()) == (1, None)
    first.write("i-1")
    with pytest.raises(NotLeadingError, match="does not lead"):
        second.write("i-2")
    assert first.told == ["this replica leads, epoch 1"]
    assert second.told == ["another replica leads; this one stands by"]


def test_who_is_silent_is_replaced_and_writes_nothing_more(pair: Pair) -> None:
    _, first, second = pair
    second.later(20)
    assert second.leadership.epoch() == 2
    # The first was frozen: its own clock stood still, so it still believes that it leads.
    assert first.leadership.epoch() == 1
    with pytest.raises(NotLeadingError, match="epoch 1 was replaced by 2"):
        first.write("i-1")
    second.write("i-2")
    first.later(2)
    assert first.leadership.epoch() is None
    with first.store.reading() as view:
        assert [each.id for each in view.incidents()] == ["i-2"]


def test_who_cannot_renew_ceases_by_itself_before_another_may_begin(pair: Pair) -> None:
    lease, first, second = pair
    lease.down = True
    first.later(8)
    assert first.leadership.epoch() == 1
    first.later(4)
    assert first.leadership.epoch() is None
    second.later(12)
    assert second.leadership.epoch() is None
    lease.down = False
    first.later(2)
    assert first.leadership.epoch() == 2, "nobody has led since, and a newer token does no harm"
    assert "cannot be kept" in first.told[1]


def test_a_lease_that_was_held_by_another_meanwhile_needs_a_new_token(pair: Pair) -> None:
    _, first, second = pair
    second.later(20)
    second.leadership.stop()  # it gives the lease back
    first.leadership.step()
    assert first.leadership.epoch() == 3
    first.write("i-1")


def test_a_lease_that_is_given_back_is_taken_at_once(pair: Pair) -> None:
    _, first, second = pair
    first.leadership.stop()
    assert first.leadership.epoch() is None
    second.leadership.step()
    assert second.leadership.epoch() == 2


def test_the_thread_looks_and_says_when_it_wins(tmp_path: Path) -> None:
    import threading

    store, won = SqlStore.open(tmp_path / "bot.db"), threading.Event()
    leadership = LeaseLeadership(OneLease(), store, Terms("a", 2, 1.3, 0.05), lambda _: None)
    leadership.start(won.set)
    assert won.wait(60)
    leadership.stop()
    assert leadership.epoch() is None
    store.close()


def test_the_newest_of_two_sole_processes_counts(tmp_path: Path) -> None:
    store = SqlStore.open(tmp_path / "bot.db")
    older, newer = (FencedStore(store, SoleLeadership(store, name)) for name in ("a", "b"))
    with newer.transaction() as work:
        work.put_incident(incident())
    with pytest.raises(NotLeadingError), older.transaction():
        pass
    store.close()
