"""A Git repository on this machine: the one adapter over the git binary.

What is read is bounded and refused by name, never followed: symbolic links, submodules and odd modes are Problems.
What is written is a function of its arguments, so that a repeat writes the same object. Refs change only by
compare-and-swap.
"""

from __future__ import annotations

import os
import posixpath
import pwd
import re
import subprocess
import tempfile
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from trimtab_config.git import objects
from trimtab_config.git.objects import CommitInfo, MalformedObjectError, TreeEntry
from trimtab_config.git.process import TIMEOUT, Answer, Conversation, conversation, require_version, run
from trimtab_config.git.refs import branch_ref, is_full_ref, is_object_id
from trimtab_config.sources.selection import MAX_FILE_BYTES, MAX_FILES, MAX_TOTAL_BYTES, SUFFIXES, is_manifest
from trimtab_kernel.problems import Collector, InputError, OutsideError, Problem, TrimtabError, printable, quoted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from trimtab_config.git.identity import GitIdentity

MAX_COMMITS = 10_000
MAX_MESSAGE = 1024 * 1024
MAX_DIFF = 512 * 1024
MAX_TREE = 16 * 1024 * 1024
MAX_PATH = 4096
MAX_PROBLEMS = 100  # a tree of links would otherwise fill the screen
_KINDS = {objects.MODE_LINK: "a symbolic link", objects.MODE_SUBMODULE: "a submodule"}


@dataclass(frozen=True, slots=True)
class TreeLimits:
    """Bounds on one reading of a tree. Sizes in bytes; ``entries`` counts everything that a tree lists, read or not."""

    files: int = MAX_FILES
    file_bytes: int = MAX_FILE_BYTES
    total_bytes: int = MAX_TOTAL_BYTES
    entries: int = 500_000
    depth: int = 32


LIMITS = TreeLimits()


class RefConflictError(TrimtabError):
    """A ref is not where it was expected: somebody else moved it. Read again and decide again."""

    def __init__(self, ref: str, expected: str | None, found: str | None) -> None:
        """None stands for a ref that does not exist."""
        self.ref = ref
        self.expected = expected
        self.found = found
        super().__init__(f"{ref} is at {found or 'nothing'}, expected {expected or 'nothing'}; read it again")


@dataclass(frozen=True, slots=True)
class RefMove:
    """A full ref goes from ``old`` to ``new``; None stands for a ref that does not exist."""

    ref: str
    new: str | None
    old: str | None


@dataclass(frozen=True, slots=True)
class MergeConflict:
    """Two commits cannot be merged without a person. ``paths`` are sorted; none where the histories are unrelated."""

    paths: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class _Listing:
    """What lies below a folder, by relative path: ids of files, ids of links, and folders."""

    files: dict[str, str]
    links: dict[str, str]
    folders: set[str]


class GitRepository:
    """A repository, bare or with a working tree (which is never looked at).

    Nothing is read on construction. Every method raises OutsideError where git is missing, too old, too slow or fails,
    where the repository is missing, or where it belongs to somebody else and ``safe.directory`` does not name it; and
    InputError (G1xx) for content or names that are refused.
    """

    def __init__(self, path: Path, timeout: float = TIMEOUT) -> None:
        """``timeout`` in seconds, for each git command."""
        self.path = path
        self.timeout = timeout

    # ------------------------------------------------------------ reading

    def resolve(self, ref: str) -> str | None:
        """The object id that ``ref`` names, None where there is none.

        ``ref`` is a whole object id, a full ref (``refs/...``) or the name of a branch; other revision syntax is refused,
        and no other place is searched: a tag cannot stand in for a branch that is missing.
        """
        if is_object_id(ref):
            with self._conversation() as talk:
                return ref if next(talk.sizes([ref])) is not None else None
        full = _full_ref(ref)
        answer = self._run(["show-ref", "--verify", "--hash", "--", full])
        if answer.status == 0:
            return answer.output.decode("ascii").strip()
        if "not a valid ref" in answer.complaint:
            return None
        raise _failed("show-ref", answer)

    def revision(self, text: str) -> str | None:
        """The id of the commit that a person means by ``text``, None where there is none.

        Whatever ``git rev-parse`` understands (``HEAD~1``, a tag, a short id): for the command line alone. What follows a
        branch by itself uses :meth:`resolve`, which searches nowhere else.
        """
        if not text or text.startswith("-") or "\0" in text:
            raise _bad_ref(text)
        answer = self._run(["rev-parse", "--verify", "--quiet", "--end-of-options", f"{text}^{{commit}}"])
        return answer.output.decode("ascii").strip() if answer.status == 0 else None

    def refs(self, prefix: str) -> dict[str, str]:
        """Object ids by full ref name, for all refs below ``prefix`` (such as ``refs/pull``), sorted by name."""
        if not is_full_ref(f"{prefix}/x"):
            raise _bad_ref(prefix)
        answer = self._git(["for-each-ref", "--format=%(objectname) %(refname)", f"{prefix}/"])
        found = {}
        for line in answer.output.decode("utf-8", "backslashreplace").splitlines():
            sha, _, name = line.partition(" ")
            found[name] = sha
        return found

    def files(
        self,
        commit: str,
        prefix: str = "",
        suffixes: tuple[str, ...] = SUFFIXES,
        limits: TreeLimits = LIMITS,
    ) -> dict[str, bytes]:
        """The files below the folder ``prefix`` whose names end in ``suffixes``, by path relative to it, sorted.

        It gives what ``sources.folder.load_folder`` gives for a checkout of the commit: no part of a path below the folder
        begins with a dot, and a link is never followed; one that stays inside is left out, as its target is read at its own
        place. Raises InputError with a Problem for each link that leads outside or to nothing, submodule, odd mode and
        refused name below the folder, for a folder that does not exist, and for what is too much.
        """
        parts = _path_parts(prefix) if prefix else ()
        with self._conversation() as talk:
            root = self._commit(talk, commit).tree
            tree = self._folder(talk, root, parts)
            if tree is None:
                raise InputError(
                    Problem("G106", file=prefix, got="no such folder", expected=f"a folder in {commit[:12]}")
                )
            listing = self._walk(talk, tree, prefix.strip("/"), limits)
            self._judge_links(talk, root, listing, prefix.strip("/"), suffixes)
            blobs = sorted((path, sha) for path, sha in listing.files.items() if is_manifest(path, suffixes))
            if len(blobs) > limits.files:
                raise InputError(
                    Problem("G104", file=prefix, got=f"{len(blobs)} files", expected=f"at most {limits.files}")
                )
            found: dict[str, bytes] = {}
            self._judge_sizes(talk, blobs, prefix.strip("/"), limits)
            for (name, _), content in zip(blobs, talk.contents([sha for _, sha in blobs]), strict=True):
                if content is None:
                    raise _missing_object(name)
                found[name] = content[1]
            return dict(sorted(found.items()))

    def file(self, commit: str, path: str, limit: int = LIMITS.file_bytes) -> bytes | None:
        """One file's bytes, None where there is none. Raises InputError for what is not a plain file or too large."""
        *folder, name = _path_parts(path)
        with self._conversation() as talk:
            tree = self._folder(talk, self._commit(talk, commit).tree, folder)
            entry = None if tree is None else self._entries(talk, tree).get(name.encode())
            if entry is None:
                return None
            if entry.mode not in (objects.MODE_FILE, objects.MODE_EXECUTABLE):
                raise InputError(_odd_entry(path, entry.mode))
            return self._blob(talk, entry.sha, path, limit)

    def commit(self, sha: str) -> CommitInfo:
        """What a commit says. Raises InputError (G103) where ``sha`` is no commit here."""
        with self._conversation() as talk:
            return self._commit(talk, sha)

    def first_parents(self, sha: str, limit: int = MAX_COMMITS) -> Iterator[CommitInfo]:
        """``sha``, its first parent, that one's first parent, and so on, at most ``limit`` commits."""
        with self._conversation() as talk:
            for _ in range(limit):
                info = self._commit(talk, sha)
                yield info
                if not info.parents:
                    return
                sha = info.parents[0]

    def commits_between(self, excluded: str | None, included: str, limit: int = MAX_COMMITS) -> tuple[CommitInfo, ...]:
        """The commits that ``included`` reaches and ``excluded`` does not (``excluded..included``), newest first.

        Raises InputError (G105) where there are more than ``limit``: a part of a history proves nothing.
        """
        arguments = ["rev-list", "--topo-order", f"--max-count={limit + 1}", _object_id(included)]
        if excluded is not None:
            arguments.append(f"^{_object_id(excluded)}")
        answer = self._git([*arguments, "--"])
        ids = answer.output.decode("ascii").split()
        if len(ids) > limit:
            raise InputError(
                Problem("G105", got=f"more than {limit} commits", expected=f"at most {limit} up to {included[:12]}")
            )
        with self._conversation() as talk:
            return tuple(self._parsed(sha, content) for sha, content in zip(ids, talk.contents(ids), strict=True))

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether ``newer`` contains ``older`` (a commit contains itself)."""
        answer = self._run(["merge-base", "--is-ancestor", _object_id(older), _object_id(newer)])
        if answer.status in (0, 1):
            return answer.status == 0
        raise _failed("merge-base", answer)

    def merge_base(self, one: str, other: str) -> str | None:
        """The best common ancestor of two commits, None where they share none."""
        answer = self._run(["merge-base", _object_id(one), _object_id(other)])
        if answer.status in (0, 1):
            return answer.output.decode("ascii").strip() or None
        raise _failed("merge-base", answer)

    def changed_paths(self, before: str, after: str) -> tuple[str, ...]:
        """Paths of files that differ between two commits or trees, sorted; a renamed file counts under both names."""
        answer = self._git(
            ["diff-tree", "-r", "-z", "--name-only", "--no-renames", _object_id(before), _object_id(after), "--"]
        )
        return tuple(sorted(name.decode("utf-8", "backslashreplace") for name in answer.output.split(b"\0") if name))

    def diff(self, before: str, after: str, paths: Collection[str] = (), limit: int = MAX_DIFF) -> str:
        r"""A unified diff between two commits or trees, of ``paths`` (files or folders) or of everything.

        It is for reading: bytes that are not UTF-8 show as ``\xNN``, and what is longer than ``limit`` bytes is cut with a
        last line that says so.
        """
        wanted = ["/".join(_path_parts(path)) for path in paths]
        answer = self._git(
            [
                *(
                    "diff-tree",
                    "-r",
                    "-p",
                    "--no-color",
                    "--no-ext-diff",
                    "--no-textconv",
                    "--no-renames",
                    "--full-index",
                ),
                *("--src-prefix=a/", "--dst-prefix=b/", "--unified=3", _object_id(before), _object_id(after), "--"),
                *wanted,
            ]
        )
        text = answer.output[:limit].decode("utf-8", "backslashreplace")
        if len(answer.output) > limit:
            text = f"{text[: text.rfind(chr(10)) + 1]}... cut: the diff has {len(answer.output)} bytes, {limit} are shown\n"
        return text

    def read_blob(self, sha: str, limit: int = LIMITS.file_bytes) -> bytes:
        """The bytes of a blob. Raises InputError where it is missing, another kind of object, or larger than ``limit``."""
        with self._conversation() as talk:
            return self._blob(talk, _object_id(sha), sha, limit)

    def read_blobs(self, ids: Sequence[str], limit: int = LIMITS.file_bytes) -> tuple[bytes, ...]:
        """Several blobs, as :meth:`read_blob` reads one."""
        with self._conversation() as talk:
            return tuple(self._blob(talk, _object_id(sha), sha, limit) for sha in ids)

    @property
    def is_bare(self) -> bool:
        """Whether there is no working tree that a moved branch would leave behind."""
        answer = self._run(["config", "--type=bool", "--get", "core.bare"])
        return answer.status == 0 and answer.output.strip() == b"true"

    # ------------------------------------------------------------ writing

    def write_blob(self, content: bytes) -> str:
        """Store bytes; gives their object id."""
        return self._hash_object("blob", content)

    def write_commit(
        self,
        parent: str | None,
        changes: Mapping[str, bytes | None],
        author: GitIdentity,
        committer: GitIdentity,
        message: str,
        at: datetime,
    ) -> str:
        """Write a commit that is ``parent`` with some files replaced (bytes) or removed (None); no ref moves.

        Equal arguments give the equal id. ``at`` is both dates, cut to seconds, in UTC. A file keeps its mode, a new one is
        plain. Raises InputError for a path that is refused, that is no plain file, or that is removed and not there, and
        ValueError as :func:`objects.encode_commit` does.
        """
        with self._conversation() as talk:
            base = None if parent is None else self._commit(talk, parent).tree
            problems = Collector()
            problems.extend(_clashes(changes))
            modes = {path: self._mode_at(talk, base, path, changes, problems) for path in sorted(changes)}
        if problems.problems:
            raise InputError(*problems.sorted())
        lines = []
        for path, content in sorted(changes.items()):
            mode = modes[path]
            if content is None:
                lines.append(f"0 {'0' * self._id_length}\t{path}\0")
            else:
                lines.append(f"{mode or objects.MODE_FILE:06o} {self.write_blob(content)}\t{path}\0")
        tree = self._write_tree(base, "".join(lines).encode())
        parents = () if parent is None else (parent,)
        raw = objects.encode_commit(
            tree=tree, parents=parents, author=author, committer=committer, message=message, at=at
        )
        return self._hash_object("commit", raw)

    def merged_tree(self, ours: str, theirs: str) -> str | MergeConflict:
        """The tree that merging commit ``theirs`` into commit ``ours`` gives; no attribute or driver of anybody's counts."""
        answer = self._run(
            ["merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", _object_id(ours), _object_id(theirs)]
        )
        if "unrelated histories" in answer.complaint:
            return MergeConflict((), "the histories have no commit in common")
        if answer.status not in (0, 1):
            raise _failed("merge-tree", answer)
        tree, *names = (part.decode("utf-8", "backslashreplace") for part in answer.output.split(b"\0") if part)
        if answer.status == 1:
            return MergeConflict(tuple(sorted(set(names))), "both sides changed the same lines")
        return tree

    def merge(
        self,
        base_head: str,
        head: str,
        author: GitIdentity,
        committer: GitIdentity,
        message: str,
        at: datetime,
    ) -> str | MergeConflict:
        """Write a merge commit, first parent ``base_head``, second ``head``; no ref moves. Equal arguments, equal id."""
        tree = self.merged_tree(base_head, head)
        if isinstance(tree, MergeConflict):
            return tree
        raw = objects.encode_commit(
            tree=tree, parents=(base_head, head), author=author, committer=committer, message=message, at=at
        )
        return self._hash_object("commit", raw)

    def update_ref(self, ref: str, new: str | None, old: str | None) -> None:
        """Move a full ref from ``old`` to ``new``, durably; None stands for a ref that does not exist.

        Raises :class:`RefConflictError` where the ref is not at ``old``; then nothing has changed.
        """
        self.update_refs((RefMove(ref, new, old),))

    def update_refs(self, moves: Sequence[RefMove]) -> None:
        """Move several refs in one transaction: each from its ``old``, or none at all.

        A move from a value to itself only checks. Raises :class:`RefConflictError` for the first ref that is elsewhere. One
        thing breaks the promise: where git itself is killed while it renames its files, the moves after that one are
        missing. They are made in the order given, so what others find first belongs last.
        """
        zero = "0" * self._id_length
        given = []
        for move in moves:
            if not is_full_ref(move.ref):
                raise _bad_ref(move.ref)
            old = _object_id(move.old) if move.old else zero
            if move.new == move.old:
                given.append(f"verify {move.ref}\0{old}\0")
            else:
                given.append(f"update {move.ref}\0{_object_id(move.new) if move.new else zero}\0{old}\0")
        answer = self._run(["update-ref", "-z", "--stdin"], given="".join(given).encode())
        if answer.status == 0:
            return
        for move in moves:
            found = self.resolve(move.ref)
            if found != move.old:
                raise RefConflictError(move.ref, move.old, found)
        raise _failed("update-ref", answer)

    # ------------------------------------------------------------ parts

    @cached_property
    def _git_dir(self) -> Path:
        require_version()
        path = self.path.resolve()
        for candidate in (path / ".git", path):
            if (candidate / "objects").is_dir() and (candidate / "HEAD").is_file():
                _judge_owner(candidate, path)
                return candidate
        what = "no such folder" if not path.is_dir() else "no Git repository"
        raise OutsideError(f"{printable(str(self.path))}: {what}; make one with 'git init --bare' or check the path")

    @cached_property
    def _id_length(self) -> int:
        answer = run(["rev-parse", "--show-object-format"], git_dir=self._git_dir, limit=64, timeout=self.timeout)
        if answer.status != 0:
            raise _failed("rev-parse", answer)
        return 64 if answer.output.strip() == b"sha256" else 40

    def _run(self, arguments: Sequence[str], given: bytes = b"", extra: dict[str, str] | None = None) -> Answer:
        return run(
            arguments, git_dir=self._git_dir, given=given, extra=extra, id_length=self._id_length, timeout=self.timeout
        )

    def _git(self, arguments: Sequence[str], given: bytes = b"", extra: dict[str, str] | None = None) -> Answer:
        answer = self._run(arguments, given, extra)
        if answer.status != 0:
            raise _failed(arguments[0], answer)
        return answer

    def _conversation(self) -> AbstractContextManager[Conversation]:
        return conversation(self._git_dir, id_length=self._id_length, timeout=self.timeout)

    def _hash_object(self, kind: str, content: bytes) -> str:
        answer = self._git(["hash-object", "-w", "-t", kind, "--stdin"], given=content)
        return answer.output.decode("ascii").strip()

    def _write_tree(self, base: str | None, lines: bytes) -> str:
        with tempfile.TemporaryDirectory(prefix="trimtab-index-") as scratch:
            extra = {"GIT_INDEX_FILE": str(Path(scratch) / "index")}
            self._git(["read-tree", base or "--empty"], extra=extra)
            if lines:
                self._git(["update-index", "-z", "--index-info"], given=lines, extra=extra)
            return self._git(["write-tree"], extra=extra).output.decode("ascii").strip()

    def _parsed(self, sha: str, content: tuple[str, bytes] | None) -> CommitInfo:
        if content is None or content[0] != "commit":
            got = "nothing" if content is None else f"a {content[0]}"
            raise InputError(Problem("G103", got=f"{got} at {sha[:12]}", expected="a commit of this repository"))
        try:
            return objects.parse_commit(sha, content[1])
        except MalformedObjectError as error:
            raise InputError(Problem("G103", got=f"a malformed commit {sha[:12]}", hint=str(error))) from error

    def _commit(self, talk: Conversation, sha: str) -> CommitInfo:
        size = next(talk.sizes([_object_id(sha)]))
        if size is not None and size[1] > MAX_MESSAGE:
            raise InputError(
                Problem(
                    "G104", got=f"a commit of {size[1]} bytes at {sha[:12]}", expected=f"at most {MAX_MESSAGE} bytes"
                )
            )
        return self._parsed(sha, next(talk.contents([sha])))

    def _entries(self, talk: Conversation, tree: str) -> dict[bytes, TreeEntry]:
        size = next(talk.sizes([tree]))
        if size is None or size[0] != "tree":
            raise _missing_object(tree)
        if size[1] > MAX_TREE:
            raise InputError(Problem("G104", got=f"a folder of {size[1]} bytes", expected=f"at most {MAX_TREE} bytes"))
        content = next(talk.contents([tree]))
        if content is None:
            raise _missing_object(tree)
        try:
            entries = list(objects.parse_tree(content[1], self._id_length // 2))
        except MalformedObjectError as error:
            raise InputError(Problem("G102", got=f"a malformed tree {tree[:12]}", hint=str(error))) from error
        found = {entry.name: entry for entry in entries}
        if len(found) != len(entries):
            raise InputError(
                Problem("G102", got=f"a tree {tree[:12]} that lists one name twice", expected="each name once")
            )
        return found

    def _folder(self, talk: Conversation, tree: str, parts: Sequence[str]) -> str | None:
        for part in parts:
            entry = self._entries(talk, tree).get(part.encode())
            if entry is None or entry.mode != objects.MODE_TREE:
                return None
            tree = entry.sha
        return tree

    def _walk(self, talk: Conversation, root: str, prefix: str, limits: TreeLimits) -> _Listing:
        """All that lies below ``root`` but what is hidden, by path relative to it."""
        problems = Collector()
        listing = _Listing({}, {}, set())
        listed = 0
        pending: list[tuple[str, str, int]] = [("", root, 0)]
        while pending:
            folder, tree, depth = pending.pop()
            for entry in self._entries(talk, tree).values():
                listed += 1
                if listed > limits.entries:
                    got, expected = "too many entries", f"at most {limits.entries}"
                    raise InputError(Problem("G104", file=prefix, got=got, expected=expected))
                path = folder + entry.name.decode("utf-8", "backslashreplace")
                if problem := _judge_entry(_join(prefix, path), entry, depth, limits):
                    problems.add(problem)
                elif entry.name.startswith(b"."):
                    continue
                elif entry.mode == objects.MODE_TREE:
                    pending.append((f"{path}/", entry.sha, depth + 1))
                    listing.folders.add(path)
                elif entry.mode == objects.MODE_LINK:
                    listing.links[path] = entry.sha
                else:
                    listing.files[path] = entry.sha
        if problems.problems:
            raise InputError(*problems.sorted()[:MAX_PROBLEMS])
        return listing

    def _judge_links(
        self, talk: Conversation, root: str, listing: _Listing, prefix: str, suffixes: tuple[str, ...]
    ) -> None:
        problems = Collector()
        for path, sha in listing.links.items():
            whole = _join(prefix, path)
            text = self._blob(talk, sha, whole, MAX_PATH).decode("utf-8", "replace")
            target = posixpath.normpath(posixpath.join(posixpath.dirname(whole), text))
            inside = _below(prefix, target)
            if inside in listing.folders or inside == "":
                continue
            if inside in listing.files and (is_manifest(inside, suffixes) or not is_manifest(path, suffixes)):
                continue
            if not is_manifest(path, suffixes) and not self._may_be_folder(talk, root, target):
                continue
            problems.add(_odd_entry(whole, objects.MODE_LINK))
        if problems.problems:
            raise InputError(*problems.sorted()[:MAX_PROBLEMS])

    def _may_be_folder(self, talk: Conversation, root: str, target: str) -> bool:
        """Whether a link's target may hold manifests: anything but a plain file of the same commit, and nothing at all."""
        if target.startswith(("/", "../")) or target in {".", ".."}:
            return True
        *folder, name = target.split("/")
        tree = self._folder(talk, root, folder)
        entry = None if tree is None else self._entries(talk, tree).get(name.encode())
        return entry is not None and entry.mode not in (objects.MODE_FILE, objects.MODE_EXECUTABLE)

    @staticmethod
    def _judge_sizes(talk: Conversation, blobs: Sequence[tuple[str, str]], prefix: str, limits: TreeLimits) -> None:
        problems = Collector()
        total = 0
        for (path, sha), size in zip(blobs, talk.sizes([sha for _, sha in blobs]), strict=True):
            if size is None or size[0] != "blob":
                raise _missing_object(sha)
            total += size[1]
            if size[1] > limits.file_bytes:
                got, expected = f"{size[1]} bytes", f"at most {limits.file_bytes}"
                problems.add(Problem("G104", file=_join(prefix, path), got=got, expected=expected))
        if total > limits.total_bytes:
            problems.add(
                Problem("G104", file=prefix, got=f"{total} bytes in all", expected=f"at most {limits.total_bytes}")
            )
        if problems.problems:
            raise InputError(*problems.sorted()[:MAX_PROBLEMS])

    @staticmethod
    def _blob(talk: Conversation, sha: str, name: str, limit: int) -> bytes:
        size = next(talk.sizes([sha]))
        if size is None or size[0] != "blob":
            raise InputError(
                Problem("G103", file=name, got="nothing" if size is None else f"a {size[0]}", expected="a stored file")
            )
        if size[1] > limit:
            raise InputError(Problem("G104", file=name, got=f"{size[1]} bytes", expected=f"at most {limit}"))
        content = next(talk.contents([sha]))
        if content is None:
            raise _missing_object(sha)
        return content[1]

    def _mode_at(
        self, talk: Conversation, tree: str | None, path: str, changes: Mapping[str, bytes | None], problems: Collector
    ) -> int | None:
        """The mode of ``path``, None where nothing is there; what cannot be changed becomes a problem."""
        parts = _path_parts(path)
        for position, part in enumerate(parts):
            entry = None if tree is None else self._entries(talk, tree).get(part.encode())
            if entry is None:
                break
            if position == len(parts) - 1:
                if entry.mode not in (objects.MODE_FILE, objects.MODE_EXECUTABLE):
                    problems.add(_odd_entry(path, entry.mode))
                return entry.mode
            above = "/".join(parts[: position + 1])
            if entry.mode != objects.MODE_TREE:
                if changes.get(above, b"") is not None:
                    problems.add(Problem("G107", file=path, got=f"{quoted(above)} is a file", expected="a folder"))
                break
            tree = entry.sha
        if changes[path] is None:
            problems.add(Problem("G107", file=path, got="no such file", expected="a file to remove"))
        return None


def _judge_entry(path: str, entry: TreeEntry, depth: int, limits: TreeLimits) -> Problem | None:
    name = entry.name
    if name in {b"", b".", b".."} or b"/" in name or name.lower() == b".git":
        return Problem("G102", file=path, got="a name that no checkout may have", expected="an ordinary file name")
    if b"\\" in name or not _is_utf8(name):
        return Problem(
            "G102", file=path, got="a name that is not UTF-8, or has a backslash", expected="a portable name"
        )
    if entry.mode == objects.MODE_TREE:
        if depth + 1 > limits.depth:
            return Problem("G104", file=path, got="folders too deep", expected=f"at most {limits.depth} levels")
        return None
    if entry.mode not in (objects.MODE_FILE, objects.MODE_EXECUTABLE, objects.MODE_LINK):
        return _odd_entry(path, entry.mode)
    return None


def _join(prefix: str, path: str) -> str:
    return f"{prefix}/{path}" if prefix else path


def _below(prefix: str, path: str) -> str | None:
    """``path`` relative to the folder ``prefix``, "" for the folder itself, None where it lies elsewhere."""
    if path == (prefix or "."):
        return ""
    if prefix:
        return path.removeprefix(f"{prefix}/") if path.startswith(f"{prefix}/") else None
    return None if path.startswith(("/", "../")) or path == ".." else path


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def _odd_entry(path: str, mode: int) -> Problem:
    got = _KINDS.get(mode, f"mode {mode:06o}")
    return Problem("G101", file=path, got=got, expected="a plain file", hint="replace it by the file itself")


def _missing_object(name: str) -> OutsideError:
    return OutsideError(f"{quoted(name)}: an object that the repository names is missing; run 'git fsck' there")


def _failed(command: str, answer: Answer) -> OutsideError:
    hint = ""
    if ".lock" in answer.complaint:
        hint = "; if no git process runs in the repository, remove that file"
    return OutsideError(f'"git {command}" failed ({answer.status}): {answer.complaint or "no reason given"}{hint}')


def _bad_ref(ref: str) -> InputError:
    return InputError(
        Problem("G108", got=quoted(ref), expected='a ref such as "refs/heads/main" or a branch such as "main"')
    )


def _full_ref(ref: str) -> str:
    if ref.startswith("refs/"):
        if is_full_ref(ref):
            return ref
        raise _bad_ref(ref)
    try:
        return branch_ref(ref)
    except ValueError:
        raise _bad_ref(ref) from None


def _object_id(text: str) -> str:
    if not is_object_id(text):
        raise InputError(Problem("G108", got=quoted(text), expected="a whole object id in hexadecimal"))
    return text


def _path_parts(path: str) -> tuple[str, ...]:
    """The components of a path inside a tree. Raises InputError (G107) for one that git or a file system would not take."""
    parts = tuple(path.strip("/").split("/"))
    bad = (
        path.startswith("/")
        or any(part in {"", ".", ".."} or part.lower() == ".git" for part in parts)
        or re.search("[\x00\\\\\ud800-\udfff]", path) is not None
        or len(path) > MAX_PATH
    )
    if bad:
        raise InputError(
            Problem("G107", file=path, got=quoted(path), expected='a relative path such as "fleet/models.yaml"')
        )
    return parts


def _clashes(changes: Mapping[str, bytes | None]) -> Iterator[Problem]:
    kept = {path for path, content in changes.items() if content is not None}
    for path in kept:
        for above in PurePosixPath(path).parents:
            if str(above) in kept:
                yield Problem("G107", file=path, got=f"{quoted(str(above))} becomes a file", expected="a folder")


def _judge_owner(git_dir: Path, path: Path) -> None:
    """Whoever owns a repository chooses its configuration, so git's own rule (git-config, safe.directory) is kept."""
    owner, us = git_dir.stat().st_uid, os.geteuid()
    if owner == us or (us == 0 and os.environ.get("SUDO_UID", "") == str(owner)):
        return
    trusted: list[str] = []
    with suppress(OSError, subprocess.SubprocessError):
        # The person's real configuration, read outside of any repository, as git itself would.
        answer = subprocess.run(
            ["git", "config", "--get-all", "-z", "safe.directory"],
            cwd="/",
            env={**os.environ, "GIT_CEILING_DIRECTORIES": "/", "GIT_DIR": os.devnull},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=10,
        )
        for value in answer.stdout.decode("utf-8", "surrogateescape").split("\0")[:-1]:
            trusted = [*trusted, value] if value else []  # an empty value forgets the ones before it
    if not {"*", str(git_dir), str(path)} & set(trusted):
        raise OutsideError(
            f"{printable(str(path))} belongs to {_user(owner)}, and this process is {_user(us)}; run as its owner, or trust it "
            f"with 'git config --global --add safe.directory {printable(str(path))}'"
        )


def _user(uid: int) -> str:
    try:
        return f"{pwd.getpwuid(uid).pw_name} ({uid})"
    except KeyError:
        return f"user {uid}"
