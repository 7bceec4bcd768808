"""Update windows on the device: local time with its zones and jumps, clocks that are wrong, and what never waits."""

from __future__ import annotations

import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.edge import graphs
from tests.edge.agents import Clock, agent_of
from tests.edge.devices import Fleet, sample, samples_of
from trimtab_edge.lifecycle.agent import Agent, Progress, Standing
from trimtab_edge.lifecycle.windows import EARLIEST, closed
from trimtab_edge.telemetry.exposition import UpdateCollector, metrics_text, registry_of
from trimtab_edge.telemetry.updates import UpdateCounts
from trimtab_kernel.decisions import rows_of
from trimtab_kernel.desired import Artifact, Conditions, ModelPolicy, UpdateWindow, VersionFacts, parse_desired

BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"


def at(text: str) -> float:
    """Unix time of an ISO time with its offset."""
    return datetime.datetime.fromisoformat(text).timestamp()


def window(text: str, zone: str | None = BERLIN, *, ways_back: bool = True) -> UpdateWindow:
    return UpdateWindow.parse(text, zone, ways_back=ways_back)


@pytest.mark.parametrize(
    ("text", "zone", "now", "opens"),
    [
        ("02:00-04:00", BERLIN, "2026-11-22T01:59:59+01:00", "2026-11-22 02:00 +0100"),
        ("02:00-04:00", BERLIN, "2026-11-22T02:00:00+01:00", None),
        ("02:00-04:00", BERLIN, "2026-11-22T03:59:59+01:00", None),
        ("02:00-04:00", BERLIN, "2026-11-22T04:00:00+01:00", "2026-11-23 02:00 +0100"),
        ("22:00-05:00", BERLIN, "2026-11-22T23:30:00+01:00", None),
        ("22:00-05:00", BERLIN, "2026-11-22T05:00:00+01:00", "2026-11-22 22:00 +0100"),
        ("02:00-04:00", NEW_YORK, "2026-11-22T03:00:00+01:00", "2026-11-22 02:00 -0500"),
        # Clocks go forward at 02:00: that day has no such window, and the next one has.
        ("02:00-03:00", BERLIN, "2026-03-29T01:59:00+01:00", "2026-03-30 02:00 +0200"),
        ("02:30-03:30", BERLIN, "2026-03-29T01:59:00+01:00", "2026-03-29 03:00 +0200"),
        # They go back at 03:00: the hour is there twice, and so is its window.
        ("02:00-02:30", BERLIN, "2026-10-25T02:10:00+02:00", None),
        ("02:00-02:30", BERLIN, "2026-10-25T02:40:00+02:00", "2026-10-25 02:00 +0100"),
        ("02:00-02:30", BERLIN, "2026-10-25T02:10:00+01:00", None),
        ("02:00-02:30", BERLIN, "2026-10-25T02:30:00+01:00", "2026-10-26 02:00 +0100"),
        # Half an hour back at 02:00: 01:30 comes twice.
        ("01:35-01:50", LORD_HOWE, "2026-04-05T01:55:00+11:00", "2026-04-05 01:35 +1030"),
        ("00:00-23:59", "UTC", "2026-11-22T23:59:30+00:00", "2026-11-23 00:00 +0000"),
    ],
)
def test_a_window_is_a_part_of_the_local_day(text: str, zone: str, now: str, opens: str | None) -> None:
    said = closed(window(text, zone), at(now))
    assert said == ("" if opens is None else f"outside its window {text} {zone}, it opens {opens}")


@given(
    st.integers(0, 1439),
    st.integers(1, 1439),
    st.integers(int(EARLIEST) // 60, 2_000_000_000 // 60),
    st.sampled_from([BERLIN, NEW_YORK, LORD_HOWE, "Asia/Kathmandu", "Pacific/Apia", "UTC"]),
)
def test_it_opens_when_it_says_and_not_a_minute_before(begin: int, length: int, minute: int, zone: str) -> None:
    asked, now = UpdateWindow(begin, (begin + length) % 1440, zone), minute * 60.0
    said = closed(asked, now)
    if not said:
        return
    opens = datetime.datetime.strptime(said.rpartition("opens ")[2], "%Y-%m-%d %H:%M %z").timestamp()
    assert closed(asked, opens) == ""
    assert now < opens
    for earlier in (opens - 60, (now + opens) // 120 * 60):
        assert earlier <= now or closed(asked, earlier) != ""


def test_a_clock_that_cannot_be_right_opens_no_window() -> None:
    always = window("00:00-23:59", "UTC")
    assert closed(always, at("2026-11-22T12:00:00+00:00")) == ""
    for wrong in (0.0, -1.0, EARLIEST - 1, 1e11, float("inf"), float("nan")):
        assert "the clock cannot be right, it is not before 2026-01-01" in closed(always, wrong)
    released = at("2026-11-01T00:00:00+00:00")
    assert "it is not before 2026-11-01" in closed(always, released - 1, released)
    assert closed(always, released, released) == ""
    assert "Mars/Phobos is not known" in closed(window("00:00-23:59", "Mars/Phobos"), at("2026-11-22T12:00:00+00:00"))


def test_without_a_zone_it_is_the_devices_own() -> None:
    now = at("2026-11-22T03:00:00+01:00")
    assert closed(window("02:00-04:00", None), now, local=ZoneInfo(BERLIN)) == ""
    said = closed(window("02:00-04:00", None), now, local=ZoneInfo(NEW_YORK))
    assert said == "outside its window 02:00-04:00 local time, it opens 2026-11-22 02:00 -0500"


# ---------------------------------------------------------------- the agent


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path / "fleet")


@pytest.fixture
def clock() -> Clock:
    return Clock(at("2026-11-22T12:00:00+01:00"))


def standing(agent: Agent) -> Standing:
    [found] = agent.look().standings
    return found


def ask(fleet: Fleet, artifact: Artifact, asked: UpdateWindow | None) -> None:
    fleet.ask("adder", artifact, conditions=Conditions(window=asked))


def test_an_update_waits_for_its_window_and_says_until_when(tmp_path: Path, fleet: Fleet, clock: Clock) -> None:
    counts = UpdateCounts()
    agent = agent_of(tmp_path, fleet, clock=clock, counts=counts)
    ask(fleet, fleet.publish("1.0.0", graphs.adder(1)), window("02:00-04:00"))
    assert standing(agent).progress is Progress.ACTIVE  # a device that has nothing does not wait
    ask(fleet, fleet.publish("1.1.0", graphs.adder(2)), window("02:00-04:00"))
    found = standing(agent)
    assert (found.version, found.progress) == ("1.0.0", Progress.WAITING)
    assert found.reason == "1.1.0 waits: outside its window 02:00-04:00 Europe/Berlin, it opens 2026-11-23 02:00 +0100"

    def desired() -> float | None:
        text = metrics_text(registry_of(UpdateCollector(counts))).decode()
        return sample(samples_of(text), "trimtab_agent_desired", model="adder", version="1.1.0")

    assert desired() == 0
    assert not (tmp_path / "models/adder/1.1.0").exists()
    again = agent_of(tmp_path, fleet, clock=clock)  # and so after a restart
    again.start()
    assert standing(again).progress is Progress.WAITING
    clock.now = at("2026-11-23T02:00:00+01:00")
    assert standing(agent).progress is Progress.ACTIVE
    assert desired() == 1
    clock.now = at("2026-11-23T12:00:00+01:00")
    assert standing(agent).progress is Progress.ACTIVE


@pytest.mark.parametrize("fetched", [True, False])
def test_a_way_back_waits_only_where_policy_says_so(
    tmp_path: Path, fleet: Fleet, clock: Clock, *, fetched: bool
) -> None:
    """Back to the version before, whose bytes are there, or to an older one that is not."""
    old, good, bad = (fleet.publish(f"1.{n}.0", graphs.adder(n + 1)) for n in range(3))
    agent = agent_of(tmp_path, fleet, clock=clock)
    for artifact in (good, bad):
        ask(fleet, artifact, None)
        assert standing(agent).progress is Progress.ACTIVE
    back = good if fetched else old
    ask(fleet, back, window("02:00-04:00", ways_back=False))
    found = standing(agent)
    assert (found.version, found.progress) == ("1.2.0", Progress.WAITING)
    ask(fleet, back, window("02:00-04:00"))
    found = standing(agent)
    assert (found.version, found.progress) == (back.version, Progress.ACTIVE)
    # Forward again is an update, though its bytes are there still.
    ask(fleet, bad, window("02:00-04:00"))
    assert standing(agent).progress is Progress.WAITING


def test_a_clock_that_was_never_set_updates_nothing_and_goes_back(tmp_path: Path, fleet: Fleet, clock: Clock) -> None:
    fleet.tables["alignment/people"] = rows_of(
        None, {"name": "people", "level": "deny", "egress": {"allowed": False, "jurisdictions": []}}
    )
    day = 20_700  # 2026-09-04
    policy = ModelPolicy(("alignment/people",), ("adding",), (VersionFacts("1.1.0", True, "2026-09-04", day),))
    first, second = fleet.publish("1.0.0", graphs.adder(1)), fleet.publish("1.1.0", graphs.adder(2))
    conditions = Conditions(window=window("00:00-23:59"))
    agent = agent_of(tmp_path, fleet, clock=clock)
    fleet.ask("adder", first, conditions=conditions, policy=policy)
    assert standing(agent).progress is Progress.ACTIVE
    clock.now = 300.0
    fleet.ask("adder", second, conditions=conditions, policy=policy)
    found = standing(agent)
    assert (found.version, found.progress) == ("1.0.0", Progress.WAITING)
    assert "the clock cannot be right, it is not before 2026-09-04" in found.reason
    clock.now = at("2026-09-03T12:00:00+00:00")
    assert standing(agent).progress is Progress.WAITING
    clock.now = at("2026-11-22T12:00:00+00:00")
    assert standing(agent).progress is Progress.ACTIVE
    clock.now = 300.0
    fleet.ask("adder", first, conditions=conditions, policy=policy)
    assert (standing(agent).version, standing(agent).progress) == ("1.0.0", Progress.ACTIVE)


def test_a_fetch_stops_where_its_window_ends_and_goes_on_in_the_next(
    tmp_path: Path, fleet: Fleet, clock: Clock
) -> None:
    """The clock passes the window's end while bytes come in: what is there of them stays."""
    agent = agent_of(tmp_path, fleet, clock=clock)
    ask(fleet, fleet.publish("1.0.0", graphs.adder(1)), None)
    assert standing(agent).progress is Progress.ACTIVE

    class Leaping(Clock):
        """A second passes each time that somebody looks."""

        def __call__(self) -> float:
            self.now += 1
            return self.now

    slow = Leaping(at("2026-11-23T03:59:55+01:00"))
    ask(fleet, fleet.publish("1.1.0", graphs.adder(2) + b"\0" * 3_000_000), window("02:00-04:00"))
    late = agent_of(tmp_path, fleet, clock=slow)
    late.start()
    slow.now = at("2026-11-23T03:59:56+01:00")
    assert standing(late).progress in (Progress.HINDERED, Progress.WAITING)
    assert standing(late).progress is Progress.WAITING
    assert standing(late).version == "1.0.0"
    slow.now = at("2026-11-24T02:00:00+01:00")
    assert standing(late).progress is Progress.ACTIVE


def test_a_policys_refusal_is_counted_once(tmp_path: Path, fleet: Fleet, clock: Clock) -> None:
    fleet.tables["alignment/people"] = rows_of(
        None,
        {"name": "people", "level": "deny", "egress": {"allowed": False, "jurisdictions": []}, "signature": True},
    )
    policy = ModelPolicy(("alignment/people",), (), (VersionFacts("1.0.0", False),))
    fleet.ask("adder", fleet.publish("1.0.0", graphs.adder(1)), policy=policy)
    counts = UpdateCounts()
    agent = agent_of(tmp_path, fleet, clock=clock, counts=counts)
    for _ in range(3):
        assert standing(agent).progress is Progress.REFUSED
    assert counts.snapshot()[0]["adder"].results["refused"] == 1


def test_documents_without_a_window_are_read_as_before_and_a_window_comes_back(fleet: Fleet) -> None:
    artifact = fleet.publish("1.0.0", graphs.adder(1))
    ask(fleet, artifact, None)
    content = (fleet.mount / "desired.json").read_bytes()
    assert b"window" not in content
    assert parse_desired(content).models[0].conditions == Conditions()
    for asked in (window("22:00-05:00"), window("02:00-04:00", None, ways_back=False)):
        ask(fleet, artifact, asked)
        assert parse_desired((fleet.mount / "desired.json").read_bytes()).models[0].conditions.window == asked
