"""The pure parts: identities, ref names and raw objects, against git's own judgement where it has one."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trimtab_config.git.identity import GitIdentity
from trimtab_config.git.objects import (
    MalformedObjectError,
    TreeEntry,
    encode_commit,
    format_trailers,
    parse_commit,
    parse_trailers,
    parse_tree,
)
from trimtab_config.git.refs import branch_ref, is_full_ref

NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="<>"), min_size=1, max_size=40)
IDENTITIES = st.builds(GitIdentity, NAMES, NAMES).filter(lambda who: bool(who.name and who.email))
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive


@given(IDENTITIES)
def test_an_identity_comes_back_from_its_text(who: GitIdentity) -> None:
    assert GitIdentity.parse(str(who)) == GitIdentity.parse(f"  {who}\n") == who


@pytest.mark.parametrize(
    "text", ["", "Ada", "<a@x>", "Ada <>", "Ada <a@x> b", "A <a@x>\nB <b@x>", "A <<a@x>>", "A\0 <a@x>"]
)
def test_what_is_no_identity_is_refused_and_taken_leniently_it_equals_nobody(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        GitIdentity.parse(text)
    assert GitIdentity.lenient(text).email == ""


@given(st.text())
def test_lenient_reading_never_fails(text: str) -> None:
    GitIdentity.lenient(text)


@given(st.text("ab./-@{}~^:?*[\\ \tä\x7f\n", max_size=12))
@example("a.lock")
@example("a.lock/b")
@example("@")
@example("a@{b")
def test_branch_names_are_judged_as_git_judges_them(name: str) -> None:
    if "\0" in name:
        return
    git = subprocess.run(["git", "check-ref-format", f"refs/heads/{name}"], check=False, capture_output=True)
    assert is_full_ref(f"refs/heads/{name}") == (git.returncode == 0), name


@pytest.mark.parametrize("name", ["-x", "--help", "HEAD", "", "a\0b", "\ud800", "x" * 300])
def test_names_that_git_would_take_for_something_else_are_no_branches(name: str) -> None:
    with pytest.raises(ValueError, match="expected a branch"):
        branch_ref(name)


@given(
    IDENTITIES,
    IDENTITIES,
    TIMES,
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
)
def test_a_commit_comes_back_from_its_bytes(
    author: GitIdentity, committer: GitIdentity, at: datetime, message: str
) -> None:
    if not message.strip():
        return
    tree, parent = "1" * 40, "2" * 40
    raw = encode_commit(tree=tree, parents=[parent], author=author, committer=committer, message=message, at=at)
    info = parse_commit("3" * 40, raw)
    assert (info.tree, info.parents, info.author, info.committer) == (tree, (parent,), author, committer)
    assert info.committed_at == at.replace(microsecond=0)
    assert raw.endswith(b"\n\n" + message.rstrip("\n").encode() + b"\n")


TOKENS = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,20}", fullmatch=True)
VALUES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=40).filter(
    lambda v: bool(v.strip())
)


@given(st.lists(st.tuples(TOKENS, VALUES), min_size=1, max_size=5))
def test_trailers_come_back_from_a_message(trailers: list[tuple[str, str]]) -> None:
    assert parse_trailers("Some text.\n\n" + format_trailers(trailers)) == tuple((t, v.strip()) for t, v in trailers)


@pytest.mark.parametrize(
    "body",
    [
        "Text.\n\nA: 1\nB-c: 2\n  more",
        "A: 1",
        "Text.\n\nA: 1\nnot one\n",
        "Text\nA: 1",
        "",
        "A: 1\n\nText.",
        "Text.\n \t\nA: 1",
        "Text.\n\nA:1\nb :  2",
        "See https://example.org\n\nhttps://example.org/x",
    ],
)
def test_trailers_are_read_as_git_reads_them(body: str) -> None:
    """Where every line of the last paragraph is a trailer; git also takes some mixed paragraphs, which is not followed."""
    git = subprocess.run(
        ["git", "interpret-trailers", "--parse", "--unfold", "--no-divider"],
        input=f"Subject\n\n{body}\n".encode(),
        check=True,
        capture_output=True,
    )
    assert "".join(f"{token}: {value}\n" for token, value in parse_trailers(body)) == git.stdout.decode()


@pytest.mark.parametrize(
    ("token", "value"), [("A b", "x"), ("", "x"), ("A", ""), ("A", "x\nB: y"), ("A:", "x"), ("A", " ")]
)
def test_a_trailer_that_would_become_another_one_is_refused(token: str, value: str) -> None:
    with pytest.raises(ValueError, match="expected trailers"):
        format_trailers([(token, value)])


@given(st.binary(max_size=200))
@example(b"tree 1\nauthor a <a> 1 +0000\ncommitter a <a> 99999999999999999999 +0000\n\n")
@example(b"tree 1\ntree 2\nauthor a <a> 1 +0000\ncommitter a <a> 1 +0000\n\n")
def test_any_bytes_are_a_commit_or_a_malformed_one(raw: bytes) -> None:
    try:
        info = parse_commit("0" * 40, raw)
    except MalformedObjectError:
        return
    assert info.tree


@given(st.binary(max_size=100) | st.binary(max_size=60).map(lambda end: b"100644 a\0" + b"x" * 20 + b"40000 b\0" + end))
def test_any_bytes_are_a_tree_or_a_malformed_one(raw: bytes) -> None:
    try:
        entries = list(parse_tree(raw, 20))
    except MalformedObjectError:
        return
    again = b"".join(f"{entry.mode:o} ".encode() + entry.name + b"\0" + bytes.fromhex(entry.sha) for entry in entries)
    assert raw.replace(b"0", b"") == again.replace(b"0", b""), "leading zeros of a mode apart"


def test_a_tree_is_read_entry_by_entry() -> None:
    raw = b"100644 a b\0" + bytes(range(20)) + b"40000 \xff\0" + b"\0" * 20
    assert list(parse_tree(raw, 20)) == [
        TreeEntry(0o100644, b"a b", bytes(range(20)).hex()),
        TreeEntry(0o040000, b"\xff", "0" * 40),
    ]


def test_a_time_beyond_the_calendar_counts_as_the_epoch() -> None:
    raw = b"tree 1\nauthor a <a> 1 +0000\ncommitter a <a> 999999999999999999 +0000\n\nx"
    assert parse_commit("0" * 40, raw).committed_at == datetime.fromtimestamp(0, UTC)
