"""Quorum and roles by risk, break-glass with its after-review, and approvals that are taken back, over a real repository."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.bot.rig import ADA, BO, BOT, CY, MARA, Site, person
from trimtab_bot.approvals.machine import Phase
from trimtab_bot.approvals.rules import ApprovalRule, AutomaticRule, Risk, automatic, demand
from trimtab_bot.commands import Actor, Reply, Where
from trimtab_bot.configuration import read_configuration
from trimtab_kernel.problems import InputError

if TYPE_CHECKING:
    from pathlib import Path

PEOPLE = [
    person("mara", MARA),
    person("bo", BO, "approver", "break-glass"),
    person("ada", ADA, "approver"),
    person("cy", CY, "approver", "lead"),
    person("vi", "Vi Ewer <vi@example.com>", "viewer"),
    person("robot", BOT, "approver", "break-glass"),
]
WIDE = {"name": "wide", "minDevices": 10, "quorum": 2, "roles": ["lead"]}


def made(folder: Path, *rules: dict[str, object]) -> Site:
    return Site(folder, people=PEOPLE, approval={"quorum": 1, "expiry": "4h", "rules": list(rules)})


def say(site: Site, who: str, verb: str, rest: str = "") -> Reply:
    proposal = site.proposal()
    text = f"{verb} {proposal.id} {proposal.ballot.digest} {rest}"
    return site.bot.commands.say(text.rstrip(), Actor(who, f"test:{who}"), Where("test"))


def test_a_wide_change_needs_more_people_and_one_of_them_a_lead(tmp_path: Path) -> None:
    site = made(tmp_path, WIDE, {"name": "narrow", "remedies": ["pause"], "quorum": 3})
    try:
        site.broken()
        assert site.view().quorum == 2
        assert "1 of 2" in say(site, "ada", "approve").text
        assert site.proposal().ballot.phase is Phase.PENDING
        # Mara has approved too: that makes two, and still no lead among them.
        assert "nobody among them with the role lead" in say(site, "mara", "approve").text
        site.tick(2)
        assert site.origin.merges_of_the_bot() == []
        assert "merging" in say(site, "cy", "approve").text
        site.tick()
        assert site.proposal().ballot.phase is Phase.MERGED
    finally:
        site.close()


def test_an_approval_is_taken_back_until_the_merge_begins(tmp_path: Path) -> None:
    site = made(tmp_path)
    try:
        site.broken()
        assert say(site, "ada", "revoke").code == "B446"
        assert say(site, "ada", "approve").done
        assert say(site, "cy", "revoke").code == "B446"
        site.now += 1
        assert say(site, "ada", "revoke").done
        assert (site.proposal().ballot.phase, site.proposal().ballot.votes) == (Phase.PENDING, ())
        site.tick(2)
        assert site.origin.merges_of_the_bot() == []
        assert say(site, "ada", "approve").done
        site.tick()
        assert say(site, "ada", "revoke").code == "B408"
        names = [event["event"] for _, event in site.events.seen]
        assert names.count("revoked") == 1
    finally:
        site.close()


def test_one_person_breaks_the_glass_and_a_second_one_signs(tmp_path: Path) -> None:
    """Not even the quorum, the author's bar or unknown evidence stand in the way; the digest does, and the review stays open."""
    site = made(tmp_path, WIDE)
    try:
        site.broken()
        assert say(site, "bo", "approve").code == "B405"
        assert say(site, "ada", "approve", "break-glass fire").code == "B403"
        assert say(site, "robot", "approve", "break-glass fire").code == "B404"
        found = site.bot.decisions.break_glass(site.proposal().id, "ada", site.proposal().ballot.digest, "fire")
        assert "B445" in repr(found)
        found = site.bot.decisions.break_glass(site.proposal().id, "bo", site.proposal().ballot.digest, " ")
        assert "B447" in repr(found)
        found = site.bot.decisions.break_glass(site.proposal().id, "bo", "sha256:" + "0" * 64, "fire")
        assert "B409" in repr(found)
        site.fleet.down = "prometheus is on fire too"
        site.fleet.save()
        assert say(site, "bo", "approve", "break-glass patients are referred wrongly").done
        site.tick()
        merged = site.proposal().ballot
        assert (merged.phase, merged.after_review) == (Phase.MERGED, True)
        assert "Approved-by: bo (break-glass)" in site.origin.scratch.text("log", "-1", "--format=%B", "main")
        status = site.bot.commands.say("status", Actor("vi", "test:vi"), Where("test")).text
        assert f"waits for a second person's review: {site.proposal().id}" in status
        site.restart()
        assert say(site, "bo", "approve").code in ("B405", "B448")
        assert say(site, "ada", "deny", "it should have waited").done
        assert site.proposal().ballot.after_review, "an objection closes nothing"
        assert "signed" in say(site, "cy", "approve").text
        glass = site.proposal().ballot.glass
        assert glass is not None
        assert (glass.reviewer, glass.objection) == ("cy", "ada: it should have waited")
        assert say(site, "ada", "approve").code == "B408"
        assert len(site.origin.merges_of_the_bot()) == 1
    finally:
        site.close()


def test_the_glass_does_not_hold_against_evidence_that_says_otherwise(tmp_path: Path) -> None:
    site = made(tmp_path)
    try:
        site.broken()
        site.good()
        site.fleet.runs("kiosk-emea", "triage", {"1.2.0": 2})
        for group in ("kiosk-amer", "kiosk-apac", "kiosk-emea", "kiosk-latam"):
            site.fleet.decided(group, "triage", "1.2.0", {"sex-1": (480, 520), "sex-2": (500, 500)})
        site.fleet.save()
        site.tick()
        assert say(site, "bo", "approve", "break-glass fire").code == "B416"
        assert site.origin.merges_of_the_bot() == []
    finally:
        site.close()


def test_rules_that_change_after_an_approval_make_it_void(tmp_path: Path) -> None:
    site = made(tmp_path)
    try:
        first = site.broken()
        site.configure(people=PEOPLE, approval={"quorum": 1, "expiry": "4h", "rules": [WIDE]})
        site.restart()
        site.bot.loop.tick()
        assert "B417" in repr(site.bot.decisions.approve(first.id, "ada", first.ballot.digest))
        assert site.view().quorum == 2, "the new proposal is under the new rules"
    finally:
        site.close()


@pytest.mark.parametrize(
    "approval",
    [
        {"rules": [{"name": "a", "quorum": 9}]},
        {"rules": [{"name": "a", "roles": ["lead"]}]},
        {"rules": [{"name": "a", "remedies": ["reboot"]}]},
        {"automatic": [{"name": "a", "remedies": ["reboot"], "environments": ["x"], "maxDevices": 1, "maxShare": 0.1}]},
    ],
)
def test_a_rule_that_nobody_could_meet_is_refused_at_the_start(tmp_path: Path, approval: dict[str, object]) -> None:
    import json

    from tests.bot.rig import settings

    content = json.dumps(settings(tmp_path, approval={"quorum": 1, "expiry": "4h", **approval})).encode()
    with pytest.raises(InputError):
        read_configuration(content, tmp_path)


def test_the_arithmetic_of_rules() -> None:
    risk = Risk("promote", frozenset({"production", ""}), 100, 0.2, by_bot=True, verified=True)
    rules = (
        ApprovalRule("all", (), (), 0, 0.0, 1, ()),
        ApprovalRule("production", ("promote",), ("production",), 0, 0.0, 2, ("lead",)),
        ApprovalRule("share", (), (), 0, 0.2, 3, ()),
        ApprovalRule("wide", (), (), 101, 0.0, 9, ("break-glass",)),
    )
    found = demand(rules, 1, risk)
    assert (found.quorum, found.roles, found.rules) == (3, ("lead",), ("all", "production", "share"))
    let = AutomaticRule("a", ("promote",), ("production", ""), 100, 0.2, 1)
    assert automatic((let,), risk) == (let,)
    for other in (
        Risk("promote", frozenset({"production", "staging"}), 100, 0.2, by_bot=True, verified=True),
        Risk("promote", frozenset(), 100, 0.2, by_bot=True, verified=True),
        Risk("rollback", frozenset({"production"}), 100, 0.2, by_bot=True, verified=True),
        Risk("promote", frozenset({"production"}), 101, 0.2, by_bot=True, verified=True),
        Risk("promote", frozenset({"production"}), 100, 0.21, by_bot=True, verified=True),
        Risk("promote", frozenset({"production"}), 100, 0.2, by_bot=False, verified=True),
        Risk("promote", frozenset({"production"}), 100, 0.2, by_bot=True, verified=False),
    ):
        assert automatic((let,), other) == ()
