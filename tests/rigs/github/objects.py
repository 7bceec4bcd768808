"""The bare repository behind the rig, by the git binary itself."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType


class GitError(Exception):
    """git refused."""


@dataclass(frozen=True, slots=True)
class Person:
    """A name, an address and a moment, as a commit writes them; ``date`` is ISO 8601."""

    name: str
    email: str
    date: str


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit as git has it."""

    sha: str
    tree: str
    parents: tuple[str, ...]
    author: Person
    committer: Person
    message: str


class Objects:
    """Objects and refs of one bare repository."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def git(
        self,
        *words: str,
        given: bytes = b"",
        codes: tuple[int, ...] = (0,),
        more: Mapping[str, str] = MappingProxyType({}),
    ) -> bytes:
        """Runs git. Raises GitError for another exit code than expected."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "GitHub",
            "GIT_AUTHOR_EMAIL": "noreply@github.com",
            "GIT_COMMITTER_NAME": "GitHub",
            "GIT_COMMITTER_EMAIL": "noreply@github.com",
            **more,
        }
        done = subprocess.run(
            ["git", "-C", str(self.path), *words],
            input=given,
            capture_output=True,
            env=environment,
            check=False,
            timeout=60,
        )
        if done.returncode not in codes:
            raise GitError(done.stderr.decode(errors="replace").strip())
        return done.stdout

    def resolve(self, ref: str) -> str | None:
        """The object that a full ref name is at."""
        found = self.git("rev-parse", "--verify", "--quiet", f"{ref}^{{object}}", codes=(0, 1, 128)).decode().strip()
        return found or None

    def kind(self, sha: str) -> str | None:
        """The type of an object, None where it is missing."""
        return self.git("cat-file", "-t", sha, codes=(0, 1, 128)).decode().strip() or None

    def commit(self, sha: str) -> Commit | None:
        """A commit, None where there is none."""
        if self.kind(sha) != "commit":
            return None
        parts = self.git("show", "--no-patch", "--format=%T%x00%P%x00%an%x00%ae%x00%aI%x00%cn%x00%ce%x00%cI%x00%B", sha)
        tree, parents, an, ae, ad, cn, ce, cd, message = parts.decode().split("\0", 8)
        return Commit(
            sha, tree, tuple(parents.split()), Person(an, ae, ad), Person(cn, ce, cd), message.removesuffix("\n")
        )

    def is_ancestor(self, old: str, new: str) -> bool:
        """Whether ``new`` contains ``old``."""
        done = subprocess.run(
            ["git", "-C", str(self.path), "merge-base", "--is-ancestor", old, new], capture_output=True, check=False
        )
        return done.returncode == 0

    def merge_base(self, one: str, two: str) -> str | None:
        """The best common ancestor."""
        return self.git("merge-base", one, two, codes=(0, 1)).decode().strip() or None

    def merge_tree(self, base: str, head: str) -> str | None:
        """The tree of a merge, None for a conflict."""
        out = self.git("merge-tree", "--write-tree", base, head, codes=(0, 1)).decode().splitlines()
        return out[0] if len(out) == 1 else None

    def write_commit(
        self, message: str, tree: str, parents: list[str], author: Person | None, committer: Person | None
    ) -> str:
        """A commit object."""
        more: dict[str, str] = {}
        for role, person in (("AUTHOR", author), ("COMMITTER", committer or author)):
            if person is not None:
                more |= {f"GIT_{role}_NAME": person.name, f"GIT_{role}_EMAIL": person.email}
                more |= {f"GIT_{role}_DATE": person.date} if person.date else {}
        words = [word for parent in parents for word in ("-p", parent)]
        return self.git("commit-tree", tree, *words, "-F", "-", given=message.encode(), more=more).decode().strip()

    def update(self, ref: str, new: str, old: str | None = None) -> bool:
        """Moves a ref; with ``old`` ("" for a ref that must be new) only from there. Whether it did."""
        words = [ref, new] if old is None else [ref, new, old or "0" * 40]
        try:
            self.git("update-ref", *words)
        except GitError:
            return False
        return True

    def count(self, old: str, new: str) -> int:
        """Commits of ``new`` that ``old`` lacks."""
        return int(self.git("rev-list", "--count", f"{old}..{new}"))

    def changed(self, old: str, new: str) -> list[tuple[str, str]]:
        """Status letter and path of what differs."""
        fields = self.git("diff-tree", "-r", "-z", "--no-renames", "--name-status", old, new).decode().split("\0")
        return list(zip(fields[0::2], fields[1::2], strict=False))
