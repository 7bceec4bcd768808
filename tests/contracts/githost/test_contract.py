"""The contract of trimtab_config.githost.interface, run against every adapter."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.contracts.githost.rigs import BOT, RIGS, Rig
from trimtab_config.git.identity import GitIdentity
from trimtab_config.githost.interface import (
    APPROVED_TRAILER,
    DIGEST_TRAILER,
    GitHost,
    Merged,
    NotReady,
    Obstacle,
    Proposal,
    ProposalState,
)
from trimtab_kernel.canonical import Json
from trimtab_kernel.problems import InputError

CORA = GitIdentity("Cora Committer", "cora@example.org")
META: dict[str, Json] = {"incident": "i-1", "targets": ["triage"], "n": 3, "nested": {"ü": None}}


@pytest.fixture(params=sorted(RIGS))
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with RIGS[request.param](tmp_path) as rig:
        yield rig


def at_main(rig: Rig) -> str:
    tip = rig.tip("main")
    assert tip is not None
    return tip


def open_one(rig: Rig, key: str = "k1", host: GitHost | None = None, content: bytes = b"a: 2\n") -> Proposal:
    commit = rig.commit({"a.yaml": content}, at_main(rig))
    return (host or rig.host()).open_proposal(key, "main", f"trimtab/{key}", commit, f"Roll back {key}", "Why.", META)


def merge(rig: Rig, proposal: Proposal) -> Merged | NotReady:
    return rig.host().merge(proposal.number, proposal.head, proposal.base, BOT)


def reason(outcome: Merged | NotReady) -> Obstacle:
    assert isinstance(outcome, NotReady)
    assert str(outcome)
    return outcome.reason


# ---------------------------------------------------------------- opening


def test_an_opened_proposal_says_everything_back(rig: Rig) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    commit = rig.commit({"a.yaml": b"a: 2\n"}, at_main(rig))
    opened = rig.host().open_proposal("k1", "main", "trimtab/k1", commit, "Roll back", "Why.\n\nSo.", META)
    assert opened.number > 0
    assert (opened.key, opened.title, opened.body, opened.meta) == ("k1", "Roll back", "Why.\n\nSo.", META)
    assert (opened.base_branch, opened.base, opened.branch, opened.head) == ("main", at_main(rig), "trimtab/k1", commit)
    assert (opened.state, opened.merged, opened.closed_reason) == (ProposalState.OPEN, None, "")
    assert before <= opened.opened_at <= datetime.now(UTC)
    assert rig.tip("trimtab/k1") == commit
    other = rig.host()
    assert other.find_proposal("k1") == other.proposal(opened.number) == opened
    assert other.proposals() == other.proposals(ProposalState.OPEN) == (opened,)
    assert other.proposals(ProposalState.MERGED) == ()


def test_what_was_never_opened_is_none_and_not_an_error(rig: Rig) -> None:
    host = rig.host()
    assert host.find_proposal("none") is None
    assert host.proposal(1) is host.proposal(0) is host.proposal(-1) is host.proposal(10**12) is None
    assert host.close(1, "x") is None
    assert reason(host.merge(1, at_main(rig), at_main(rig), BOT)) is Obstacle.MISSING


def test_one_key_is_one_proposal_however_often_it_is_opened(rig: Rig) -> None:
    first = open_one(rig)
    other = rig.commit({"a.yaml": b"a: 3\n"}, at_main(rig))
    again = rig.host().open_proposal("k1", "main", "trimtab/other", other, "Another title", "", {})
    assert again == first
    assert rig.tip("trimtab/other") is None
    rig.host().close(first.number, "not needed")
    assert open_one(rig).state is ProposalState.CLOSED


def test_other_keys_get_other_numbers(rig: Rig) -> None:
    host = rig.host()
    numbers = [open_one(rig, f"k{n}", host).number for n in range(4)]
    assert len(set(numbers)) == 4
    assert [proposal.number for proposal in host.proposals()] == sorted(numbers, reverse=True)


def test_callers_at_once_get_one_number_for_one_key_and_different_ones_for_different_keys(rig: Rig) -> None:
    keys = ["same", "same", "a", "b"]
    commits = {key: rig.commit({"a.yaml": key.encode()}, at_main(rig)) for key in keys}
    ready = threading.Barrier(len(keys))
    opened: list[Proposal] = []

    def call(key: str) -> None:
        host = rig.host()
        ready.wait(30)
        opened.append(host.open_proposal(key, "main", f"trimtab/{key}", commits[key], key, "", {}))

    threads = [threading.Thread(target=call, args=(key,)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(proposal.key for proposal in opened) == sorted(keys)
    numbers = {(proposal.key, proposal.number) for proposal in opened}
    assert len(numbers) == len({number for _, number in numbers}) == 3
    assert len(rig.host().proposals()) == 3


def test_a_branch_that_a_person_pushed_can_be_proposed(rig: Rig) -> None:
    commit = rig.commit({"a.yaml": b"a: 9\n"}, at_main(rig))
    rig.push("fix", commit)
    opened = rig.host().open_proposal("person", "main", "fix", commit, "Fix", "", {})
    assert opened.head == commit
    assert isinstance(merge(rig, opened), Merged)


def test_what_cannot_be_proposed_is_named_and_leaves_nothing(rig: Rig) -> None:
    base = at_main(rig)
    commit = rig.commit({"a.yaml": b"a: 2\n"}, base)
    other = rig.commit({"a.yaml": b"a: 3\n"}, base)
    rig.push("taken", other)
    cases: dict[str, tuple[str, str, str, str, str]] = {
        "base branch missing": ("k", "nowhere", "new", commit, "Title"),
        "branch elsewhere": ("k", "main", "taken", commit, "Title"),
        "branch is the base": ("k", "main", "main", base, "Title"),
        "commit in the base": ("k", "main", "new", base, "Title"),
        "commit missing": ("k", "main", "new", "1" * 40, "Title"),
        "hostile branch": ("k", "main", "--upload-pack=x", commit, "Title"),
        "hostile base": ("k", "main..x", "new", commit, "Title"),
        "title of two lines": ("k", "main", "new", commit, "Title\nApproved-by: eve"),
        "no title": ("k", "main", "new", commit, " "),
        "no key": ("", "main", "new", commit, "Title"),
    }
    for name, (key, base_branch, branch, sha, title) in cases.items():
        with pytest.raises(InputError) as caught:
            rig.host().open_proposal(key, base_branch, branch, sha, title, "", {})
        assert {problem.code[:2] for problem in caught.value.problems} <= {"G1", "G2"}, name
    assert rig.host().proposals() == ()
    assert rig.tip("new") is None


# ---------------------------------------------------------------- merging


def test_a_merge_is_a_true_merge_commit_that_says_who_and_why(rig: Rig) -> None:
    opened = open_one(rig)
    trailers = ((DIGEST_TRAILER, "sha256:" + "0" * 64), (APPROVED_TRAILER, "cora"), (APPROVED_TRAILER, "dan"))
    merged = rig.host().merge(opened.number, opened.head, opened.base, CORA, trailers)
    assert isinstance(merged, Merged)
    assert rig.tip("main") == merged.sha
    info = rig.read().commit(merged.sha)
    assert info.parents == (opened.base, opened.head)
    assert (info.author, info.committer) == (CORA, CORA)
    assert info.trailers == (("Trimtab-Proposal", str(opened.number)), *trailers)
    assert opened.title in info.subject
    assert rig.read().files(merged.sha) == {"a.yaml": b"a: 2\n"}
    now = rig.host().proposal(opened.number)
    assert now is not None
    assert (now.state, now.merged, now.base, now.head) == (ProposalState.MERGED, merged, opened.base, opened.head)
    assert rig.host().proposals(ProposalState.MERGED) == (now,)
    assert rig.host().proposals(ProposalState.OPEN) == ()


def test_a_repeated_merge_gives_the_same_answer_even_when_the_base_went_on(rig: Rig) -> None:
    opened = open_one(rig)
    merged = merge(rig, opened)
    assert merge(rig, opened) == merged
    rig.push("main", rig.commit({"a.yaml": b"a: 7\n"}, at_main(rig)))
    assert merge(rig, opened) == merged
    assert reason(rig.host().merge(opened.number, "1" * 40, opened.base, BOT)) is Obstacle.HEAD_MOVED
    still = rig.host().close(opened.number, "too late")
    assert still is not None
    assert still.state is ProposalState.MERGED


def test_a_head_that_moved_is_not_merged(rig: Rig) -> None:
    """Approve A, execute B: what somebody pushes after the approval must not ride along."""
    opened = open_one(rig)
    evil = rig.commit({"a.yaml": b"a: evil\n"}, opened.head)
    rig.push(opened.branch, evil)
    assert reason(merge(rig, opened)) is Obstacle.HEAD_MOVED
    now = rig.host().proposal(opened.number)
    assert now is not None
    assert (now.head, now.state) == (evil, ProposalState.OPEN)
    assert rig.tip("main") == opened.base
    assert isinstance(rig.host().merge(opened.number, evil, opened.base, BOT), Merged)


def test_a_base_that_moved_is_not_merged_into(rig: Rig) -> None:
    opened = open_one(rig)
    moved = rig.commit({"a.yaml": b"a: 1\n", "b.yaml": b"b\n"}, opened.base)
    rig.push("main", moved)
    assert reason(merge(rig, opened)) is Obstacle.BASE_MOVED
    assert rig.tip("main") == moved
    now = rig.host().proposal(opened.number)
    assert now is not None
    assert now.base == moved
    merged = merge(rig, now)
    assert isinstance(merged, Merged)
    assert rig.read().files(merged.sha) == {"a.yaml": b"a: 2\n", "b.yaml": b"b\n"}


def test_a_conflict_is_not_ready_and_names_the_files(rig: Rig) -> None:
    opened = open_one(rig)
    rig.push("main", rig.commit({"a.yaml": b"a: other\n"}, opened.base))
    now = rig.host().proposal(opened.number)
    assert now is not None
    outcome = merge(rig, now)
    assert reason(outcome) is Obstacle.CONFLICT
    assert "a.yaml" in str(outcome)
    assert rig.tip("main") == now.base


def test_a_closed_proposal_stays_closed(rig: Rig) -> None:
    opened = open_one(rig)
    closed = rig.host().close(opened.number, "recovered by itself")
    assert closed is not None
    assert (closed.state, closed.closed_reason, closed.head) == (
        ProposalState.CLOSED,
        "recovered by itself",
        opened.head,
    )
    assert rig.host().close(opened.number, "another reason") == closed
    assert reason(merge(rig, opened)) is Obstacle.CLOSED
    assert rig.tip("main") == opened.base
    assert rig.host().proposals(ProposalState.CLOSED) == (closed,)


def test_what_a_person_merged_by_hand_counts_as_merged(rig: Rig) -> None:
    opened = open_one(rig)
    by_hand = rig.commit({"a.yaml": b"a: 2\n"}, opened.base, opened.head)
    later = rig.commit({"a.yaml": b"a: 2\n", "b.yaml": b""}, by_hand)
    rig.push("main", later)
    now = rig.host().proposal(opened.number)
    assert now is not None
    assert (now.state, now.merged, now.base) == (ProposalState.MERGED, Merged(by_hand), opened.base)
    assert merge(rig, opened) == Merged(by_hand)
    assert rig.tip("main") == later


def test_a_branch_that_was_set_back_to_the_base_is_not_merged(rig: Rig) -> None:
    opened = open_one(rig)
    rig.push(opened.branch, opened.base)
    now = rig.host().proposal(opened.number)
    assert now is not None
    assert now.head == opened.base
    # GitHub closes what has nothing left to merge; the local host leaves that to people.
    if now.state is ProposalState.OPEN:
        assert reason(merge(rig, now)) is Obstacle.EMPTY
        assert reason(merge(rig, opened)) is Obstacle.HEAD_MOVED
    else:
        assert reason(merge(rig, now)) is reason(merge(rig, opened)) is Obstacle.CLOSED
    assert rig.tip("main") == opened.base


def test_of_callers_at_once_one_merges_and_all_give_that_merge(rig: Rig) -> None:
    opened = open_one(rig)
    ready = threading.Barrier(3)
    outcomes: list[Merged | NotReady] = []

    def call(name: str) -> None:
        host = rig.host()
        ready.wait(30)
        outcomes.append(host.merge(opened.number, opened.head, opened.base, GitIdentity(name, "x@example.org")))

    threads = [threading.Thread(target=call, args=(name,)) for name in ("A", "B", "C")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(outcomes) == 3
    assert set(outcomes) == {Merged(at_main(rig))}
    assert rig.read().commit(at_main(rig)).parents == (opened.base, opened.head)


def test_two_proposals_for_one_base_cannot_both_be_merged_as_they_were_judged(rig: Rig) -> None:
    one, two = open_one(rig, "k1"), open_one(rig, "k2", content=b"a: 22\n")
    assert isinstance(merge(rig, one), Merged)
    assert reason(merge(rig, two)) is Obstacle.BASE_MOVED
