"""The bot where the fleet lives on GitHub: a mirror here, pull requests there, the same story, and the same refusals."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.bot.github_site import MARA, ROBOT, GitHubSite
from tests.bot.rig import KIOSKS, RELEASE
from tests.rigs.git_http import git_over_http
from tests.rigs.github import App, Fault
from trimtab_bot.inbox.interface import Accepted
from trimtab_bot.records import IncidentPhase
from trimtab_config.git.mirror import STALE, GitMirror
from trimtab_config.git.repository import GitRepository
from trimtab_config.githost.interface import ProposalState
from trimtab_kernel.problems import InputError, OutsideError

if TYPE_CHECKING:
    pass


@pytest.fixture
def github_site(tmp_path: Path) -> Iterator[GitHubSite]:
    with ExitStack() as stack:
        site = GitHubSite(tmp_path, stack)
        yield site
        site.close()


def test_from_a_bad_merge_to_recovery_on_github(github_site: GitHubSite) -> None:
    site = github_site
    site.tick()
    good = site.origin.tip()
    bad = site.origin.release()
    site.bad()
    site.tick()

    incident, proposal = site.incident(), site.proposal()
    assert incident.offending is not None
    assert incident.offending.sha == bad
    assert incident.device_groups == KIOSKS
    (pull,) = site.rig.pulls.values()
    assert (pull.user, pull.state, pull.head) == (ROBOT, "open", proposal.ballot.binding.head)
    assert pull.body.startswith("<!-- trimtab:proposal:1:")
    assert proposal.summary in pull.body

    assert isinstance(site.approve("ada"), Accepted)
    site.tick()
    merge = site.origin.tip()
    assert site.proposal().ballot.merged == merge
    assert site.origin.scratch.text("rev-parse", f"{merge}^1", f"{merge}^2").split() == [bad, pull.head]
    assert site.origin.read(RELEASE) == site.origin.read(RELEASE, good)
    assert (pull.state, pull.merged_at is not None) == ("closed", True)
    site.tick()
    site.back()
    site.tick()
    site.settle()
    assert site.incident().phase is IncidentPhase.CLOSED
    assert len(site.rig.pulls) == 1


def test_what_is_pushed_to_the_pull_request_after_the_approval_is_not_merged(github_site: GitHubSite) -> None:
    site = github_site
    proposal = site.broken()
    (pull,) = site.rig.pulls.values()
    assert isinstance(site.approve("ada"), Accepted)
    evil = site.origin.scratch.commit({"evil.yaml": b"a: 1\n"}, pull.head, branch=pull.branch)
    before = site.origin.tip()
    site.tick()
    assert site.origin.tip() == before
    assert site.rig.pulls[1].head == evil
    assert site.proposals()[0].id == proposal.id
    assert site.proposals()[0].ballot.merged is None


# The kill matrix loses answers too; the quick tier keeps the two writes that must never be made twice.
WRITES = ("POST /git/trees$", "POST /git/refs$", "POST /pulls$", "PATCH /git/refs/heads/main$")


@pytest.mark.parametrize(
    ("method", "path", "after"),
    [
        pytest.param(*write.split(), after, marks=() if after and number > 1 else pytest.mark.long)
        for number, write in enumerate(WRITES)
        for after in (False, True)
    ],
)
def test_an_answer_that_is_lost_ends_in_one_pull_request_and_one_merge(
    github_site: GitHubSite, method: str, path: str, after: bool
) -> None:
    site = github_site
    site.tick()
    site.origin.release()
    site.bad()
    site.rig.faults = [Fault(method, path, 502, after)]
    site.tick(3)
    assert isinstance(site.approve("ada"), Accepted)
    site.tick(3)
    assert len(site.rig.pulls) == 1
    assert len(site.origin.merges_of_the_bot()) == 1


def test_github_unreachable_is_said_and_the_watch_goes_on(github_site: GitHubSite) -> None:
    site = github_site
    site.tick()
    site.origin.release()
    site.bad()
    mirror = GitRepository(site.configuration.repository)
    old = mirror.resolve("refs/heads/main")
    fetches = site.origin.path.rename(site.folder / "away.git")
    site.tick()
    assert "cannot be fetched" in site.health()
    assert mirror.resolve("refs/heads/main") == old
    fetches.rename(site.origin.path)
    site.tick(2)
    assert "cannot be fetched" not in site.health()
    assert len(site.rig.pulls) == 1


def test_a_pull_request_that_a_person_merges_by_hand_counts(github_site: GitHubSite) -> None:
    site = github_site
    site.broken()
    (pull,) = site.rig.pulls.values()
    mara = site.acting_as(MARA)
    mara.get_pull(pull.number).merge(sha=pull.head)
    site.tick(2)
    hosted = site.host.proposal(1)
    assert hosted is not None
    assert hosted.state is ProposalState.MERGED
    assert site.origin.merges_of_the_bot() == []


def test_a_github_app_signs_for_itself(tmp_path: Path) -> None:
    """No token on disk: the App's key gives an assertion, the assertion a token for an hour, the token a fetch."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    with ExitStack() as stack:
        site = GitHubSite(tmp_path, stack)
        site.rig.app = App(9, "trimtab", 123, public.decode(), ROBOT)
        (tmp_path / "app.pem").write_bytes(pem)
        app = {"id": 9, "installation": 123, "keyFile": "app.pem"}
        section = {
            "repository": "acme/fleet",
            "app": app,
            "apiUrl": site.rig.base_url,
            "cloneUrl": site.clone_url,
        }
        site.configure(repository="mirror.git", github=section)
        site.restart()
        site.broken()
        assert site.rig.pulls[1].user == ROBOT
        site.close()


def test_a_mirror_takes_no_password_in_its_address_and_shows_none(tmp_path: Path) -> None:
    for url in ("http://example.org/x.git", "https://me:secret@example.org/x.git", "file:///etc", "ext::sh -c x", "-x"):
        with pytest.raises(InputError, match="G109") as caught:
            GitMirror(tmp_path / "m.git", url)
        assert "secret" not in str(caught.value)
    with git_over_http(tmp_path, "right") as url, pytest.raises(OutsideError) as outside:
        GitMirror(tmp_path / "m.git", f"{url}/none.git", lambda: "wrong-secret").update()
    assert "wrong-secret" not in str(outside.value)


def test_what_a_killed_fetch_left_locked_is_removed_once_nobody_can_hold_it(github_site: GitHubSite) -> None:
    site = github_site
    lock = site.configuration.repository / "refs" / "heads" / "main.lock"
    site.origin.release()
    lock.touch()
    site.tick()
    assert "cannot be fetched" in site.health()
    os.utime(lock, (time.time() - STALE - 1,) * 2)
    site.tick()
    assert "cannot be fetched" not in site.health()
    assert GitRepository(site.configuration.repository).resolve("main") == site.origin.tip()
