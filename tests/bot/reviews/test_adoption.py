"""A rollback that a person proposed: taken where it is proven, offered like the bot's own, and approved by somebody else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.bot.github_site import ADA, CY, GitHubSite
from tests.bot.rig import RELEASE
from trimtab_bot.inbox.interface import Accepted, Refused


@pytest.fixture
def site(tmp_path: Path) -> Iterator[GitHubSite]:
    with ExitStack() as stack:
        made = GitHubSite(tmp_path, stack)
        yield made
        made.close()


def proposed_by_cy(site: GitHubSite, more: str = "") -> int:
    """Cy restores the earlier text on a branch of their own and opens a pull request, before the bot sees anything."""
    site.tick()
    site.origin.release()
    bad = site.origin.tip()
    good = site.origin.read(RELEASE, f"{bad}^1").encode() + more.encode()
    head = site.origin.commit(
        "Cy Novak <cy@example.com>", "Back to 1.1.0", bad, files={**site.origin.files, RELEASE: good}
    )
    site.origin.scratch.git("update-ref", "refs/heads/cy/back", head)
    repository = site.acting_as(CY)
    return repository.create_pull("main", "cy/back", title="Triage back to 1.1.0", body="it is unfair").number


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
