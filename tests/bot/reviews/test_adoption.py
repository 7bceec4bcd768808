"""A rollback that a person proposed: taken where it is proven, offered like the bot's own, and approved by somebody else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.bot.github_site import ADA, CY, EVE, GitHubSite
from tests.bot.rig import KIOSKS, RELEASE
from tests.rigs.github import User
from trimtab_bot.approvals.machine import Phase
from trimtab_bot.chat.board import compose
from trimtab_bot.inbox.interface import Accepted, Refused
from trimtab_bot.records import IncidentPhase


@pytest.fixture
def site(tmp_path: Path) -> Iterator[GitHubSite]:
    with ExitStack() as stack:
        made = GitHubSite(tmp_path, stack)
        yield made
        made.close()


HOSTILE = "cy/<!channel>@everyone`$(reboot)`"
NOTHING: Mapping[str, bytes] = {}
NAMES = {"cy": "Cy Novak", "ada": "Ada Moreau", "eve": "Eve"}


def branch(
    site: GitHubSite, who: User, name: str, base: str, *, extra: bytes = b"", more: Mapping[str, bytes] = NOTHING
) -> str:
    """Somebody's pull request on ``base`` with the file of the release as it was before it, ``extra`` in it, ``more`` beside."""
    good = site.origin.read(RELEASE, f"{site.origin.tip()}^1").encode() + extra
    identity = f"{NAMES[who.login]} <{who.login}@example.com>"
    head = site.origin.commit(identity, "Back to 1.1.0", base, files={**site.origin.files, RELEASE: good, **more})
    site.origin.scratch.git("update-ref", f"refs/heads/{name}", head)
    site.acting_as(who).create_pull("main", name, title=f"{name} <!channel>", body="it is unfair")
    return head


def proposed_by_cy(site: GitHubSite, more: str = "") -> int:
    """Cy restores the earlier text on a branch of their own and opens a pull request, before the bot sees anything."""
    site.tick()
    site.origin.release()
    branch(site, CY, "cy/back", site.origin.tip(), extra=more.encode())
    return max(site.rig.pulls)


def test_a_persons_rollback_is_recognised_proven_and_offered(site: GitHubSite) -> None:
    number = proposed_by_cy(site)
    site.bad()
    site.tick()
    proposal = site.proposal()
    assert (proposal.number, list(site.rig.pulls)) == (number, [number])
    assert any("all equal" in fact.value for fact in proposal.facts)
    site.listener().step()
    (check,) = site.rig.checks.values()
    assert (check["head_sha"], check["conclusion"]) == (site.rig.pulls[number].head, "success")
    assert "Proof of equality" in check["output"]["summary"]

    refused = site.approve("cy")
    assert isinstance(refused, Refused)
    assert refused.code == "B404"
    site.rig.review(number, ADA, "APPROVED")
    site.listener().step()
    site.tick()
    (merge,) = site.origin.merges_of_the_bot()
    assert site.origin.read(RELEASE) == site.origin.read(RELEASE, f"{merge}^1^1")
    assert site.rig.pulls[number].merged_at is not None


@pytest.mark.long
def test_one_that_changes_more_is_left_to_people_and_the_bot_proposes_its_own(site: GitHubSite) -> None:
    number = proposed_by_cy(site, "---\napiVersion: apexlogic.ai/v1\nkind: Nonsense\n")
    site.bad()
    site.tick()
    assert site.proposal().number not in (None, number)
    assert isinstance(site.approve("ada"), Accepted)


@pytest.mark.long
def test_what_is_pushed_to_it_afterwards_voids_it_and_it_is_not_ours_to_close(site: GitHubSite) -> None:
    number = proposed_by_cy(site)
    site.bad()
    site.tick()
    assert isinstance(site.approve("ada"), Accepted)
    pull = site.rig.pulls[number]
    site.origin.scratch.commit({"evil.yaml": b"a: 1\n"}, pull.head, branch="cy/back")
    before = site.origin.tip()
    site.tick(2)
    assert site.origin.tip() == before
    assert site.proposals()[0].ballot.code == "B413"
    assert pull.state == "open"
    assert site.proposal().number != number


def pushed(site: GitHubSite, parent: str, files: dict[str, bytes]) -> str:
    """Cy's next commit on the hostile branch."""
    head = site.origin.commit("Cy Novak <cy@example.com>", "More", parent, files=files)
    site.origin.scratch.git("update-ref", f"refs/heads/{HOSTILE}", head)
    return head


def released(site: GitHubSite) -> str:
    """A release that nobody has found anything against."""
    site.tick()
    bad = site.origin.release()
    for group in KIOSKS:
        site.fleet.runs(group, "triage", {"1.2.0": 2})
    site.fleet.save()
    return bad


@pytest.mark.long
def test_what_is_no_rollback_or_more_than_one_is_left_to_people(site: GitHubSite) -> None:
    """A stranger's, one with other objects, or with somebody else's, or with other files in it, and one that is behind."""
    bad = released(site)
    branch(site, EVE, "eve/back", bad)
    branch(site, ADA, "ada/more", bad, extra=b"---\napiVersion: apexlogic.ai/v1\nkind: Nonsense\n")
    branch(site, ADA, "ada/foreign", bad, extra=b"---\napiVersion: v1\nkind: Secret\nmetadata: {name: mine}\n")
    branch(site, ADA, "ada/workflow", bad, more={".github/workflows/mine.yml": b"on: push\n"})
    branch(site, ADA, "ada/behind", site.origin.scratch.text("rev-parse", f"{bad}^1").strip())
    site.tick(2)
    assert site.incidents() == ()


def test_a_rollback_is_recognised_where_nothing_is_known_to_be_wrong(site: GitHubSite) -> None:
    """By what it does; its title and its branch's name are hostile and say nothing."""
    bad = released(site)
    first = branch(site, CY, HOSTILE, bad)
    number = max(site.rig.pulls)
    site.tick()
    case, proposal = site.incident(), site.proposal()
    assert (proposal.number, proposal.ballot.binding.head, proposal.ballot.proposer) == (number, first, "cy")
    assert case.request is not None
    assert (case.request.by, case.request.via, case.phase) == ("cy", f"pull/{number}", IncidentPhase.OPEN)
    # Offered in chat, in words of ours alone; proven on exactly this head.
    message = compose(case, (proposal,), (), 1)
    assert message.ask is not None
    assert "<!channel>" not in repr(message)
    site.listener().step()
    (check,) = site.rig.checks.values()
    assert (check["head_sha"], check["conclusion"]) == (first, "success")
    assert "Proof of equality" in check["output"]["summary"]
    for who, code in (("cy", "B404"), ("bo", "B405")):
        refused = site.approve(who)
        assert isinstance(refused, Refused)
        assert refused.code == code
    assert isinstance(site.approve("ada"), Accepted)

    # What is pushed voids it; what is pushed to undo that is another head, and looked at anew.
    whole = {**site.origin.files, RELEASE: site.origin.read(RELEASE, first).encode()}
    evil = pushed(site, first, {**whole, "evil.yaml": b"a: 1\n"})
    site.tick(2)
    assert site.origin.tip() == bad
    assert (site.proposal().ballot.code, site.incident().phase) == ("B413", IncidentPhase.CLOSED)
    assert site.rig.pulls[number].state == "open"
    second = pushed(site, evil, whole)
    site.tick(2)
    proposal = site.proposal()
    assert (proposal.ballot.binding.head, proposal.ballot.phase, proposal.ballot.votes) == (second, Phase.PENDING, ())
    assert isinstance(site.approve("ada"), Accepted)
    site.tick()
    (merge,) = site.origin.merges_of_the_bot()
    assert site.origin.read(RELEASE, merge) == site.origin.read(RELEASE, f"{bad}^1")
    site.back()
    site.tick(2)
    assert site.incidents()[-1].phase is IncidentPhase.CLOSED
    assert len(site.rig.pulls) == number, "the bot opened none"


@pytest.mark.long
def test_one_that_comes_after_the_bots_own_is_offered_too_and_the_first_that_is_merged_ends_the_other(
    site: GitHubSite,
) -> None:
    own = site.broken()
    branch(site, CY, "cy/back", site.origin.tip())
    site.tick()
    theirs = site.proposal()
    assert [each.ballot.phase for each in site.proposals()] == [Phase.PENDING, Phase.PENDING]
    assert theirs.ballot.proposer == "cy"
    assert isinstance(site.approve("ada"), Accepted)
    site.tick(2)
    assert len(site.origin.merges_of_the_bot()) == 1
    phases = {each.id: each.ballot.phase for each in site.proposals()}
    assert (phases[theirs.id], phases[own.id]) == (Phase.MERGED, Phase.VOID)
    assert {pull.state for pull in site.rig.pulls.values()} == {"closed"}
    assert {each.phase for each in site.incidents()} == {IncidentPhase.WATCHING}
