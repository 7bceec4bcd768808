"""Daily budgets: they hold within a day, come back each day, and no clock and no crash makes use forgotten."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_edge.serving.budget import Budget, MinuteWindow
from trimtab_edge.serving.usage import DAY, MIN_BETWEEN, Moment, Usage, UsageFile, now
from trimtab_kernel.desired import InferenceRules

if TYPE_CHECKING:
    from pathlib import Path

NOON = 20_000 * DAY + DAY / 2
RULES = InferenceRules(daily_cpu_seconds=Decimal(10), daily_data=1000)


def moment(wall: float, steady: float = 0.0, boot: str = "a") -> Moment:
    return Moment(wall, steady, boot)


def used(usage: Usage) -> Usage:
    return Usage(usage.day, usage.moment, 7.0, 8.0, usage.granted_for, usage.was_set, usage.down_at)


def test_a_day_begins_at_midnight() -> None:
    usage = used(Usage.fresh(moment(NOON)))
    assert usage.at(moment(NOON + DAY / 2 - 1, DAY / 2 - 1)).cpu_seconds == 7
    later = usage.at(moment(NOON + DAY / 2, DAY / 2))
    assert (later.cpu_seconds, later.data, later.day) == (0, 0, 20_001)


@pytest.mark.parametrize("jump", [DAY, -DAY, 400 * DAY, -20_000 * DAY, 3600 * 13, -3600 * 13])
def test_a_clock_that_is_set_grants_nothing(jump: float) -> None:
    usage = used(Usage.fresh(moment(NOON)))
    assert usage.at(moment(NOON + jump + 1, 1)).cpu_seconds == 7
    assert usage.at(moment(NOON + jump + 1, 1)).at(moment(NOON + 2, 2)).cpu_seconds == 7


@given(
    st.lists(st.tuples(st.floats(0, 3 * 3600), st.floats(-3 * DAY, 3 * DAY) | st.just(0.0)), min_size=1, max_size=60)
)
def test_however_the_clock_is_set_a_new_budget_comes_no_sooner_than_20_hours_after_the_last(
    steps: list[tuple[float, float]],
) -> None:
    """Apart from the first midnight of a clock that nobody has touched yet."""
    usage, offset, steady, touched, granted = used(Usage.fresh(moment(NOON))), 0.0, 0.0, False, 0.0
    for passed, jump in steps:
        steady += passed
        offset += jump
        touched = touched or abs(jump) > 5
        usage = usage.at(moment(NOON + steady + offset, steady))
        if usage.cpu_seconds == 0:
            assert not touched or steady - granted >= MIN_BETWEEN
            usage, touched, granted = used(usage), False, steady


@given(st.floats(-20_000 * DAY, 20_000 * DAY), st.booleans())
def test_a_budget_always_comes_back_within_two_days(jump: float, rebooted: bool) -> None:
    boot = "b" if rebooted else "a"
    usage = used(Usage.fresh(moment(NOON)))
    for hour in range(1, 50):
        usage = usage.at(moment(max(0.0, NOON + jump) + hour * 3600, hour * 3600, boot))
    assert usage.cpu_seconds == 0


def test_a_reboot_with_the_clock_in_the_past_keeps_what_was_used_until_the_clock_is_set() -> None:
    usage = used(Usage.fresh(moment(NOON, 5000)))
    booted = usage.at(moment(100, 1, "b"))
    assert booted.cpu_seconds == 7
    assert booted.at(moment(NOON + 3600, 2, "b")).cpu_seconds == 7
    assert booted.at(moment(NOON + DAY, 2, "b")).cpu_seconds == 0


def test_a_reboot_the_next_day_grants_the_days_budget() -> None:
    assert used(Usage.fresh(moment(NOON, 5000))).at(moment(NOON + DAY, 1, "b")).cpu_seconds == 0
    assert used(Usage.fresh(moment(NOON, 5000))).at(moment(NOON + 60, 1, "b")).cpu_seconds == 7


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 50)), max_size=40), st.integers(0, 40))
def test_a_crash_forgets_nothing_and_costs_at_most_the_reserve(
    tmp_path_factory: pytest.TempPathFactory, uses: list[tuple[float, float]], closed_after: int
) -> None:
    path = tmp_path_factory.mktemp("usage") / "deep" / "m.json"
    file = UsageFile(path, moment(NOON), cpu_reserve=0.1, data_reserve=10)
    cpu = data = 0.0
    for place, (seconds, size) in enumerate(uses):
        file.use(seconds, size)
        cpu, data = cpu + seconds, data + size
        if place == closed_after:
            file.close()
    found = UsageFile(path, moment(NOON, 1), cpu_reserve=0.1, data_reserve=10).usage
    assert cpu - 1e-9 <= found.cpu_seconds <= cpu + 0.1 + 1e-9
    assert data - 1e-9 <= found.data <= data + 10 + 1e-9


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 3000, b"\xff", b'{"day": -1}', b"x" * 9999])
def test_a_file_that_is_not_ours_is_said_and_starts_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "u").write_bytes(content)
    file = UsageFile(tmp_path / "u", moment(NOON), cpu_reserve=0, data_reserve=0)
    assert file.problem
    assert file.usage == Usage.fresh(moment(NOON))
    file.use(1, 1)
    assert UsageFile(tmp_path / "u", moment(NOON), cpu_reserve=0, data_reserve=0).problem == ""


def test_a_place_that_cannot_be_written_is_said_once_and_budgets_hold_meanwhile(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    budget = Budget(RULES, tmp_path / "file" / "m.json", moment(NOON))
    for _ in range(3):
        budget.use(5, 0)
    assert getattr(budget.check(moment(NOON), 0), "reason", None) == "cpu"
    assert sum("in memory only" in record.message for record in caplog.records) == 1


def test_usage_reads_back_as_the_same() -> None:
    usage = used(Usage.fresh(now()).at(moment(5, 5, "z")))
    assert Usage.parse(usage.to_bytes()) == usage


@given(st.integers(1, 50), st.lists(st.floats(0, 20), max_size=200))
def test_no_60_seconds_hold_more_than_the_limit(limit: int, gaps: list[float]) -> None:
    window, at, ran = MinuteWindow(limit), 1000.0, []
    for gap in gaps:
        at += gap
        wait = window.take(at)
        if wait == 0:
            ran.append(at)
        else:
            assert 0 < wait <= 61
            assert len([one for one in ran if at - 62 < one]) >= limit
    for start in ran:
        assert sum(start <= one < start + 60 for one in ran) <= limit


def test_what_retry_after_says_is_true() -> None:
    window = MinuteWindow(1)
    assert window.take(10.5) == 0
    wait = window.take(11)
    assert window.take(11 + wait) == 0


def test_each_budget_ends_and_says_until_when(tmp_path: Path) -> None:
    budget = Budget(RULES, tmp_path / "m.json", moment(NOON))
    assert budget.check(moment(NOON), 10) is None
    budget.use(11, 10)
    refused = budget.check(moment(NOON + 60, 60), 10)
    assert refused is not None
    assert (refused.reason, refused.retry_after) == ("cpu", DAY / 2 - 60)
    budget.use(0, 990)
    assert getattr(budget.check(moment(NOON + 60, 60), 10), "reason", None) == "data"
    assert budget.check(moment(NOON + DAY, DAY), 10) is None
    assert getattr(budget.check(moment(NOON + DAY, DAY), 1001), "reason", None) == "data"


def test_a_change_of_mind_keeps_what_was_used(tmp_path: Path) -> None:
    budget = Budget(RULES, tmp_path / "m.json", moment(NOON))
    budget.use(6, 0)
    same = budget.changed(RULES, moment(NOON))
    assert same is budget
    less = budget.changed(InferenceRules(daily_cpu_seconds=Decimal(5)), moment(NOON))
    assert getattr(less.check(moment(NOON), 0), "reason", None) == "cpu"
    more = less.changed(InferenceRules(daily_cpu_seconds=Decimal(500)), moment(NOON))
    assert more.check(moment(NOON), 0) is None
