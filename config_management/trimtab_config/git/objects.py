r"""Commits and trees as values, read from and written to Git's own bytes. Pure.

Text that is not UTF-8 shows its odd bytes as ``\xNN``, so that every field is ordinary text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from trimtab_config.git.identity import GitIdentity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_STAMP = re.compile(rb"(?P<who>.*?) ?(?P<seconds>-?[0-9]{1,18}) (?P<zone>[+-][0-9]{4,6})", re.DOTALL)
_TRAILER = re.compile(r"(?P<token>[A-Za-z0-9][A-Za-z0-9-]*) *: *(?P<value>.*)")
_CO_AUTHOR = re.compile(r"^[ \t]*co-authored-by[ \t]*:[ \t]*(?P<who>.*?)[ \t]*$", re.IGNORECASE | re.MULTILINE)
# A commit may name its encoding; these are the ones whose bytes are certain text, any other shows as \xNN.
_ENCODINGS = {
    b"iso-8859-1": "iso-8859-1",
    b"latin-1": "iso-8859-1",
    b"latin1": "iso-8859-1",
    b"iso-8859-15": "iso-8859-15",
    b"windows-1252": "cp1252",
    b"cp1252": "cp1252",
}
_EPOCH = datetime.fromtimestamp(0, UTC)

MODE_TREE = 0o040000
MODE_FILE = 0o100644
MODE_EXECUTABLE = 0o100755
MODE_LINK = 0o120000
MODE_SUBMODULE = 0o160000


class MalformedObjectError(ValueError):
    """The bytes are not such an object; the message says what was expected."""


@dataclass(frozen=True, slots=True)
class CommitInfo:
    """What a commit says. ``committed_at`` is in UTC; the epoch where the commit carries no usable time.

    ``co_authors`` come from every ``Co-authored-by:`` line anywhere in the message, in any case, malformed ones
    included (see :meth:`GitIdentity.lenient`): who claims a part in a change is never overlooked. ``trailers`` are the
    lines of the last paragraph where each of them is ``Token: value``; a commit's first paragraph is never trailers.
    """

    sha: str
    tree: str
    parents: tuple[str, ...]
    author: GitIdentity
    committer: GitIdentity
    co_authors: tuple[GitIdentity, ...]
    trailers: tuple[tuple[str, str], ...]
    subject: str
    body: str
    committed_at: datetime

    def trailer(self, token: str) -> tuple[str, ...]:
        """All values of one trailer, in order; the token's case does not count."""
        return tuple(value for name, value in self.trailers if name.lower() == token.lower())


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One entry of a tree object. ``name`` is raw: Git knows names as bytes."""

    mode: int
    name: bytes
    sha: str


def parse_commit(sha: str, raw: bytes) -> CommitInfo:
    """Raises :class:`MalformedObjectError` where the tree, author or committer is missing."""
    head, _, message = raw.partition(b"\n\n")
    headers: dict[bytes, list[bytes]] = {}
    for line in head.split(b"\n"):
        key, space, value = line.partition(b" ")
        if key and space:  # a line that starts with a space continues a signature, which is not read here
            headers.setdefault(key, []).append(value)
    if any(len(headers.get(key, ())) != 1 for key in (b"tree", b"author", b"committer")):
        raise MalformedObjectError("expected one tree, one author and one committer")
    encoding = headers.get(b"encoding", [b""])[0].lower()
    author, _ = _stamp(headers[b"author"][0], encoding)
    committer, committed_at = _stamp(headers[b"committer"][0], encoding)
    text = _text(message, encoding)
    subject, body = _split_message(text)
    return CommitInfo(
        sha=sha,
        tree=headers[b"tree"][0].decode("ascii", "backslashreplace"),
        parents=tuple(value.decode("ascii", "backslashreplace") for value in headers.get(b"parent", ())),
        author=author,
        committer=committer,
        co_authors=tuple(dict.fromkeys(GitIdentity.lenient(match["who"]) for match in _CO_AUTHOR.finditer(text))),
        trailers=parse_trailers(body),
        subject=subject,
        body=body,
        committed_at=committed_at,
    )


def encode_commit(
    *,
    tree: str,
    parents: Sequence[str],
    author: GitIdentity,
    committer: GitIdentity,
    message: str,
    at: datetime,
) -> bytes:
    """The bytes of a commit: a function of its arguments alone.

    They are made here because ``git commit-tree`` rewrites names (it drops a closing dot) and lets a repository's
    configuration choose the encoding. The time is cut to whole seconds and written in UTC. Raises ValueError for a time
    without a zone, an identity without name or address, or a message that is empty or holds NUL.
    """
    if at.tzinfo is None:
        raise ValueError("expected a time with a zone")
    if "\x00" in message or not message.strip():
        raise ValueError("expected a message that is not empty and holds no NUL")
    for who in (author, committer):
        if not who.name or not who.email:
            raise ValueError('expected an identity such as "Ada Lovelace <ada@example.org>"')
    stamp = f"{int(at.timestamp())} +0000"
    lines = [
        f"tree {tree}",
        *(f"parent {parent}" for parent in parents),
        f"author {author} {stamp}",
        f"committer {committer} {stamp}",
        "",
        message.rstrip("\n") + "\n",
    ]
    return "\n".join(lines).encode()


def format_trailers(trailers: Iterable[tuple[str, str]]) -> str:
    """Trailers as the last paragraph of a message. Raises ValueError for a token or value that would not come back."""
    lines = []
    for token, value in trailers:
        if (
            not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*", token)
            or not value.strip()
            or re.search(r"[\x00-\x1f]", value)
        ):
            raise ValueError(
                f'expected trailers such as ("Approved-by", "ada"), each on one line, got {token!r}: {value!r}'
            )
        lines.append(f"{token}: {value.strip()}")
    return "\n".join(lines)


def parse_trailers(body: str) -> tuple[tuple[str, str], ...]:
    """The trailers that end ``body``; none where any line of its last paragraph is something else.

    A line that starts with white space continues the value above it (git-interpret-trailers).
    """
    paragraph = re.split(r"\n[ \t]*\n", body.strip("\n"))[-1]
    found: list[tuple[str, str]] = []
    for line in paragraph.split("\n"):
        if line[:1] in {" ", "\t"} and found:
            token, value = found[-1]
            found[-1] = (token, f"{value} {line.strip()}")
        elif match := _TRAILER.fullmatch(line):
            found.append((match["token"], match["value"].strip()))
        else:
            return ()
    return tuple(found)


def parse_tree(raw: bytes, id_bytes: int) -> Iterator[TreeEntry]:
    """The entries of a tree object, in its order. ``id_bytes`` is 20 (SHA-1) or 32 (SHA-256).

    Raises :class:`MalformedObjectError`.
    """
    position = 0
    while position < len(raw):
        space = raw.find(b" ", position, position + 8)
        end = raw.find(b"\x00", space + 1)
        if (
            space < 0
            or end < 0
            or end + id_bytes >= len(raw) + 1
            or not re.fullmatch(rb"[0-7]{5,6}", raw[position:space])
        ):
            raise MalformedObjectError("expected entries of mode, name and object id")
        yield TreeEntry(int(raw[position:space], 8), raw[space + 1 : end], raw[end + 1 : end + 1 + id_bytes].hex())
        position = end + 1 + id_bytes


def _text(raw: bytes, encoding: bytes = b"") -> str:
    return raw.decode(_ENCODINGS.get(encoding, "utf-8"), "backslashreplace")


def _split_message(text: str) -> tuple[str, str]:
    """The first paragraph on one line, and the rest."""
    subject, _, body = text.strip("\n").partition("\n\n")
    return " ".join(subject.split("\n")), body.strip("\n")


def _stamp(raw: bytes, encoding: bytes) -> tuple[GitIdentity, datetime]:
    match = _STAMP.fullmatch(raw)
    if match is None:
        return GitIdentity.lenient(_text(raw, encoding)), _EPOCH
    text = _text(match["who"], encoding)
    # What a commit carries is taken as it stands, an empty name included; only what no rule covers goes the lenient way.
    name, bracket, rest = text.partition("<")
    email, closing, after = rest.partition(">")
    try:
        who = GitIdentity(name, email) if bracket and closing and not after else GitIdentity.lenient(text)
    except ValueError:
        who = GitIdentity.lenient(text)
    try:
        at = _EPOCH + timedelta(seconds=int(match["seconds"]))
    except OverflowError:
        at = _EPOCH
    return who, at
