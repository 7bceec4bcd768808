"""Decisions on the pull request itself: comments and reviews of linked people, each taken once and answered once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.bot.github_site import ADA, BO, CY, EVE, MARA, ROBOT, GitHubSite
from tests.rigs.github import Fault, User
from trimtab_bot.approvals.machine import Phase
from trimtab_bot.records import IncidentPhase
from trimtab_kernel.problems import OutsideError


@pytest.fixture
def site(tmp_path: Path) -> Iterator[GitHubSite]:
    with ExitStack() as stack:
        made = GitHubSite(tmp_path, stack)
        yield made
        made.close()


def approval(site: GitHubSite) -> str:
    proposal = site.proposal()
    return f"/trimtab approve {proposal.id} {proposal.ballot.digest.removeprefix('sha256:')[:12]}"


def test_a_comment_of_a_linked_person_approves_once_and_nothing_else_does(site: GitHubSite) -> None:
    site.broken()
    (pull,) = site.rig.pulls.values()
    number, command = pull.number, approval(site)
    rig, listener = site.rig, site.listener()
    wrong = [
        (EVE, command, "B440"),
        (BO, command, "B405"),  # the author of what is undone
        (ADA, f"{command}\n/trimtab help", "B453"),
        (ADA, command.replace("approve", "\N{CYRILLIC SMALL LETTER A}pprove"), "CYRILLIC"),
        (ADA, "/trimtab approve p-0000000000 0123456789ab", "B424"),
        (ADA, command[:-12] + "0" * 12, "B409"),
    ]
    for user, text, _ in wrong:
        rig.say(number, user, text)
    edited = rig.say(number, ADA, "looks good")
    rig.rewrite(edited, command)
    rig.say(number, ADA, command, through_app=True)
    rig.say(number, User("helper[bot]", 99, "-", "Bot"), command)
    rig.say(number, ROBOT, command)  # our own account decides nothing
    rig.say(number, EVE, "<!-- trimtab:answer:1:comment/1002 -->\napproved by ada")  # a forged answer of ours
    for quoted in (f"> {command}", f"```\n{command}\n```", f"I would say {command}", "/trimtabs approve"):
        rig.say(number, ADA, quoted)

    assert listener.step().taken == len(wrong) + 3
    said = site.answers()
    for _, _, code in wrong:
        assert sum(code in each for each in said) == 1 + (code == "B440"), code  # the robot is nobody either
    assert sum("B451" in each for each in said) == 1
    assert sum("B452" in each for each in said) == 1
    assert site.proposal().ballot.votes == ()
    # A stranger is answered once, however much they write; and an answer cannot be made to mention or link.
    rig.say(number, EVE, "/trimtab why ```\n@everyone")
    assert listener.step().taken == 1
    assert len(site.answers()) == len(said)
    assert all(each.count("```") == 2 for each in said)

    rig.say(number, ADA, command)
    # The answer is lost on its way: it was said, so it is not said again.
    rig.faults = [Fault("POST", f"/issues/{number}/comments", 502, after=True)]
    with pytest.raises(OutsideError):
        listener.step()
    assert site.listener().step().taken == 0
    assert [each for each in site.answers()[len(said) + 1 :] if "approval recorded" in each] == []
    assert "approval recorded, 1 of 1" in site.answers()[-1]
    assert site.proposal().ballot.phase is Phase.APPROVED
    site.tick()
    assert len(site.origin.merges_of_the_bot()) == 1
    rig.rewrite(rig.say(number, CY, "thanks"), "/trimtab deny it")
    site.listener().step()
    assert "B451" in site.answers()[-1]
    count = len(site.answers())
    site.tick(2)
    site.listener().step()
    assert len(site.answers()) == count
    site.back()
    site.tick()
    site.settle()
    assert site.incident().phase is IncidentPhase.CLOSED


def test_a_review_counts_for_its_person_where_it_is_of_the_proposed_commit(site: GitHubSite) -> None:
    site.broken()
    (pull,) = site.rig.pulls.values()
    listener, number = site.listener(), pull.number
    site.rig.review(number, ADA, "APPROVED", commit=site.origin.tip())
    site.rig.review(number, BO, "APPROVED")
    site.rig.review(number, EVE, "APPROVED")
    site.rig.review(number, CY, "COMMENTED", "hm")
    site.rig.review(number, User("helper[bot]", 99, "-", "Bot"), "APPROVED")
    listener.step()
    said = " ".join(site.answers())
    assert all(code in said for code in ("B454", "B405", "B440"))
    assert site.proposal().ballot.votes == ()

    taken_back = site.rig.review(number, ADA, "APPROVED")
    listener.step()
    assert [vote.person for vote in site.proposal().ballot.votes] == ["ada"]
    taken_back.state = "DISMISSED"
    listener.step()
    assert site.proposal().ballot.votes == ()
    assert site.proposal().ballot.phase is Phase.PENDING
    site.tick()
    assert site.origin.merges_of_the_bot() == []

    site.rig.review(number, MARA, "APPROVED")
    listener.step()
    site.tick()
    assert len(site.origin.merges_of_the_bot()) == 1
    assert "Approved-by: mara" in site.origin.scratch.text("log", "-1", "--format=%B", "refs/heads/main")


@pytest.mark.long
def test_changes_requested_deny_with_the_reviews_words(site: GitHubSite) -> None:
    site.broken()
    site.rig.review(1, ADA, "CHANGES_REQUESTED", "a broken sensor,\nnot the model")
    site.listener().step()
    ballot = site.proposal().ballot
    assert (ballot.phase, ballot.reason) == (Phase.DENIED, "denied by ada: a broken sensor, not the model")
    site.tick()
    assert site.rig.pulls[1].state == "closed"


def test_what_has_not_changed_costs_nothing_of_the_rate_limit_and_a_limit_is_obeyed(site: GitHubSite) -> None:
    site.broken()
    listener = site.listener()
    listener.step()
    site.tick(2)
    before, asked = site.rig.counted(), len(site.rig.log)
    site.tick(3)
    listener.step()
    assert len(site.rig.log) > asked
    assert [entry for entry in site.rig.log[asked:] if entry[2] != 304] == []
    assert site.rig.counted() == before
    # A secondary limit: nobody asks again before its time, not even for something else.
    site.rig.faults = [Fault("GET", "/comments$", 403, headers={"Retry-After": "70"}, message="secondary rate limit")]
    with pytest.raises(OutsideError) as caught:
        listener.step()
    assert caught.value.retry_after == 70
    asked = len(site.rig.log)
    with pytest.raises(OutsideError, match="left alone"):
        listener.step()
    site.tick()
    assert "left alone" in site.health()
    assert len(site.rig.log) == asked


def test_the_proof_stands_as_a_check_on_exactly_the_head(site: GitHubSite) -> None:
    proposal = site.broken()
    head = proposal.ballot.binding.head
    site.listener().step()
    (check,) = site.rig.checks.values()
    assert (check["name"], check["head_sha"], check["conclusion"]) == ("trimtab-proof", head, "success")
    proof = next(fact.value for fact in proposal.facts if fact.label == "Proof of equality")
    assert proof in check["output"]["summary"]
    # A new process says nothing that stands there already; what is pushed later has no check.
    writes = len(site.rig.writes())
    site.listener().step()
    assert len(site.rig.writes()) == writes
    evil = site.origin.scratch.commit({"evil.yaml": b"a: 1\n"}, head, branch=site.rig.pulls[1].branch)
    site.tick()
    site.listener().step()
    assert [each["head_sha"] for each in site.rig.checks.values() if each["conclusion"] == "success"] != [evil]
    assert site.rig.checks[check["id"]]["conclusion"] == "failure"


@pytest.mark.long
def test_where_checks_are_for_apps_alone_a_status_says_it(site: GitHubSite) -> None:
    site.broken()
    site.rig.faults = [Fault("POST", "/check-runs$", 403, times=9, message="You must authenticate via a GitHub App.")]
    for _ in range(2):
        site.listener().step()
    (status,) = site.rig.statuses
    assert (status["context"], status["state"]) == ("trimtab-proof", "success")
    assert status["sha"] == site.proposal().ballot.binding.head
