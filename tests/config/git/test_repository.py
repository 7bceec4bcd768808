"""GitRepository against real repositories that the git binary itself filled."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.repositories import ScratchRepository
from trimtab_config.git.identity import GitIdentity
from trimtab_config.git.process import run
from trimtab_config.git.repository import GitRepository, MergeConflict, RefConflictError, TreeLimits
from trimtab_config.sources.folder import load_folder
from trimtab_kernel.problems import InputError, OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable

ADA = GitIdentity("Ada Author", "ada@example.org")
BOT = GitIdentity("Trimtab Bot", "bot@example.org")
NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.fixture(params=["sha1", "sha256"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> ScratchRepository:
    """A repository of each object format."""
    return ScratchRepository.create(tmp_path / "repo.git", f"--object-format={request.param}")


@pytest.fixture
def scratch(tmp_path: Path) -> ScratchRepository:
    return ScratchRepository.create(tmp_path / "a path, with spaces" / "repo.git")


def codes(refused: Callable[[], object]) -> list[tuple[str, str]]:
    with pytest.raises(InputError) as caught:
        refused()
    return [(problem.code, problem.file) for problem in caught.value.problems]


# ---------------------------------------------------------------- reading


def test_files_are_those_of_the_folder_with_the_wanted_endings(either: ScratchRepository) -> None:
    sha = either.commit(
        {"fleet/a.yaml": b"a", "fleet/b/c.yml": b"c\r\n\xff", "fleet/README.md": b"no", "other/x.yaml": b"x"},
        branch="main",
    )
    repository = GitRepository(either.path)
    assert repository.resolve("main") == sha
    assert repository.files(sha, "fleet") == {"a.yaml": b"a", "b/c.yml": b"c\r\n\xff"}
    assert list(repository.files(sha)) == ["fleet/a.yaml", "fleet/b/c.yml", "other/x.yaml"]
    assert repository.files(sha, "fleet/b/") == {"c.yml": b"c\r\n\xff"}
    assert repository.file(sha, "fleet/README.md") == b"no"
    assert repository.file(sha, "fleet/none") is None


HOSTILE = (
    "-rf.yaml",
    "a b.yaml",
    "a\nb.yaml",
    "q\"uo'te.yaml",
    "tab\t.yaml",
    "$(x).yaml",
    "ü/ß.yaml",
    "*.yaml",
    ":(top)x.yaml",
)


def test_hostile_names_are_read_written_and_compared_as_they_are(either: ScratchRepository) -> None:
    before = either.commit({name: name.encode() for name in HOSTILE}, branch="main")
    repository = GitRepository(either.path)
    assert repository.files(before) == {name: name.encode() for name in sorted(HOSTILE)}
    after = repository.write_commit(before, dict.fromkeys(HOSTILE[:-1], b"new"), BOT, BOT, "Write", NOON)
    assert repository.changed_paths(before, after) == tuple(sorted(HOSTILE[:-1]))
    assert repository.files(after) == dict.fromkeys(HOSTILE[:-1], b"new") | {HOSTILE[-1]: HOSTILE[-1].encode()}
    assert repository.diff(before, after, ["*.yaml"]).count("diff --git") == 1, "a path is no pattern"
    removed = repository.write_commit(after, dict.fromkeys(HOSTILE, None), BOT, BOT, "Remove", NOON)
    assert repository.files(removed) == {}


def test_links_that_lead_out_submodules_and_refused_names_are_problems_that_name_each_path(
    scratch: ScratchRepository,
) -> None:
    files: dict[str | bytes, bytes] = {
        "fleet/good.yaml": b"x",
        "fleet/link.yaml": b"/etc/passwd",
        "fleet/folder": b"../elsewhere",
        "fleet/up": b"../../..",
        "fleet/same.yaml": b"good.yaml",
        "fleet/here": b".",
        "fleet/deep/back": b"../deep",
        "fleet/deep/note.yml": b"../../outside.txt",
        "fleet/README": b"../outside.txt",
        "fleet/nothing": b"none",
        "fleet/nothing.yaml": b"none",
        "fleet/.hidden/link.yaml": b"/etc/passwd",
        "outside.txt": b"",
        "elsewhere/x.yaml": b"",
        "fleet/module": b"1" * 40,
        b"fleet/\xff.yaml": b"x",
        "outside": b"target",
    }
    plain = ("fleet/good.yaml", b"fleet/\xff.yaml", "outside.txt", "elsewhere/x.yaml")
    modes: dict[str | bytes, str] = {name: "120000" for name in files if name not in plain} | {"fleet/module": "160000"}
    sha = scratch.commit(files, modes=modes)
    repository = GitRepository(scratch.path)
    assert codes(lambda: repository.files(sha, "fleet")) == [
        ("G102", "fleet/\\xff.yaml"),
        ("G101", "fleet/module"),
    ]
    del files[b"fleet/\xff.yaml"], files["fleet/module"]
    sha = scratch.commit(files, modes=modes)
    assert codes(lambda: repository.files(sha, "fleet")) == [
        ("G101", "fleet/deep/note.yml"),
        ("G101", "fleet/folder"),
        ("G101", "fleet/link.yaml"),
        ("G101", "fleet/nothing.yaml"),
        ("G101", "fleet/up"),
    ]
    for name in ("fleet/deep/note.yml", "fleet/folder", "fleet/link.yaml", "fleet/nothing.yaml", "fleet/up"):
        del files[name]
    assert repository.files(scratch.commit(files, modes=modes), "fleet") == {"good.yaml": b"x"}
    assert codes(lambda: repository.file(sha, "outside")) == [("G101", "outside")]


@pytest.mark.parametrize("name", [b"..", b".", b".GIT", b"a\\b.yaml"])
def test_a_tree_made_by_hand_cannot_name_its_way_out(scratch: ScratchRepository, name: bytes) -> None:
    blob = scratch.git("hash-object", "-w", "--stdin", given=b"x").strip().decode()
    raw = b"100644 " + name + b"\0" + bytes.fromhex(blob)
    tree = scratch.git("hash-object", "-w", "--literally", "-t", "tree", "--stdin", given=raw).strip().decode()
    sha = scratch.text("commit-tree", tree, given=b"hostile")
    assert [code for code, _ in codes(lambda: GitRepository(scratch.path).files(sha))] == ["G102"]


def test_a_tree_that_lists_one_name_twice_is_refused(scratch: ScratchRepository) -> None:
    blob = scratch.git("hash-object", "-w", "--stdin", given=b"x").strip().decode()
    raw = (b"100644 a.yaml\0" + bytes.fromhex(blob)) * 2
    tree = scratch.git("hash-object", "-w", "--literally", "-t", "tree", "--stdin", given=raw).strip().decode()
    sha = scratch.text("commit-tree", tree, given=b"hostile")
    assert codes(lambda: GitRepository(scratch.path).files(sha)) == [("G102", "")]


def test_a_commit_and_its_checkout_give_the_same_files(scratch: ScratchRepository, tmp_path: Path) -> None:
    files = {
        "a.yaml": b"a",
        "b/c.yml": b"c",
        "b/.d/e.yaml": b"no",
        ".f.yaml": b"no",
        "g.txt": b"no",
        "b/up": b"..",
        "h": b"g.txt",
    }
    sha = scratch.commit(files, modes={"b/up": "120000", "h": "120000"})
    (tmp_path / "out").mkdir()
    scratch.git("--work-tree", str(tmp_path / "out"), "checkout", sha, "--", ".")
    assert GitRepository(scratch.path).files(sha) == load_folder(tmp_path / "out") == {"a.yaml": b"a", "b/c.yml": b"c"}


def test_limits_name_what_is_too_much(scratch: ScratchRepository) -> None:
    sha = scratch.commit({"a.yaml": b"x" * 100, "b.yaml": b"y" * 10, "c.txt": b"z" * 1000, "d/e/f.yaml": b""})
    repository = GitRepository(scratch.path)
    assert len(repository.files(sha, limits=TreeLimits(3, 100, 110, 6, 2))) == 3
    assert codes(lambda: repository.files(sha, limits=TreeLimits(file_bytes=99))) == [("G104", "a.yaml")]
    assert codes(lambda: repository.files(sha, limits=TreeLimits(total_bytes=109))) == [("G104", "")]
    assert codes(lambda: repository.files(sha, limits=TreeLimits(files=2))) == [("G104", "")]
    assert codes(lambda: repository.files(sha, limits=TreeLimits(entries=5))) == [("G104", "")]
    assert codes(lambda: repository.files(sha, limits=TreeLimits(depth=1))) == [("G104", "d/e")]
    assert codes(lambda: repository.file(sha, "c.txt", limit=999)) == [("G104", "c.txt")]


def test_a_large_file_is_refused_without_being_read(scratch: ScratchRepository, tmp_path: Path) -> None:
    """30 MB of zeros: the answer comes from its size, so memory stays small."""
    sha = scratch.commit({"big.yaml": bytes(30_000_000)})
    program = (
        "import sys, pathlib\n"
        "from trimtab_config.git.repository import GitRepository\n"
        "from trimtab_kernel.problems import InputError\n"
        "try: GitRepository(pathlib.Path(sys.argv[1])).files(sys.argv[2])\n"
        "except InputError as error: print(error)\n"
        "print(pathlib.Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, scratch.path, sha], capture_output=True, check=True, text=True
    )
    problem, peak = done.stdout.splitlines()
    assert problem.startswith("big.yaml: G104 got 30000000 bytes")
    assert int(peak) < 40_000, "kilobytes"


def test_a_missing_folder_is_a_problem_and_not_an_empty_fleet(scratch: ScratchRepository) -> None:
    sha = scratch.commit({"fleet": b"a file", "a/b.yaml": b""})
    repository = GitRepository(scratch.path)
    assert codes(lambda: repository.files(sha, "fleet")) == [("G106", "fleet")]
    assert codes(lambda: repository.files(sha, "a/c")) == [("G106", "a/c")]
    for path in ("../a", "a//b", "/a", "a/.git/b", "a\\b", "a\0"):
        assert codes(lambda path=path: repository.files(sha, path))[0][0] == "G107"  # type: ignore[misc] # mypy cannot infer a lambda with a default


def test_refs_are_exact_and_never_revision_syntax(scratch: ScratchRepository) -> None:
    sha = scratch.commit({"a": b""}, branch="main")
    scratch.git("update-ref", "refs/tags/refs/heads/gone", sha)
    scratch.git("update-ref", "refs/tags/v1", sha)
    repository = GitRepository(scratch.path)
    assert repository.resolve("main") == repository.resolve("refs/heads/main") == repository.resolve(sha) == sha
    assert repository.resolve("v1") is None, "a short name is a branch"
    assert repository.resolve("refs/heads/gone") is None, "a tag does not stand in for a branch"
    assert repository.resolve("0" * 40) is None
    for text in (
        "main^",
        "main~1",
        "@{u}",
        "-h",
        "--help",
        "HEAD",
        "a..b",
        "main:a",
        "",
        "a b",
        "refs/heads/x.lock",
        "refs/../x",
    ):
        assert codes(lambda text=text: repository.resolve(text)) == [("G108", "")]  # type: ignore[misc] # mypy cannot infer a lambda with a default
    for text in (sha[:12], "main", "--all", sha + "^"):
        assert codes(lambda text=text: repository.commit(text)) == [("G108", "")]  # type: ignore[misc] # mypy cannot infer a lambda with a default


def test_commits_say_who_what_and_when(scratch: ScratchRepository) -> None:
    first = scratch.commit({"a": b""}, message="First\n")
    sha = scratch.commit(
        {"a": b"1"},
        first,
        message=(
            "Switch triage\nto 2.0.0\n\nWhy: it is better.\n\n"
            "CO-AUTHORED-BY: Bob <bob@example.org>\nco-authored-by: nobody in particular\n"
            "Reviewed-by: Eve <eve@example.org>\n  (twice)\n"
        ),
    )
    info = GitRepository(scratch.path).commit(sha)
    assert info.sha == sha
    assert info.parents == (first,)
    assert info.author == ADA
    assert info.committer == GitIdentity("Cora Committer", "cora@example.org")
    assert info.co_authors == (GitIdentity("Bob", "bob@example.org"), GitIdentity("nobody in particular", ""))
    assert info.subject == "Switch triage to 2.0.0"
    assert info.trailer("reviewed-by") == ("Eve <eve@example.org> (twice)",)
    assert info.committed_at == scratch.now
    assert codes(lambda: GitRepository(scratch.path).commit(info.tree)) == [("G103", "")]


def test_a_commit_in_another_encoding_and_with_an_odd_author_can_be_read(scratch: ScratchRepository) -> None:
    tree = scratch.tree({"a": b""})
    raw = (
        f"tree {tree}\nauthor J\xfcrgen <j@x> 99999999999999999 +0000\ncommitter  <> 1 +0000\n"
        "encoding ISO-8859-1\n\nGr\xfc\xdfe\n\nCo-authored-by: Zo\xeb <z@x>\n"
    ).encode("latin-1")
    sha = scratch.git("hash-object", "-w", "--literally", "-t", "commit", "--stdin", given=raw).strip().decode()
    info = GitRepository(scratch.path).commit(sha)
    assert (info.author, info.subject) == (GitIdentity("Jürgen", "j@x"), "Grüße")
    assert info.committer == GitIdentity("", "")
    assert info.co_authors == (GitIdentity("Zoë", "z@x"),)
    broken = raw.replace(b"encoding ISO-8859-1\n", b"").replace(b"author J\xfcrgen <j@x> 9", b"author \xff nobody 9")
    sha = scratch.git("hash-object", "-w", "--literally", "-t", "commit", "--stdin", given=broken).strip().decode()
    info = GitRepository(scratch.path).commit(sha)
    assert info.author.email == ""
    assert info.author.name.startswith("\\xff nobody")


def test_first_parents_leave_out_what_was_merged(scratch: ScratchRepository) -> None:
    root = scratch.commit({"a": b"0"})
    side = scratch.commit({"a": b"1"}, root)
    mainline = scratch.commit({"a": b"0", "b": b""}, root)
    merge = scratch.commit({"a": b"1", "b": b""}, mainline, side)
    repository = GitRepository(scratch.path)
    assert [info.sha for info in repository.first_parents(merge)] == [merge, mainline, root]
    assert [info.sha for info in repository.first_parents(merge, limit=2)] == [merge, mainline]
    walk = repository.first_parents(merge)
    assert next(walk).sha == merge
    walk.close()  # type: ignore[attr-defined] # a generator, though only an iterator is promised
    assert {info.sha for info in repository.commits_between(mainline, merge)} == {merge, side}
    assert {info.sha for info in repository.commits_between(None, merge)} == {merge, side, mainline, root}
    assert codes(lambda: repository.commits_between(mainline, merge, limit=1)) == [("G105", "")]
    assert repository.is_ancestor(side, merge)
    assert not repository.is_ancestor(merge, side)


# ---------------------------------------------------------------- writing


def test_equal_arguments_write_the_equal_commit_whatever_the_repository_is_configured_to(
    either: ScratchRepository,
) -> None:
    base = either.commit({"fleet/a.yaml": b"old", "run.sh": b"#!"}, modes={"run.sh": "100755"}, branch="main")
    repository = GitRepository(either.path)

    def write(at: datetime) -> str:
        return repository.write_commit(base, {"fleet/a.yaml": b"new", "run.sh": b"#!/"}, ADA, BOT, "Grüße\n\nText.", at)

    first = write(NOON)
    for key, value in (
        ("commit.gpgSign", "true"),
        ("i18n.commitEncoding", "latin1"),
        ("core.hooksPath", "/nonexistent"),
    ):
        either.git("config", key, value)
    assert write(NOON.astimezone(timezone(timedelta(hours=5))) + timedelta(microseconds=5)) == first
    assert write(NOON + timedelta(seconds=1)) != first
    info = repository.commit(first)
    assert (info.author, info.committer, info.parents, info.committed_at) == (ADA, BOT, (base,), NOON)
    assert repository.files(first, suffixes=("",)) == {"fleet/a.yaml": b"new", "run.sh": b"#!/"}
    assert either.git("ls-tree", first, "run.sh").startswith(b"100755")
    either.git("fsck", "--strict")
    assert either.tip() == base, "no ref moves"


def test_a_name_that_git_would_rewrite_comes_back_as_it_was(scratch: ScratchRepository) -> None:
    """`git commit-tree` drops a closing dot, and "Ada Jr." would no longer be the person that is configured."""
    repository = GitRepository(scratch.path)
    who = GitIdentity("Ada Jr.", "ada@example.org")
    assert repository.commit(repository.write_commit(None, {"a": b""}, who, who, "x", NOON)).author == who


def test_what_cannot_be_written_is_named(scratch: ScratchRepository) -> None:
    base = scratch.commit(
        {"file": b"", "folder/x.yaml": b"", "link": b"x", "module": b"2" * 40},
        modes={"link": "120000", "module": "160000"},
    )
    repository = GitRepository(scratch.path)

    def write(**changes: bytes | None) -> Callable[[], object]:
        paths = {key.replace("__", "/"): value for key, value in changes.items()}
        return lambda: repository.write_commit(base, paths, ADA, ADA, "x", NOON)

    assert codes(write(none=None, folder__y=None)) == [("G107", "folder/y"), ("G107", "none")]
    assert codes(write(link=b"", module=b"", folder=b"")) == [("G101", "folder"), ("G101", "link"), ("G101", "module")]
    assert codes(write(file__x=b"")) == [("G107", "file/x")]
    assert codes(write(new=b"", new__x=b"")) == [("G107", "new/x")]
    assert repository.file(str(write(file=None, file__x=b"1")()), "file/x") == b"1", "a file may become a folder"
    for path in ("../x", ".git/config", "a/../b", "", "/x", "a/\ud800"):
        assert codes(lambda path=path: repository.write_commit(base, {path: b""}, ADA, ADA, "x", NOON))[0][0] == "G107"  # type: ignore[misc] # mypy cannot infer a lambda with a default
    for message, who, at in (
        ("", ADA, NOON),
        ("a\0b", ADA, NOON),
        ("x", GitIdentity("", ""), NOON),
        ("x", ADA, NOON.replace(tzinfo=None)),
    ):
        with pytest.raises(ValueError, match="expected"):
            repository.write_commit(base, {"a": b""}, who, ADA, message, at)


def test_update_ref_is_a_compare_and_swap(either: ScratchRepository) -> None:
    first = either.commit({"a": b"1"})
    second = either.commit({"a": b"2"}, first)
    repository = GitRepository(either.path)
    repository.update_ref("refs/heads/new", first, None)
    with pytest.raises(RefConflictError) as caught:
        repository.update_ref("refs/heads/new", second, None)
    assert (caught.value.ref, caught.value.expected, caught.value.found) == ("refs/heads/new", None, first)
    with pytest.raises(RefConflictError):
        repository.update_ref("refs/heads/new", first, second)
    repository.update_ref("refs/heads/new", second, first)
    assert repository.resolve("new") == second
    repository.update_ref("refs/heads/new", None, second)
    assert repository.resolve("new") is None
    with pytest.raises(RefConflictError):
        repository.update_ref("refs/heads/new", second, first)
    assert codes(lambda: repository.update_ref("main", first, None)) == [("G108", "")]
    assert codes(lambda: repository.update_ref("refs/heads/a\nb", first, None)) == [("G108", "")]


def test_of_many_writers_of_one_ref_one_wins_and_the_others_are_told(scratch: ScratchRepository) -> None:
    base = scratch.commit({"a": b""}, branch="main")
    repository = GitRepository(scratch.path)
    wished = [repository.write_commit(base, {"a": str(n).encode()}, ADA, ADA, "x", NOON) for n in range(6)]
    outcomes: list[str | RefConflictError] = []

    def move(sha: str) -> None:
        try:
            repository.update_ref("refs/heads/main", sha, base)
            outcomes.append(sha)
        except RefConflictError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=move, args=(sha,)) for sha in wished]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    (winner,) = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert len(outcomes) == len(wished)
    assert scratch.tip() == winner


def test_a_lock_that_a_crash_left_is_named_with_the_next_step(scratch: ScratchRepository) -> None:
    sha = scratch.commit({"a": b""}, branch="main")
    other = scratch.commit({"a": b"1"}, sha)
    (scratch.path / "refs/heads/main.lock").touch()
    with pytest.raises(OutsideError, match=r"main\.lock.*remove that file"):
        GitRepository(scratch.path).update_ref("refs/heads/main", other, sha)


def test_merges_are_made_without_a_working_tree(either: ScratchRepository) -> None:
    root = either.commit({"a": b"1\n2\n3\n4\n5\n", "b": b"x\n"})
    ours = either.commit({"a": b"1\n2\n3\n4\nfive\n", "b": b"x\n"}, root, branch="main")
    theirs = either.commit({"a": b"one\n2\n3\n4\n5\n", "b": b"x\n"}, root)
    clash = either.commit({"a": b"1\n2\n3\n4\nFIVE\n", "b": b"x\n"}, root)
    stranger = either.commit({"z": b""})
    repository = GitRepository(either.path)
    merged = repository.merge(ours, theirs, ADA, BOT, "Merge", NOON)
    assert isinstance(merged, str)
    assert repository.merge(ours, theirs, ADA, BOT, "Merge", NOON) == merged
    assert repository.commit(merged).parents == (ours, theirs)
    assert repository.commit(merged).tree == repository.merged_tree(ours, theirs)
    assert repository.file(merged, "a") == b"one\n2\n3\n4\nfive\n"
    assert repository.merge(ours, clash, ADA, BOT, "Merge", NOON) == MergeConflict(
        ("a",), "both sides changed the same lines"
    )
    unrelated = repository.merge(ours, stranger, ADA, BOT, "Merge", NOON)
    assert isinstance(unrelated, MergeConflict)
    assert either.tip() == ours


def test_neither_attributes_nor_drivers_decide_a_merge(scratch: ScratchRepository, tmp_path: Path) -> None:
    """A pushed .gitattributes with "merge=union" would take both sides of a conflict without a word."""
    attributes = b"* merge=union\n*.yaml merge=evil\n"
    scratch.git("config", "merge.evil.driver", f"touch {tmp_path}/ran; true")
    (scratch.path / "info").mkdir(exist_ok=True)
    root = scratch.commit({".gitattributes": attributes, "a": b"1\n", "b.yaml": b"1\n"}, branch="main")
    ours = scratch.commit({".gitattributes": attributes, "a": b"2\n", "b.yaml": b"2\n"}, root, branch="main")
    theirs = scratch.commit({".gitattributes": attributes, "a": b"3\n", "b.yaml": b"3\n"}, root)
    outcome = GitRepository(scratch.path).merged_tree(ours, theirs)
    assert outcome == MergeConflict(("a", "b.yaml"), "both sides changed the same lines")
    assert not (tmp_path / "ran").exists()


def test_a_diff_is_for_reading_and_is_cut_with_a_word(scratch: ScratchRepository) -> None:
    before = scratch.commit({"a": b"x\n", "b": b"\xff\n"})
    after = scratch.commit({"a": b"y\n" * 1000, "b": b"\xfe\n"}, before)
    repository = GitRepository(scratch.path)
    assert "-\\xff" in repository.diff(before, after, ["b"])
    assert "+y" not in repository.diff(before, after, ["b"])
    short = repository.diff(before, after, limit=300)
    assert short.splitlines()[-1].startswith("... cut: the diff has ")
    assert repository.diff(before, before) == ""


# ---------------------------------------------------------------- what is outside


def test_replaced_objects_hooks_and_global_configuration_do_not_count(
    scratch: ScratchRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = scratch.commit({"a.yaml": b"reviewed"}, branch="main")
    bad = scratch.commit({"a.yaml": b"replaced"})
    scratch.git("replace", good, bad)
    hooks = tmp_path / "hooks"
    for folder in (hooks, scratch.path / "hooks"):
        folder.mkdir(exist_ok=True)
        hook = folder / "reference-transaction"
        hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\nexit 1\n")
        hook.chmod(0o755)
    (tmp_path / "gitconfig").write_text(f"[core]\nhooksPath = {hooks}\n[diff]\nexternal = false\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", "/nonexistent")
    repository = GitRepository(scratch.path)
    assert repository.files(good) == {"a.yaml": b"reviewed"}
    repository.update_ref("refs/heads/other", good, None)
    assert not (tmp_path / "ran").exists()


def test_what_is_no_repository_is_an_outside_error_with_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(OutsideError, match=r"no such folder.*git init --bare"):
        GitRepository(tmp_path / "none").resolve("main")
    with pytest.raises(OutsideError, match="no Git repository"):
        GitRepository(tmp_path).resolve("main")


def test_a_working_tree_is_read_through_its_repository(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    repository = GitRepository(tmp_path)
    assert not repository.is_bare
    sha = repository.write_commit(None, {"a.yaml": b"x"}, ADA, ADA, "x", NOON)
    assert repository.files(sha) == {"a.yaml": b"x"}


def test_somebody_elses_repository_is_refused_unless_it_is_trusted(
    scratch: ScratchRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha = scratch.commit({"a": b""}, branch="main")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)  # any other user than the owner; only root could really be one
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.delenv("SUDO_UID", raising=False)
    with pytest.raises(OutsideError, match=r"belongs to .* this process is user 12345; .*safe\.directory"):
        GitRepository(scratch.path).resolve("main")
    trust = ["git", "config", "--file", str(tmp_path / "gitconfig"), "--add", "safe.directory"]
    subprocess.run([*trust, str(scratch.path)], check=True)
    assert GitRepository(scratch.path).resolve("main") == sha
    subprocess.run([*trust, ""], check=True)
    with pytest.raises(OutsideError, match="belongs to"):
        GitRepository(scratch.path).resolve("main")


def program(folder: Path, text: str) -> None:
    folder.mkdir()
    (folder / "git").write_text(f"#!/bin/sh\n{text}\n")
    (folder / "git").chmod(0o755)


def test_an_old_git_a_foreign_one_and_none_are_told_apart(
    scratch: ScratchRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "old", "echo git version 2.37.7")
    program(tmp_path / "other", "echo gitte 1")
    (tmp_path / "empty").mkdir()
    for name, match in (("old", r"git version 2\.37\.7.*2\.38"), ("other", "gitte 1"), ("empty", "not on the PATH")):
        monkeypatch.setenv("PATH", str(tmp_path / name))
        with pytest.raises(OutsideError, match=match):
            GitRepository(scratch.path).resolve("main")


def test_a_git_that_hangs_or_floods_is_ended(
    scratch: ScratchRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = os.environ["PATH"]
    program(tmp_path / "slow", "exec sleep 60")
    monkeypatch.setenv("PATH", f"{tmp_path}/slow:{path}")
    with pytest.raises(OutsideError, match=r"took longer than 0\.2 s"):
        run(["version"], timeout=0.2)
    program(tmp_path / "flood", "exec yes")
    monkeypatch.setenv("PATH", f"{tmp_path}/flood:{path}")
    with pytest.raises(OutsideError, match="more than 10000 bytes"):
        run(["version"], limit=10_000)
    program(tmp_path / "dying", "kill -9 $$")
    monkeypatch.setenv("PATH", f"{tmp_path}/dying:{path}")
    with pytest.raises(OutsideError, match="SIGKILL"):
        run(["version"])


def test_a_conversation_that_breaks_off_is_an_outside_error(
    scratch: ScratchRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha = scratch.commit({"a.yaml": b""}, branch="main")
    real = subprocess.run(["which", "git"], check=True, capture_output=True, text=True).stdout.strip()
    repository = GitRepository(scratch.path)
    assert repository.resolve("main") == sha
    path = os.environ["PATH"]
    for name, action in (
        ("dies", "kill -9 $$"),
        ("quits", "echo fatal: bad disk >&2; exit 128"),
        ("lies", "echo hello; exec sleep 60"),
    ):
        program(tmp_path / name, f'case "$*" in *cat-file*) {action};; *) exec {real} "$@";; esac')
        monkeypatch.setenv("PATH", f"{tmp_path / name}:{path}")
        with pytest.raises(OutsideError, match=r"cat-file"):
            GitRepository(scratch.path, timeout=5).files(sha)
