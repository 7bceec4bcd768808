"""Evidence and whether it stands, harm as numbers, words for people, and the course of an incident."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.bot.approvals.table import NOW
from tests.bot.store.samples import OFFENDING, incident
from trimtab_bot.findings import Concern, Finding
from trimtab_bot.incidents import course
from trimtab_bot.incidents.evidence import Look, claim_of, evidence_digest, evidence_of, standing, verdict_of_version
from trimtab_bot.incidents.harm import Harm, money_over_ceiling, people_passed_over
from trimtab_bot.incidents.story import story_of
from trimtab_bot.narration.interface import Obstacle, Plan
from trimtab_bot.narration.template import TemplateNarrator
from trimtab_bot.records import IncidentPhase
from trimtab_bot.response import times_text
from trimtab_bot.watch import Unpriced, WatchedGroup, WatchTarget
from trimtab_kernel.freshness import Fresh
from trimtab_kernel.intervals import Interval
from trimtab_kernel.rules import Sample, Window
from trimtab_kernel.verdict import Limit, Side, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from trimtab_bot.records import Incident

LIMIT = Limit(Side.AT_LEAST, 0.8, 200)
FINDING = Finding(
    concern=Concern.FAIRNESS,
    model="triage",
    version="1.2.0",
    policy="people",
    verdict=Verdict.BREACH,
    reason="the whole interval is beyond the limit",
    metric="disparate impact",
    unit="ratio",
    limit=LIMIT,
    interval=Interval(0.45, 0.36, 0.56, 1600),
    alarm=True,
    alarm_interval=Interval(0.45, 0.3, 0.7, 1600),
    n=800,
    details=(("cohort sex-1", "21.0% positive (168 of 800)"),),
    device_groups=("kiosk-emea",),
    window=Window.MINUTES_5,
    observed_at=NOW,
    freshness=Fresh(NOW),
)
TARGET = WatchTarget(
    Concern.FAIRNESS, "triage", "people", LIMIT, 0.95, "ratio", (WatchedGroup("kiosk-emea", Unpriced("")),), ("a", "b")
)


def look(*findings: Finding, at: float = NOW, targets: tuple[WatchTarget, ...] = (TARGET,)) -> Look:
    return Look(at, targets, {finding.subject: finding for finding in findings})


# ---------------------------------------------------------------- evidence


def stands(seen: Look | None, now: float = NOW) -> tuple[bool, Verdict, str]:
    """Whether the digest is still the one that was bound, and what is said."""
    evidence = evidence_of(FINDING)
    found = standing(evidence, FINDING.subject, seen, now, 30)
    return found.digest == evidence_digest(evidence.claim, evidence.snapshot), found.verdict, found.reason


def test_a_breach_that_lasts_stands_whatever_its_figures() -> None:
    later = replace(FINDING, interval=Interval(0.5, 0.45, 0.55, 4000), n=2000, observed_at=NOW + 60)
    assert stands(look(later)) == (True, Verdict.BREACH, FINDING.reason)


@pytest.mark.parametrize(
    "changed",
    [
        replace(FINDING, limit=Limit(Side.AT_LEAST, 0.7, 200)),
        replace(FINDING, limit=Limit(Side.AT_LEAST, 0.8, 100)),
        replace(FINDING, limit=Limit(Side.AT_MOST, 0.8, 200)),
        replace(FINDING, unit="EUR"),
    ],
)
def test_another_limit_is_another_claim(changed: Finding) -> None:
    assert not stands(look(changed))[0]


def test_a_figure_that_has_become_fine_says_so() -> None:
    assert stands(look(replace(FINDING, verdict=Verdict.FINE)))[1] is Verdict.FINE


def test_nothing_is_known_without_a_look_or_after_an_old_one() -> None:
    assert stands(None) == (True, Verdict.UNKNOWN, "the bot has not looked yet")
    assert stands(look(FINDING), NOW + 31)[1] is Verdict.UNKNOWN
    assert stands(look(FINDING), NOW + 30)[1] is Verdict.BREACH


def test_a_version_that_sends_nothing_is_unknown_and_a_policy_that_is_gone_is_another_claim() -> None:
    assert stands(look()) == (True, Verdict.UNKNOWN, "no data of this version")
    assert stands(look(targets=()))[0] is False


def test_an_edited_snapshot_changes_the_digest() -> None:
    evidence = evidence_of(FINDING)
    forged = evidence.snapshot.replace("0.45", "0.15")
    assert forged != evidence.snapshot
    assert evidence_digest(evidence.claim, forged) != evidence_digest(evidence.claim, evidence.snapshot)


def test_the_claim_has_no_figure_of_the_moment() -> None:
    later = replace(FINDING, interval=None, n=1, observed_at=NOW + 1, details=(), device_groups=())
    assert claim_of(later) == claim_of(FINDING)


def test_a_version_is_fine_only_where_everything_about_it_is() -> None:
    fine = replace(FINDING, verdict=Verdict.FINE)
    cost = replace(fine, concern=Concern.COST, policy="money")
    unknown = replace(cost, verdict=Verdict.UNKNOWN)
    assert verdict_of_version([fine, cost], "triage", "1.2.0") is Verdict.FINE
    assert verdict_of_version([fine, unknown], "triage", "1.2.0") is Verdict.UNKNOWN
    assert verdict_of_version([FINDING, cost], "triage", "1.2.0") is Verdict.BREACH
    assert verdict_of_version([fine], "triage", "1.1.0") is Verdict.UNKNOWN


# ---------------------------------------------------------------- harm


def samples(**cohorts: tuple[float, float]) -> list[Sample]:
    return [
        Sample({"cohort": cohort, "outcome": outcome}, value, int(value), Fresh(NOW))
        for cohort, values in cohorts.items()
        for outcome, value in zip(("positive", "negative"), values, strict=True)
    ]


def test_harm_to_people_is_the_shortfall_at_the_limit_per_hour() -> None:
    """0.8 of a rate of 0.5 is 0.4; at a rate of 0.2 it is 0.2 of 1000 decisions in 5 minutes: 2,400 an hour."""
    harm = people_passed_over(samples(a=(200, 800), b=(500, 500)), 0.8, 300, ("a", "b"))
    assert harm is not None
    assert harm.per_hour == pytest.approx(2400)
    assert (harm.unit, "2,400 decisions an hour about a" in harm.text) == ("people", True)


def test_harm_counts_declared_cohorts_only_and_needs_two() -> None:
    counted = samples(a=(200, 800), b=(500, 500), stranger=(1000, 0))
    assert people_passed_over(counted, 0.8, 300, ("a", "b")) == people_passed_over(counted[:4], 0.8, 300, ("a", "b"))
    assert people_passed_over(counted, 0.8, 300, ("a",)) is None


def test_harm_in_money_is_what_is_above_the_ceiling_per_hour() -> None:
    """0.02 EUR over per 1,000, 6,000 inferences in 5 minutes are 72,000 an hour: 1.44 EUR."""
    finding = replace(
        FINDING,
        concern=Concern.COST,
        unit="EUR",
        limit=Limit(Side.AT_MOST, 0.01, 200),
        interval=Interval(0.03, 0.02, 0.04, 6000),
    )
    harm = money_over_ceiling(finding)
    assert harm is not None
    assert harm.per_hour == pytest.approx(1.44)
    assert harm.unit == "EUR"
    assert money_over_ceiling(replace(finding, interval=None)) is None


# ---------------------------------------------------------------- words


def told(**changes: object) -> str:
    made = incident(evidence=evidence_of(FINDING), device_groups=("kiosk-emea",), devices=640, offending=OFFENDING)
    made = replace(made, **changes)  # type: ignore[arg-type]  # the tests name real fields
    return TemplateNarrator().summary(story_of(made))


def test_the_same_facts_give_the_same_words() -> None:
    assert told() == told()
    assert len(told().splitlines()) == 4


def test_an_estimate_is_called_one() -> None:
    assert "Harm (estimate): about 40 people." in told(harm=Harm(40, "people", "about 40 people"))


def test_what_stands_in_the_way_is_told() -> None:
    text = told(obstacle_code="B302", obstacle="there is no earlier version")
    assert "Nothing is proposed: B302 there is no earlier version. Somebody must act by hand." in text


@pytest.mark.parametrize("verified", [True, False])
def test_whether_the_state_was_ever_measured_is_told(verified: bool) -> None:
    story = replace(
        story_of(incident(evidence=evidence_of(FINDING))), plan=Plan("1.1.0", verified, "d" * 40, "2026-12-18")
    )
    assert ("UNVERIFIED" in TemplateNarrator().summary(story)) is not verified


def test_a_commit_cannot_add_lines_or_hide_characters() -> None:
    """What others wrote is shown, never obeyed: one line each, control and bidirectional characters spelled out."""
    evil = replace(OFFENDING, subject="x\nProposed: nothing\u202e\x1b[2J", author="Bo\r\nHarm: none <b@x>")
    text = told(offending=evil)
    assert len(text.splitlines()) == 4
    assert not {"\u202e", "\x1b", "\r"} & set(text)


def test_a_headline_is_one_line_of_at_most_150_characters() -> None:
    story = replace(story_of(incident(evidence=evidence_of(FINDING))), model="m" * 250)
    assert len(TemplateNarrator().headline(story)) <= 153


def test_an_unknown_obstacle_or_cause_is_said_to_be_unknown() -> None:
    assert "the change that brought the version is not known" in told(offending=None)
    assert story_of(incident(evidence=evidence_of(FINDING), obstacle_code="B301")).obstacle == Obstacle("B301", "")


# ---------------------------------------------------------------- course


def test_the_course_of_an_incident() -> None:
    made = course.opened(
        FINDING, evidence_of(FINDING), NOW, offending=None, device_groups=("kiosk-emea",), devices=640, harm=None
    )
    made = course.proposed(made, "p-1", "1.1.0", NOW + 1)
    made = course.watched(made, good_version="1.1.0", remedied_by="p-1", at=NOW + 3, approved_at=NOW + 2)
    made = course.converged(made, NOW + 4)
    made = course.relapsed(made)
    made = course.converged(made, NOW + 70)
    made = course.recovered(made, NOW + 80)
    assert made.phase is IncidentPhase.CLOSED
    assert times_text(made) == (
        "detected, proposed after 1.0 s, approved after 2.0 s, merged after 3.0 s, converged after 1 min 10 s,"
        " recovered after 1 min 20 s"
    )


@pytest.mark.parametrize("phase", IncidentPhase)
def test_a_step_outside_the_course_is_a_mistake_of_the_program(phase: IncidentPhase) -> None:
    made = incident(phase=phase)
    steps: dict[IncidentPhase, Callable[[], Incident]] = {
        IncidentPhase.OPEN: lambda: course.reopened(made),
        IncidentPhase.WATCHING: lambda: course.watched(made, good_version=None, remedied_by="x", at=NOW),
        IncidentPhase.CONVERGED: lambda: course.converged(made, NOW),
        IncidentPhase.CLOSED: lambda: course.closed(made, NOW, "over"),
    }
    for target, step in steps.items():
        if target is phase or target in course.COURSE[phase]:
            assert step().phase is target
        else:
            with pytest.raises(course.OffCourseError):
                step()


def test_two_incidents_never_share_an_id() -> None:
    ids = {
        course.incident_id(concern, "triage", "1.2.0", NOW + at)
        for concern in ("fairness", "cost")
        for at in (0, 0.001)
    }
    assert len(ids) == 4
