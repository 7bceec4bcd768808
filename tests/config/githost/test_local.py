"""What the local host promises beyond the contract: crashes, other processes, and refs that strangers wrote."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.repositories import ScratchRepository
from trimtab_config.git.identity import GitIdentity
from trimtab_config.git.repository import GitRepository
from trimtab_config.githost.interface import Merged, ProposalState
from trimtab_config.githost.local import LocalGitHost
from trimtab_kernel.problems import InputError

ROOT = Path(__file__).parents[3]
BOT = GitIdentity("Trimtab Bot", "bot@example.org")


@pytest.fixture
def scratch(tmp_path: Path) -> ScratchRepository:
    made = ScratchRepository.create(tmp_path / "fleet.git")
    made.commit({"a.yaml": b"a: 1\n"}, branch="main")
    return made


def host(scratch: ScratchRepository) -> LocalGitHost:
    return LocalGitHost(GitRepository(scratch.path), BOT, lambda: datetime.now(UTC))


def open_one(scratch: ScratchRepository, key: str = "k") -> int:
    commit = scratch.commit({"a.yaml": key.encode()}, scratch.tip())
    return host(scratch).open_proposal(key, "main", f"b/{key}", commit, "Title", "", {}).number


@pytest.mark.parametrize("part", [0, pytest.param(1, marks=pytest.mark.long)])
def test_killed_at_any_git_command_and_run_again_there_is_one_proposal_and_one_merge(
    scratch: ScratchRepository, tmp_path: Path, part: int
) -> None:
    """Every call is killed before git has done its work, and those that write also while git goes on without us."""
    folder = tmp_path / "cases"
    folder.mkdir()
    command = [sys.executable, "-m", "tests.config.githost.crash", str(scratch.path), str(folder), str(part), "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    cases = [json.loads(line) for line in done.stdout.splitlines()]
    assert sum(not case["killed"] for case in cases) <= 1, "only the case after the last call is killed nowhere"
    assert len(cases) > 15, "the dialogue has some thirty commands"
    for case in cases:
        repository = GitRepository(Path(case["repository"]))
        (proposal,) = LocalGitHost(repository, BOT, lambda: datetime.now(UTC)).proposals()
        assert (proposal.state, proposal.merged) == (ProposalState.MERGED, Merged(case["merged"])), case
        assert list(repository.refs("refs/pull")) == ["refs/pull/1/head", "refs/pull/1/meta"], case
        tip = repository.resolve("main")
        assert tip is not None
        assert tip == case["merged"], case
        line = list(repository.first_parents(tip))
        assert [info.trailer("Trimtab-Proposal") for info in line] == [("1",), ()], case
        assert repository.files(tip) == {"a.yaml": b"a: 2\n"}


def test_processes_at_once_get_different_numbers_and_one_key_gets_one(scratch: ScratchRepository) -> None:
    program = (
        "import sys, pathlib, datetime\n"
        "from trimtab_config.git.identity import GitIdentity\n"
        "from trimtab_config.git.repository import GitRepository\n"
        "from trimtab_config.githost.local import LocalGitHost\n"
        "path, key, *commits = sys.argv[1:]\n"
        "host = LocalGitHost(GitRepository(pathlib.Path(path)), GitIdentity('B', 'b@x'), lambda: datetime.datetime.now(datetime.UTC))\n"
        "sys.stdin.readline()\n"
        "for n, commit in enumerate(commits):\n"
        "    own = f'{key}-{n}' if n % 2 else f'shared-{n}'\n"
        "    print(own, host.open_proposal(own, 'main', f'b/{own}', commit, own, '', {}).number)\n"
    )
    commits = [scratch.commit({"a.yaml": str(n).encode()}, scratch.tip()) for n in range(6)]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, scratch.path, key, *commits],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for key in ("x", "y")
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    told = [process.communicate(timeout=60)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0]
    pairs = {tuple(line.split()) for text in told for line in text.splitlines()}
    assert len(pairs) == 9, "three shared keys and two times three of their own"
    assert {int(number) for _, number in pairs} == set(range(1, 10)), "each number once, without gaps"


def test_an_opening_that_git_left_half_done_is_completed(scratch: ScratchRepository) -> None:
    """Git killed while it renames refs: the record is there, head and branch are not."""
    number = open_one(scratch)
    commit = scratch.text("rev-parse", "refs/pull/1/head")
    for ref in ("refs/pull/1/head", "refs/heads/b/k"):
        scratch.git("update-ref", "-d", ref)
    seen = host(scratch).proposal(number)
    assert seen is not None
    assert seen.head == commit
    other = scratch.commit({"a.yaml": b"later"}, scratch.tip())
    again = host(scratch).open_proposal("k", "main", "b/k", other, "Title", "", {})
    assert (again.number, again.head) == (number, commit)
    assert scratch.tip("b/k") == scratch.text("rev-parse", "refs/pull/1/head") == commit


def test_a_merge_that_git_left_half_done_is_recognised(scratch: ScratchRepository) -> None:
    number = open_one(scratch)
    opened = host(scratch).proposal(number)
    record = scratch.text("rev-parse", "refs/pull/1/meta")
    assert opened is not None
    merged = host(scratch).merge(number, opened.head, opened.base, BOT)
    scratch.git("update-ref", "refs/pull/1/meta", record)  # as if the last rename had not happened
    assert host(scratch).merge(number, opened.head, opened.base, BOT) == merged
    (seen,) = host(scratch).proposals(ProposalState.MERGED)
    assert seen.merged == merged


def test_numbers_are_not_given_out_again_when_refs_are_packed_or_only_a_head_is_left(
    scratch: ScratchRepository,
) -> None:
    assert open_one(scratch, "a") == 1
    scratch.git("pack-refs", "--all")
    assert open_one(scratch, "b") == 2
    scratch.git("update-ref", "-d", "refs/pull/2/meta")
    assert open_one(scratch, "c") == 3
    assert host(scratch).find_proposal("b") is None


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"[]", b"{}", b'{"format": 2}', b"[" * 100_000, b"null", b"1" * 5000],
    ids=["empty", "bytes", "list", "object", "newer", "deep", "null", "number"],
)
def test_a_record_that_a_stranger_wrote_is_named_and_hides_no_other(scratch: ScratchRepository, content: bytes) -> None:
    assert open_one(scratch, "mine") == 1
    blob = scratch.git("hash-object", "-w", "--stdin", given=content).strip().decode()
    scratch.git("update-ref", "refs/pull/2/meta", blob)
    scratch.git("update-ref", "refs/pull/x/meta", blob)
    scratch.git("update-ref", "refs/pull/3/meta", scratch.tip())
    for number in (2, 3):
        with pytest.raises(InputError) as caught:
            host(scratch).proposal(number)
        assert [problem.code for problem in caught.value.problems] == ["G202"]
    assert [proposal.number for proposal in host(scratch).proposals()] == [1]
    assert open_one(scratch, "next") == 4


def test_a_record_may_not_claim_another_number(scratch: ScratchRepository) -> None:
    open_one(scratch)
    scratch.git("update-ref", "refs/pull/2/meta", "refs/pull/1/meta")
    with pytest.raises(InputError, match="number 2"):
        host(scratch).proposal(2)


def test_a_repository_with_a_working_tree_is_refused(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    repository = GitRepository(tmp_path)
    sha = repository.write_commit(None, {"a": b""}, BOT, BOT, "x", datetime.now(UTC))
    repository.update_ref("refs/heads/main", sha, None)
    with pytest.raises(InputError, match="G204"):
        LocalGitHost(repository, BOT, lambda: datetime.now(UTC)).open_proposal("k", "main", "b", sha, "T", "", {})
