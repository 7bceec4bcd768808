"""Policies on the device: closed for what is new, static for what is served, with the ids that findings have elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.edge import graphs
from tests.edge.agents import Clock, agent_of
from tests.edge.devices import Fleet
from trimtab_edge.lifecycle.agent import Agent, Progress, Standing
from trimtab_edge.lifecycle.policies import DAY_SECONDS
from trimtab_edge.settings import read_description
from trimtab_kernel.decisions import Row, rows_of
from trimtab_kernel.desired import InferenceRules, ModelPolicy, VersionFacts

DAY = 20_800
PEOPLE = {"name": "people", "level": "deny", "egress": {"allowed": False, "jurisdictions": []}}


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path / "fleet")


@pytest.fixture
def clock() -> Clock:
    return Clock(float(DAY * DAY_SECONDS))


def rules(**more: object) -> tuple[Row, ...]:
    return rows_of(None, {**PEOPLE, **more})


def policy(*versions: VersionFacts) -> ModelPolicy:
    return ModelPolicy(("alignment/people",), ("adding",), versions)


def standing(agent: Agent) -> Standing:
    [found] = agent.look().standings
    return found


def test_a_version_that_policy_refuses_is_not_activated_and_the_one_before_is_served_on(
    tmp_path: Path, fleet: Fleet, clock: Clock
) -> None:
    agent = agent_of(tmp_path, fleet, clock=clock)
    fleet.tables["alignment/people"] = rules(signature=True)
    fleet.ask("adder", fleet.publish("1.0.0", graphs.adder(1)), policy=policy(VersionFacts("1.0.0", True)))
    assert standing(agent).progress is Progress.ACTIVE
    fleet.ask("adder", fleet.publish("1.1.0", graphs.adder(2)), policy=policy(VersionFacts("1.1.0", False)))
    found = standing(agent)
    assert (found.version, found.progress) == ("1.0.0", Progress.REFUSED)
    assert "alignment.signed-artifacts:1.1.0@edge/adder/kiosks" in found.reason
    assert not (tmp_path / "models/adder/1.1.0").exists()
    fleet.tables["alignment/people"] = rules()
    fleet.mount_document()
    assert (standing(agent).version, standing(agent).progress) == ("1.1.0", Progress.ACTIVE)


def test_what_is_active_is_served_on_when_its_time_is_over_and_is_not_taken_anew(
    tmp_path: Path, fleet: Fleet, clock: Clock
) -> None:
    fleet.tables["alignment/people"] = rules(maximum_age_days=10)
    facts = policy(VersionFacts("1.0.0", True, "2026-12-01", DAY))
    fleet.ask("adder", fleet.publish("1.0.0", graphs.adder(1)), policy=facts)
    agent = agent_of(tmp_path, fleet, clock=clock)
    assert standing(agent).progress is Progress.ACTIVE
    clock.now += 11 * DAY_SECONDS
    assert standing(agent).progress is Progress.ACTIVE
    (tmp_path / "empty").mkdir()
    other = agent_of(tmp_path / "empty", fleet, clock=clock)
    assert standing(other).progress is Progress.REFUSED
    # A clock that was never set is before the release: that day counts.
    (tmp_path / "unset").mkdir()
    assert standing(agent_of(tmp_path / "unset", fleet, clock=Clock(0.0))).progress is Progress.ACTIVE


def test_an_exception_is_over_after_its_day(tmp_path: Path, fleet: Fleet, clock: Clock) -> None:
    excuse = {
        "rule": "alignment.signed-artifacts",
        "owner": "a",
        "reason": "b",
        "until": "2026-12-13",
        "until_day": DAY,
    }
    fleet.tables["alignment/people"] = rules(signature=True, exceptions=[excuse])
    fleet.ask("adder", fleet.publish("1.0.0", graphs.adder(1)), policy=policy())
    clock.now += DAY_SECONDS
    agent = agent_of(tmp_path, fleet, clock=clock)
    assert standing(agent).progress is Progress.REFUSED
    clock.now -= DAY_SECONDS
    assert standing(agent).progress is Progress.ACTIVE


def test_the_policys_frequency_caps_what_is_served_already(tmp_path: Path, fleet: Fleet, clock: Clock) -> None:
    artifact = fleet.publish("1.0.0", graphs.adder(1))
    fleet.ask("adder", artifact, inference=InferenceRules(600), policy=None)
    agent = agent_of(tmp_path, fleet, clock=clock)
    assert standing(agent).progress is Progress.ACTIVE
    fleet.tables["alignment/people"] = rules(maximum_per_minute=60)
    fleet.ask("adder", artifact, inference=InferenceRules(600), policy=policy())
    assert standing(agent).progress is Progress.ACTIVE
    text = (tmp_path / "models/adder/1.0.0/model.yaml").read_bytes()
    described = read_description(text, "model.yaml")
    assert described.inference is not None
    assert described.inference.maximum_per_minute == 60


@pytest.mark.parametrize("level", ["warn", "dry-run"])
def test_a_warning_keeps_nothing_from_a_device(tmp_path: Path, fleet: Fleet, clock: Clock, level: str) -> None:
    fleet.tables["alignment/people"] = rules(signature=True, level=level)
    fleet.ask("adder", fleet.publish("1.0.0", graphs.adder(1)), policy=policy())
    assert standing(agent_of(tmp_path, fleet, clock=clock)).progress is Progress.ACTIVE


def test_a_rule_of_a_newer_compiler_refuses_what_is_new(tmp_path: Path, fleet: Fleet, clock: Clock) -> None:
    fleet.tables["alignment/people"] = (Row("alignment.of-the-future", "deny", {}),)
    fleet.ask("adder", fleet.publish("1.0.0", graphs.adder(1)), policy=policy())
    assert standing(agent_of(tmp_path, fleet, clock=clock)).progress is Progress.REFUSED
