"""When a FleetArtifact is looked at: once for a flock of events, later and later while it fails, always within the interval."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trimtab_plugins.flux.schedule import LONGEST_RETRY, Schedule

A, B = ("ns", "a"), ("ns", "b")


def test_many_changes_are_one_look() -> None:
    schedule = Schedule()
    for number in range(100):
        schedule.changed(A, number / 1000)
    assert schedule.take(0.1) is None
    assert schedule.take(0.2) == A
    assert schedule.take(1000.0) is None


def test_the_one_that_waits_longest_comes_first() -> None:
    schedule = Schedule()
    schedule.changed(B, 0.0)
    schedule.changed(A, 1.0)
    assert schedule.waiting(5.0) == 2
    assert (schedule.take(5.0), schedule.take(5.0), schedule.take(5.0)) == (B, A, None)


def test_a_change_during_a_look_is_not_lost() -> None:
    schedule = Schedule()
    schedule.changed(A, 0.0)
    assert schedule.take(1.0) == A
    schedule.changed(A, 1.5)
    schedule.succeeded(A, 2.0, 600.0)
    assert schedule.next_due() == 1.7


def test_a_failure_is_tried_again_later_each_time_and_success_forgets_it() -> None:
    schedule, at, pauses = Schedule(), 0.0, []
    for _ in range(12):
        schedule.failed(A, at, 3600.0)
        due = schedule.next_due()
        assert due is not None
        pauses.append(due - at)
        at = due
        assert schedule.take(at) == A
    assert pauses[:4] == [2.0, 4.0, 8.0, 16.0]
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_RETRY
    schedule.succeeded(A, at, 60.0)
    assert schedule.next_due() == at + 60.0
    schedule.take(at + 60)
    schedule.failed(A, 0.0, 3600.0)
    assert schedule.next_due() == 2.0


@given(st.integers(0, 2000), st.floats(1, 1e6))
def test_a_failing_one_is_looked_at_at_least_as_often_as_a_sound_one(failures: int, interval: float) -> None:
    schedule = Schedule()
    for _ in range(min(failures, 40)):
        schedule.failed(A, 0.0, interval)
        schedule.take(1e9)
    schedule.failed(A, 0.0, interval)
    due = schedule.next_due()
    assert due is not None
    assert 0 < due <= max(interval, 2.0)


def test_what_is_gone_is_forgotten() -> None:
    schedule = Schedule()
    schedule.changed(A, 0.0)
    schedule.forget(A)
    assert schedule.next_due() is None
