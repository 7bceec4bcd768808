"""Waves go on where the evidence allows it and somebody (or a rule) lets them; what is offline never blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.bot.rig import ADA, KIOSKS, UNFAIR, Site
from trimtab_bot.approvals.machine import Phase
from trimtab_bot.commands import Actor, Where
from trimtab_kernel.rules import DEVICES_READY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trimtab_bot.records import Proposal

HOURS = 3600.0
RELEASE = "deployments/triage.yaml"
RULE = {
    "name": "gateways",
    "remedies": ["promote"],
    "environments": ["production"],
    "maxDevices": 5000,
    "maxShare": 0.9,
    "perDay": 1,
}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


def soaked(site: Site) -> None:
    """Two days at the present wave, with one look at the end."""
    site.now += 48 * HOURS
    site.tick()


def say(site: Site, who: str, text: str) -> str:
    return site.bot.commands.say(text, Actor(who, f"test:{who}"), Where("test")).text


def test_a_wave_that_did_well_is_proposed_by_the_bot_and_promoted_by_people(site: Site) -> None:
    site.tick()
    assert site.incidents() == (), "it has to soak for 48 h"
    soaked(site)
    proposal = site.proposal()
    assert (proposal.remedy, proposal.title) == (
        "promote",
        "Promote clinics/triage-gateways (triage 1.1.0) to wave all",
    )
    because = next(fact.value for fact in proposal.facts if fact.label == "Because")
    assert "2 of 2 reachable devices of the wave run 1.1.0" in because
    assert "not heard of: gateway-" in because, "the offline ones are listed, and do not block"
    assert site.view().refused_for["mara"].startswith("B405"), "who brought the version does not let it go on"
    assert "code='B404'" in repr(site.approve("robot"))
    site.approve("ada")
    site.tick()
    assert '    wave: "all"' in site.origin.read(RELEASE)
    site.now += 480 * HOURS
    site.tick(3)
    assert len(site.proposals()) == 1, "after the last wave there is none"


def _few(site: Site) -> None:
    for group in (*KIOSKS, "gateway-emea"):
        site.fleet.decided(group, "triage", "1.1.0", {"sex-1": (9, 11), "sex-2": (10, 10)})


def _behind(site: Site) -> None:
    site.fleet.devices(DEVICES_READY, "gateway-emea", "triage", {"1.1.0": 1})


def _offline(site: Site) -> None:
    site.fleet.runs("gateway-emea", "triage", {"1.1.0": 2}, age=600)


def _unfair(site: Site) -> None:
    for group in (*KIOSKS, "gateway-emea"):
        site.fleet.decided(group, "triage", "1.1.0", UNFAIR)


def _failing(site: Site) -> None:
    site.fleet.counts["failures"] = [
        {"labels": {"device_group": "gateway-emea", "model": "triage", "reason": "error"}, "value": 300, "age": 1}
    ]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        pytest.param(_few, "sample unknown", marks=pytest.mark.long),
        (_behind, "health unknown: 1 of 2"),
        pytest.param(_offline, "health unknown: 0 of 0", marks=pytest.mark.long),
        (_unfair, "fairness breach"),
        pytest.param(_failing, "failures breach", marks=pytest.mark.long),
    ],
)
def test_a_wave_that_did_not_do_well_stays_where_it_is(site: Site, spoil: object, says: str) -> None:
    assert callable(spoil)
    spoil(site)
    site.fleet.save()
    soaked(site)
    site.tick()
    assert [each for each in site.proposals() if each.remedy == "promote"] == []
    assert says in say(site, "vi", "rollout triage-gateways")
    if "breach" in says:
        assert say(site, "ada", "promote triage-gateways").startswith("B318")


def test_evidence_that_turns_ends_the_promotion_and_unknown_evidence_makes_it_wait(site: Site) -> None:
    soaked(site)
    site.approve("ada")
    _behind(site)
    site.fleet.save()
    site.bot.loop.tick()
    waiting = site.proposal().ballot
    assert (waiting.phase, waiting.code) == (Phase.APPROVED, "B435")
    _failing(site)
    site.fleet.save()
    site.tick()
    assert (site.proposal().ballot.phase, site.proposal().ballot.code) == (Phase.VOID, "B416")
    assert site.origin.merges_of_the_bot() == []
    site.tick()
    assert "evidence" in site.incidents()[-1].closed_because


@pytest.mark.long
def test_what_people_denied_or_paused_is_not_asked_again(site: Site) -> None:
    soaked(site)
    site.deny("ada", "wait for the audit")
    site.tick(3)
    assert len(site.proposals()) == 1
    site.origin.edit(RELEASE, "    wave: tenth", "    paused: true\n    wave: first")
    site.origin.merge(ADA, "Back to the first, and paused")
    soaked(site)
    assert len(site.proposals()) == 1
    assert "paused" in say(site, "vi", "rollout")


@pytest.mark.long
def test_a_promotion_that_somebody_made_by_hand_closes_the_bots(site: Site) -> None:
    soaked(site)
    site.origin.edit(RELEASE, "    wave: tenth", "    wave: all")
    site.origin.merge(ADA, "Everybody")
    site.tick(2)
    assert site.proposal().ballot.phase is Phase.VOID
    assert site.incidents()[-1].closed_at is not None
    assert len(site.proposals()) == 1


def test_a_rule_lets_promotions_through_by_itself_within_its_limits(tmp_path: Path) -> None:
    site = Site(tmp_path, approval={"quorum": 1, "expiry": "4h", "automatic": [RULE]})
    try:
        site.origin.edit(RELEASE, "    wave: tenth", "    wave: first")
        site.origin.merge(ADA, "From the first wave on")
        soaked(site)
        site.tick(2)
        assert '    wave: "tenth"' in site.origin.read(RELEASE)
        merged = site.proposals()[0].ballot
        assert (merged.phase, merged.automatic, merged.votes) == (Phase.MERGED, "gateways", ())
        assert "Approved-by: rule gateways" in site.origin.scratch.text("log", "-1", "--format=%B", "main")
        # A second wish of the bot within a day is for people.
        site.origin.sync()
        site.origin.edit(RELEASE, "soak: 48h", "soak: 1h")
        site.origin.merge(ADA, "A shorter soak")
        site.now += 2 * HOURS
        site.tick(2)
        assert (site.proposal().ballot.phase, len(site.proposals())) == (Phase.PENDING, 2)
    finally:
        site.close()


@pytest.mark.parametrize(
    "change",
    [
        {"maxDevices": 10},
        *(
            pytest.param(change, marks=pytest.mark.long)
            for change in ({"maxShare": 0.0001}, {"environments": ["staging"]}, {"remedies": ["pause"]})
        ),
    ],
)
def test_a_rule_that_does_not_reach_that_far_lets_nothing_through(tmp_path: Path, change: dict[str, object]) -> None:
    site = Site(tmp_path, approval={"quorum": 1, "expiry": "4h", "automatic": [{**RULE, **change}]})
    try:
        soaked(site)
        site.tick(3)
        assert site.proposal().ballot.phase is Phase.PENDING
    finally:
        site.close()


def test_the_gate_is_shown_check_by_check_with_what_is_missing_first(site: Site) -> None:
    site.tick()
    shown = say(site, "vi", "rollout triage-gateways")
    assert "soak unknown" in shown
    assert "fairness fine" in shown


MOBILE = "deployments/triage-mobile.yaml"


def test_a_percentage_goes_up_step_by_step_on_the_same_evidence_and_is_paused_at_nothing(site: Site) -> None:
    def newest() -> Proposal:
        return [each for each in site.proposals() if each.model == "triage-mobile"][-1]

    def approved(who: str) -> None:
        site.bot.decisions.approve(newest().id, who, newest().ballot.digest)
        site.tick()

    def decided(text: str) -> None:
        said = say(site, "ada", text)
        assert "the proposal follows" in said, said
        site.tick()
        approved("cy")

    soaked(site)
    assert [each.bad_version for each in site.proposals() if each.model == "triage-mobile"] == [], (
        "nothing was heard of it"
    )
    assert "health unknown" in say(site, "vi", "rollout triage-mobile")
    groups = [group for model, group in site.world().fleet().placements if model == "triage-mobile"]
    assert groups
    for group in groups:
        site.fleet.runs(group, "triage-mobile", {"1.1.0": 2})
        site.fleet.computed(group, "triage-mobile", "1.1.0", 500, 0.0002)
    site.fleet.save()
    site.tick()
    assert "fairness unknown" in say(site, "vi", "rollout triage-mobile")
    assert not [each for each in site.proposals() if each.model == "triage-mobile"], "what is not known does not pass"
    site.origin.edit(MOBILE, "  aiAlignmentPolicyRef: alignment-clinical\n", "")
    site.origin.merge(ADA, "No policy asks for what this model cannot tell")
    site.tick(2)
    proposal = newest()
    assert proposal.title == "Promote mobile/triage-mobile (triage-mobile 1.1.0) to rolloutPercentage 50"
    approved("mara")
    assert newest().ballot.votes == (), "who brought the version does not let it go on"
    approved("ada")
    assert "rolloutPercentage: 50" in site.origin.read(MOBILE)
    site.tick()
    assert "soak unknown" in say(site, "vi", "rollout triage-mobile"), "the next step takes another day"
    assert "the next wave is 100, not 10" in say(site, "ada", "propose promote triage-mobile to=10 back")
    decided("pause triage-mobile odd scores")
    assert "rolloutPercentage: 0" in site.origin.read(MOBILE)
    assert "resume it first" in say(site, "ada", "promote triage-mobile")
    assert "expected a step of" in say(site, "ada", "propose resume triage-mobile to=37 looked into")
    decided("propose resume triage-mobile to=50 looked into")
    assert "rolloutPercentage: 50" in site.origin.read(MOBILE)
    assert "roll back triage-mobile 1.1.0 instead" in say(site, "ada", "abort triage-mobile crashes")
