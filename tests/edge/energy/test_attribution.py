"""Sharing energy out: the parts add up to the meter, whatever ran."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_edge.telemetry.energy.attribution import EnergyAccount, apportion, share
from trimtab_edge.telemetry.energy.battery import battery_share
from trimtab_edge.telemetry.energy.meter import grown

MICROJOULES = st.integers(0, 10**15)
NANOSECONDS = st.integers(0, 10**13)
NAMES = st.sampled_from(["triage 1.0.0", "triage 1.1.0", "digits 2.0.0"])


@given(MICROJOULES, st.lists(NANOSECONDS, max_size=8))
def test_whole_parts_add_up_and_each_is_off_by_less_than_one(total: int, weights: list[int]) -> None:
    parts = apportion(total, weights)
    whole = sum(weights)
    if whole == 0:
        assert parts == [0] * len(weights)
        return
    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part * whole - total * weight) < whole
        assert part >= 0


@given(MICROJOULES, MICROJOULES, NANOSECONDS, st.dictionaries(NAMES, NANOSECONDS))
def test_what_is_shared_out_is_what_the_meter_said(total: int, idle: int, busy: int, parts: dict[str, int]) -> None:
    shares = share(total, idle=idle, busy_ns=busy, parts_ns=parts)
    assert sum(shares.parts.values()) + shares.idle + shares.other == total
    assert min(shares.idle, shares.other, *shares.parts.values(), total) >= 0
    assert shares.parts.keys() == parts.keys()


INTERVAL = st.tuples(
    st.none() | MICROJOULES, st.integers(0, 10**9), NANOSECONDS, st.dictionaries(NAMES, st.integers(0, 10**9))
)


@given(st.lists(INTERVAL, max_size=12))
def test_the_parts_add_up_to_the_meter_over_any_run(
    intervals: list[tuple[int | None, int, int, dict[str, int]]],
) -> None:
    """Versions come and go, counters restart, readings fail: nothing is lost and nothing is counted twice."""
    account: EnergyAccount[str] = EnergyAccount()
    metered = 0
    before: dict[str, int] = {}
    for joules, idle, busy, cpu in intervals:
        account.settle(joules, idle=idle, busy_ns=busy, cpu_ns=cpu)
        metered += joules or 0
        assert sum(account.parts.values()) + account.retired + account.idle + account.other == account.total == metered
        assert account.parts.keys() == cpu.keys()
        assert all(account.parts[name] >= before.get(name, 0) for name in cpu), "a part never shrinks"
        before = dict(account.parts)


def test_an_inference_gets_its_share_of_busy_time_and_the_idle_box_its_own() -> None:
    account: EnergyAccount[str] = EnergyAccount()
    # 10 J, of which the idle box takes 2: the inferences ran 1 of 4 busy seconds.
    account.settle(10_000_000, idle=2_000_000, busy_ns=4 * 10**9, cpu_ns={"a": 750_000_000, "b": 250_000_000})
    assert account.parts == {"a": 1_500_000, "b": 500_000}
    assert (account.idle, account.other) == (2_000_000, 6_000_000)
    # The same CPU time of a since then; nothing of b.
    account.settle(4_000_000, idle=0, busy_ns=10**9, cpu_ns={"a": 1_500_000_000, "b": 250_000_000})
    assert account.parts == {"a": 4_500_000, "b": 500_000}
    # b is gone; a restarted, and has used 100 ms since.
    account.settle(1_000_000, idle=0, busy_ns=0, cpu_ns={"a": 100_000_000})
    assert account.parts == {"a": 5_500_000}
    assert account.retired == 500_000


def test_energy_that_the_meter_did_not_tell_is_not_made_up_for_later() -> None:
    """CPU time of an interval without a reading gets nothing, instead of taking the next interval's energy."""
    account: EnergyAccount[str] = EnergyAccount()
    account.settle(None, idle=0, busy_ns=10**9, cpu_ns={"a": 10**9})
    account.settle(1_000, idle=0, busy_ns=10**9, cpu_ns={"a": 10**9 + 5 * 10**8})
    assert account.parts == {"a": 500}
    assert account.other == 500


@pytest.mark.parametrize(("total", "weights"), [(-1, [1]), (1, [-1, 2])])
def test_negative_energy_is_refused(total: int, weights: list[int]) -> None:
    with pytest.raises(ValueError, match="not negative"):
        apportion(total, weights)


@given(st.integers(0, 999), st.integers(0, 5000), st.integers(1, 1000))
def test_a_counter_that_wraps_at_most_once_is_read_right(start: int, more: int, modulus: int) -> None:
    before = start % modulus
    spent = more % modulus
    assert grown(before, (before + spent) % modulus, modulus) == spent


def test_a_counter_that_falls_and_does_not_wrap_tells_nothing() -> None:
    assert grown(5, 3, None) is None
    assert grown(50, 3, 10) is None, "it was beyond its own range"
    assert grown(3, 5, None) == 2


def test_the_share_of_a_battery() -> None:
    assert battery_share(18_000, 50) == pytest.approx(0.1)
    with pytest.raises(ValueError, match="above 0 Wh"):
        battery_share(1, 0)
