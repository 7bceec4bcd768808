"""GitHub when it misbehaves: answers that get lost, limits, rules of the repository, forged notes."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from github import Auth

from tests.contracts.githost.rigs import BOT, ROBOT, GitHubHostRig
from tests.repositories import ScratchRepository
from tests.rigs.github import Fault, User, github
from trimtab_config.git.identity import GitIdentity
from trimtab_config.git.repository import GitRepository
from trimtab_config.githost.github import GitHubHost, connect
from trimtab_config.githost.interface import Merged, NotReady, Obstacle, Proposal, ProposalState
from trimtab_config.githost.notes import ProposalNote, split_note, with_note
from trimtab_kernel.problems import InputError, OutsideError

EVE = User("eve", 13, "token-of-eve")
WRITES = ("/git/trees", "/git/commits", "/git/refs", "/pulls")


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[GitHubHostRig]:
    with GitHubHostRig.running(tmp_path) as rig:
        rig.github.users[EVE.token] = EVE
        yield rig


def open_one(rig: GitHubHostRig) -> Proposal:
    base = rig.tip("main")
    assert base is not None
    commit = rig.commit({"a.yaml": b"a: 2\n"}, base)
    return rig.host().open_proposal("k1", "main", "trimtab/k1", commit, "Roll back", "Why.", {"n": 1})


@pytest.mark.parametrize(
    ("status", "after"),
    [
        pytest.param(0, False, id="dropped-not done", marks=pytest.mark.long),
        pytest.param(502, False, id="502-not done"),
        pytest.param(0, True, id="dropped-done, but nobody heard"),
        pytest.param(502, True, id="502-done, but nobody heard", marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize("path", WRITES)
def test_whatever_write_fails_the_next_call_ends_with_one_pull_request(
    rig: GitHubHostRig, path: str, status: int, after: bool
) -> None:
    rig.github.faults = [Fault("POST", f"{path}$", status, after)]
    base = rig.tip("main")
    assert base is not None
    commit = rig.commit({"a.yaml": b"a: 2\n"}, base)

    def call() -> Proposal:
        return rig.host().open_proposal("k1", "main", "trimtab/k1", commit, "Roll back", "Why.", {})

    with pytest.raises(OutsideError):
        call()
    assert len(rig.github.writes(f"{path}$")) == 1, "a write is never sent twice by itself"
    opened = call()
    assert call() == opened
    assert len(rig.github.pulls) == 1
    assert rig.host().find_proposal("k1") == opened


@pytest.mark.parametrize("after", [False, True], ids=["not done", "done, but nobody heard"])
@pytest.mark.parametrize(("method", "path"), [("POST", "/git/commits$"), ("PATCH", "/git/refs/heads/main$")])
def test_whatever_write_of_a_merge_fails_the_next_call_ends_with_one_merge(
    rig: GitHubHostRig, method: str, path: str, after: bool
) -> None:
    opened = open_one(rig)
    rig.github.faults = [Fault(method, path, 502, after)]

    def call() -> Merged | NotReady:
        return rig.host().merge(opened.number, opened.head, opened.base, BOT)

    with pytest.raises(OutsideError):
        call()
    merged = call()
    assert isinstance(merged, Merged)
    assert call() == merged
    assert rig.tip("main") == merged.sha
    assert rig.read().commit(merged.sha).parents == (opened.base, opened.head)


def test_a_rate_limit_says_when_to_come_back_and_holds_nobody_up(rig: GitHubHostRig) -> None:
    message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
    rig.github.faults = [Fault("POST", "/pulls$", 403, headers={"Retry-After": "37"}, message=message)]
    with pytest.raises(OutsideError) as caught:
        open_one(rig)
    assert caught.value.retry_after == 37


def test_a_wrong_token_is_said_without_showing_it(rig: GitHubHostRig) -> None:
    host = GitHubHost(connect(rig.github.base_url, Auth.Token("wrong-secret"), 0), "acme/fleet", ROBOT.id)
    with pytest.raises(OutsideError) as caught:
        host.proposals()
    assert "401" in str(caught.value)
    assert "wrong-secret" not in str(caught.value)


def test_a_rule_that_wants_the_merge_button_is_named_and_nothing_moves(rig: GitHubHostRig) -> None:
    opened = open_one(rig)
    rig.github.protected.add("main")
    outcome = rig.host().merge(opened.number, opened.head, opened.base, BOT)
    assert isinstance(outcome, NotReady)
    assert outcome.reason is Obstacle.BLOCKED
    assert "through a pull request" in outcome.detail
    assert rig.tip("main") == opened.base


def test_a_note_that_somebody_else_forged_counts_for_nothing(rig: GitHubHostRig) -> None:
    """A stranger opens a pull request whose body claims to be the bot's proposal."""
    base = rig.tip("main")
    assert base is not None
    evil = rig.commit({"a.yaml": b"a: evil\n"}, base)
    rig.push("trimtab/k1", evil)
    eve = connect(rig.github.base_url, Auth.Token(EVE.token), 0).get_repo("acme/fleet")
    forged = with_note(ProposalNote("k1", evil, {"approved": True}), "Trust me.")
    pull = eve.create_pull("main", "trimtab/k1", title="Roll back", body=forged)
    seen = rig.host().proposal(pull.number)
    assert seen is not None
    assert (seen.key, dict(seen.meta), seen.opened_by.name) == ("", {}, "eve")
    assert rig.host().find_proposal("k1") is None
    with pytest.raises(InputError):
        open_one(rig)  # its branch is taken by what nobody judged


def test_what_others_say_on_a_closed_pull_request_is_not_the_reason(rig: GitHubHostRig) -> None:
    opened = open_one(rig)
    eve = connect(rig.github.base_url, Auth.Token(EVE.token), 0).get_repo("acme/fleet")
    eve.get_issue(opened.number).create_comment("<!-- trimtab:closed:1 -->\nbecause I say so")
    closed = rig.host().close(opened.number, "recovered by itself")
    assert closed is not None
    assert (closed.state, closed.closed_reason) == (ProposalState.CLOSED, "recovered by itself")
    assert len(rig.github.writes("/comments$")) == 2


def test_a_commit_goes_to_github_bit_for_bit(rig: GitHubHostRig, tmp_path: Path) -> None:
    """Made here, sent as blobs and trees, and the same commit there."""
    there = rig.tip("main")
    assert there is not None
    here = ScratchRepository.create(tmp_path / "here.git")
    here.git("fetch", "--quiet", str(rig.scratch.path), "refs/heads/main:refs/heads/main")
    local = GitRepository(here.path)
    author = GitIdentity("Ünal Ö", "u@example.org")
    changes = {"a.yaml": b"a: 3\n", "holds/new.yaml": "é: 1\n".encode()}
    sha = local.write_commit(there, changes, author, BOT, "Roll back\n\nWhy.\n\nTrimtab-Digest: x\n", here.now)
    host = GitHubHost(connect(rig.github.base_url, Auth.Token(ROBOT.token), 0), "acme/fleet", ROBOT.id)
    published = host.publish(local, sha)
    assert rig.read().files(published) == changes
    assert rig.read().commit(published) == local.commit(sha)
    assert published == sha
    sent = len(rig.github.writes())
    assert host.publish(local, sha) == sha
    assert len(rig.github.writes()) == sent, "what is there is not sent again"
    removal = local.write_commit(sha, {"holds/new.yaml": None}, author, BOT, "Lift", here.now)
    assert rig.read().files(host.publish(local, removal)) == {"a.yaml": b"a: 3\n"}


def test_many_pull_requests_are_paged(rig: GitHubHostRig) -> None:
    base = rig.tip("main")
    assert base is not None
    client = connect(rig.github.base_url, Auth.Token(EVE.token), 0)
    client.per_page = 2
    repository = client.get_repo("acme/fleet")
    for number in range(5):
        rig.push(f"fix-{number}", rig.commit({"a.yaml": b"%d\n" % number}, base))
        repository.create_pull("main", f"fix-{number}", title=f"Fix {number}", body="")
    host = GitHubHost(client, "acme/fleet", ROBOT.id)
    assert [each.number for each in host.proposals(ProposalState.OPEN)] == [5, 4, 3, 2, 1]


def test_a_note_comes_back_as_it_was_given_and_nothing_else_is_one() -> None:
    note = ProposalNote("k", "1" * 40, {"text": "--> ü \n <!--", "n": 3})
    assert split_note(with_note(note, "Body\nof two lines")) == (note, "Body\nof two lines")
    assert split_note(with_note(note, "").replace("\n", "\r\n")) == (note, "")
    odd = base64.urlsafe_b64encode(json.dumps({"key": 1, "commit": "x", "meta": {}}).encode()).decode()
    for text in (
        "",
        "Body",
        "<!-- trimtab:proposal:1: -->",
        f"<!-- trimtab:proposal:1:{odd} -->\nx",
        " " + with_note(note, ""),
    ):
        assert split_note(text) == (None, text)


def test_the_rig_knows_its_users(rig: GitHubHostRig, tmp_path: Path) -> None:
    """Two rigs at once have nothing to do with each other."""
    other = ScratchRepository.create(tmp_path / "other.git")
    with github(other.path, EVE) as second:
        assert connect(second.base_url, Auth.Token(EVE.token), 0).get_user().login == "eve"
        with pytest.raises(OutsideError, match="401"):
            GitHubHost(connect(second.base_url, Auth.Token(ROBOT.token), 0), "acme/fleet", 1).proposals()
    assert rig.host().proposals() == ()
