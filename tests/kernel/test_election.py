"""Who writes: any number of candidates, clocks that disagree, processes that stop at any moment; never two at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab_kernel.election import Memory, Terms, Write, leads, look, micro_time, release, stored

START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@dataclass
class Api:
    """One Lease with the API server's rule: a write names the version that it replaces."""

    lease: dict[str, Any] | None = None
    version: int = 0

    def write(self, write: Write) -> str | None:
        if write.create != (self.lease is None):
            return None
        if self.lease is not None and write.body["metadata"]["resourceVersion"] != str(self.version):
            return None
        self.version += 1
        self.lease = {"metadata": {"resourceVersion": str(self.version)}, "spec": dict(write.body["spec"])}
        return str(self.version)


@dataclass
class Candidate:
    """One process: its wall clock is off by ``skew``, its monotonic clock began at ``offset``."""

    name: str
    skew: timedelta = timedelta()
    offset: float = 0.0
    memory: Memory = field(default_factory=Memory)
    held: tuple[Write, float] | None = None

    @property
    def terms(self) -> Terms:
        return Terms(self.name)

    def begin(self, api: Api, at: float) -> None:
        monotonic = at + self.offset
        lease = api.lease
        self.memory, write = look(self.memory, self.terms, lease, monotonic, START + self.skew + timedelta(seconds=at))
        self.held = None if write is None else (write, monotonic)

    def finish(self, api: Api) -> None:
        if self.held is None:
            return
        write, asked = self.held
        self.held = None
        version = api.write(write)
        if version is not None:
            self.memory = stored(self.memory, self.terms, version, asked)

    def step(self, api: Api, at: float) -> None:
        self.begin(api, at)
        self.finish(api)

    def leads(self, at: float) -> bool:
        return leads(self.memory, self.terms, at + self.offset)


def test_the_first_one_leads_and_keeps_leading_while_it_renews() -> None:
    api, one, two = Api(), Candidate("one"), Candidate("two")
    for second in range(0, 100, 2):
        one.step(api, second)
        two.step(api, second)
        assert one.leads(second)
        assert not two.leads(second)
    assert api.lease is not None
    assert api.lease["spec"]["leaseTransitions"] == 0
    assert api.lease["spec"]["acquireTime"] == micro_time(START)


def test_a_leader_that_stops_is_followed_after_the_duration_and_has_stopped_writing_before() -> None:
    api, one, two = Api(), Candidate("one"), Candidate("two")
    one.step(api, 0)
    two.step(api, 0)
    assert one.leads(9.9)
    assert not one.leads(10)
    two.step(api, 14.9)
    assert not two.leads(14.9)
    two.step(api, 15.1)
    assert two.leads(15.1)
    assert api.lease is not None
    assert api.lease["spec"]["leaseTransitions"] == 1
    one.step(api, 16)
    assert not one.leads(16)


@pytest.mark.parametrize(
    "skew", [timedelta(hours=-30), timedelta(seconds=-20), timedelta(seconds=20), timedelta(days=400)]
)
def test_wall_clocks_that_disagree_change_nothing(skew: timedelta) -> None:
    """A lease whose times lie in the past or the future by another machine's clock is neither stolen nor kept for ever."""
    api, one, two = Api(), Candidate("one", skew), Candidate("two", offset=1e6)
    for second in range(0, 30, 2):
        one.step(api, second)
        two.step(api, second)
        assert one.leads(second)
        assert not two.leads(second)
    for second in range(30, 60, 2):
        two.step(api, second)
    assert two.leads(58)


def test_a_released_lease_is_taken_at_once() -> None:
    api, one, two = Api(), Candidate("one"), Candidate("two")
    one.step(api, 0)
    two.step(api, 1)
    write = release(one.memory, one.terms, START)
    assert write is not None
    assert api.write(write) is not None
    two.step(api, 2)
    assert two.leads(2)
    assert release(Memory(), one.terms, START) is None


def test_a_renewal_whose_answer_was_lost_is_not_counted() -> None:
    """The API server stored it and the process does not know: it stops in time, and asks again."""
    api, one = Api(), Candidate("one")
    one.step(api, 0)
    one.begin(api, 8)
    assert one.held is not None
    assert api.write(one.held[0]) is not None
    one.held = None
    assert not one.leads(11)
    one.step(api, 12)
    assert one.leads(12)


def test_of_two_that_ask_at_once_one_gets_it() -> None:
    api, one, two = Api(), Candidate("one"), Candidate("two")
    one.begin(api, 0)
    two.begin(api, 0)
    two.finish(api)
    one.finish(api)
    assert (one.leads(0), two.leads(0)) == (False, True)


def test_terms_that_would_let_two_write_are_refused() -> None:
    for wrong in ({"renew_within": 15.0}, {"duration": 9}, {"pause": 11.0}, {"pause": 0.0}):
        with pytest.raises(ValueError, match="needs 0 < pause < renew_within < duration"):
            Terms("one", **wrong)
    with pytest.raises(ValueError, match="names nobody"):
        Terms("")


EVENTS = st.lists(st.tuples(st.sampled_from("bf"), st.integers(0, 2), st.floats(0, 12)), max_size=80)


@settings(max_examples=200)
@given(EVENTS, st.lists(st.integers(-(10**6), 10**6), min_size=3, max_size=3))
def test_two_never_write_at_once(events: list[tuple[str, int, float]], skews: list[int]) -> None:
    """Candidates read and write in any order, with any time in between; an answer may take any time or never come."""
    api = Api()
    candidates = [Candidate(str(place), timedelta(seconds=skew), float(skew)) for place, skew in enumerate(skews)]
    at = 0.0
    for what, place, later in events:
        at += later
        if what == "b":
            candidates[place].begin(api, at)
        else:
            candidates[place].finish(api)
        assert sum(candidate.leads(at) for candidate in candidates) <= 1
