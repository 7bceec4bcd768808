"""Everybody whom the commits of a change name is its author."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.repositories import ScratchRepository
from trimtab_config.git.identity import GitIdentity
from trimtab_config.git.repository import GitRepository
from trimtab_config.githost import authors
from trimtab_config.githost.authors import Part, change_authors
from trimtab_kernel.problems import InputError


def who(name: str) -> GitIdentity:
    return GitIdentity(name, f"{name.lower()}@example.org")


@pytest.fixture
def scratch(tmp_path: Path) -> ScratchRepository:
    return ScratchRepository.create(tmp_path / "fleet.git")


def commit(scratch: ScratchRepository, author: str, committer: str, *parents: str, message: str = "x") -> str:
    options = [part for parent in parents for part in ("-p", parent)]
    return (
        scratch.git(
            "commit-tree",
            scratch.tree({author: committer.encode()}),
            *options,
            given=message.encode(),
            GIT_AUTHOR_NAME=author,
            GIT_AUTHOR_EMAIL=f"{author.lower()}@example.org",
            GIT_COMMITTER_NAME=committer,
            GIT_COMMITTER_EMAIL=f"{committer.lower()}@example.org",
        )
        .decode()
        .strip()
    )


def test_author_committer_co_authors_and_merger_of_all_merged_commits_count(scratch: ScratchRepository) -> None:
    root = commit(scratch, "Root", "Root")
    first = commit(scratch, "Ada", "Ben", root)
    second = commit(
        scratch, "Cora", "Cora", first, message="x\n\nCo-authored-by: Dan <dan@example.org>\nco-AUTHORED-by: Eve"
    )
    mainline = commit(scratch, "Main", "Main", root)
    merge = commit(scratch, "Fay", "Gus", mainline, second, message="Merge\n\nMerged-by: Hal <hal@example.org>")
    found = change_authors(GitRepository(scratch.path), merge)
    assert {(c.who, c.part) for c in found.contributions if c.commit == merge} == {
        (who("Fay"), Part.MERGER),
        (who("Gus"), Part.MERGER),
        (who("Hal"), Part.MERGER),
    }
    named = {who(name) for name in ("Ada", "Ben", "Cora", "Dan", "Fay", "Gus", "Hal")}
    assert found.identities == named | {GitIdentity("Eve", "")}, "a malformed co-author is an identity that nobody has"


def test_a_merge_from_the_base_into_the_branch_makes_nobody_of_the_base_an_author(scratch: ScratchRepository) -> None:
    root = commit(scratch, "Root", "Root")
    mainline = commit(scratch, "Main", "Main", root)
    branch = commit(scratch, "Ada", "Ada", root)
    caught_up = commit(scratch, "Ben", "Ben", branch, mainline)
    merge = commit(scratch, "Cora", "Cora", mainline, caught_up)
    assert change_authors(GitRepository(scratch.path), merge).identities == {who("Ada"), who("Ben"), who("Cora")}


def test_a_commit_that_was_pushed_directly_stands_for_itself(scratch: ScratchRepository) -> None:
    root = commit(scratch, "Root", "Root")
    direct = commit(scratch, "Ada", "Ben", root)
    repository = GitRepository(scratch.path)
    assert change_authors(repository, direct).identities == {who("Ada"), who("Ben")}
    assert change_authors(repository, root).identities == {who("Root")}


def test_identities_are_compared_exactly_but_for_white_space_around_them(scratch: ScratchRepository) -> None:
    tree = scratch.tree({"a": b""})
    raw = f"tree {tree}\nauthor   Ada  <  ada@example.org > 1 +0000\ncommitter ADA <ada@example.org> 1 +0000\n\nx\n".encode()
    sha = scratch.git("hash-object", "-w", "--literally", "-t", "commit", "--stdin", given=raw).strip().decode()
    assert change_authors(GitRepository(scratch.path), sha).identities == {
        GitIdentity("Ada", "ada@example.org"),
        GitIdentity("ADA", "ada@example.org"),
    }


def test_a_mailmap_in_the_tree_does_not_rename_anybody(scratch: ScratchRepository) -> None:
    sha = scratch.commit({".mailmap": b"Good Person <good@example.org> <ada@example.org>\n"})
    assert change_authors(GitRepository(scratch.path), sha).identities == {
        GitIdentity("Ada Author", "ada@example.org"),
        GitIdentity("Cora Committer", "cora@example.org"),
    }


def test_more_commits_than_can_be_judged_are_refused_and_not_judged_in_part(
    scratch: ScratchRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = commit(scratch, "Root", "Root")
    first = commit(scratch, "Ada", "Ada", root)
    second = commit(scratch, "Ben", "Ben", first)
    merge = commit(scratch, "Cora", "Cora", root, second)
    monkeypatch.setattr(authors, "MAX_COMMITS", 2)
    with pytest.raises(InputError, match="G105"):
        change_authors(GitRepository(scratch.path), merge)
