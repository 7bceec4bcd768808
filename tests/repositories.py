"""Real repositories for tests, filled by the git binary itself and not by the adapter that is tested."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

# Names as text or, where they are no UTF-8, as bytes.
Files: TypeAlias = Mapping[str, bytes] | Mapping[str | bytes, bytes]
START = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


@dataclass(slots=True)
class ScratchRepository:
    """A bare repository. Times are given, so that every run makes the same commits."""

    path: Path
    now: datetime = START

    @classmethod
    def create(cls, path: Path, *options: str) -> ScratchRepository:
        """An empty bare repository whose branch is ``main``."""
        made = cls(path)
        subprocess.run(
            ["git", "init", "--quiet", "--bare", "--initial-branch=main", *options, str(path)],
            check=True,
            env=made.environment(),
        )
        return made

    def environment(self) -> dict[str, str]:
        stamp = f"{int(self.now.timestamp())} +0000"
        return {
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "Ada Author",
            "GIT_AUTHOR_EMAIL": "ada@example.org",
            "GIT_AUTHOR_DATE": stamp,
            "GIT_COMMITTER_NAME": "Cora Committer",
            "GIT_COMMITTER_EMAIL": "cora@example.org",
            "GIT_COMMITTER_DATE": stamp,
        }

    def git(self, *arguments: str | bytes, given: bytes = b"", **variables: str) -> bytes:
        """What one git command prints; a failure fails the test."""
        done = subprocess.run(
            ["git", "--git-dir", str(self.path), *arguments],
            input=given,
            capture_output=True,
            check=False,
            env=self.environment() | variables,
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout

    def text(self, *arguments: str, given: bytes = b"") -> str:
        return self.git(*arguments, given=given).decode().strip()

    def tree(self, files: Files, modes: dict[str | bytes, str] | None = None) -> str:
        """A tree object of these files, made by ``git mktree`` level by level, so that odd names and modes are possible."""
        folders: dict[bytes, dict[str | bytes, bytes]] = {}
        modes_below: dict[bytes, dict[str | bytes, str]] = {}
        lines = []
        for name, content in files.items():
            raw = name.encode() if isinstance(name, str) else name
            first, slash, rest = raw.partition(b"/")
            mode = (modes or {}).get(name, "100644")
            if slash:
                folders.setdefault(first, {})[rest] = content
                modes_below.setdefault(first, {})[rest] = mode
            elif mode == "160000":
                lines.append(b"160000 commit " + content + b"\t" + raw)
            else:
                sha = self.git("hash-object", "-w", "--stdin", given=content).strip()
                lines.append(f"{mode} blob ".encode() + sha + b"\t" + raw)
        for name, below in folders.items():
            lines.append(b"040000 tree " + self.tree(below, modes_below[name]).encode() + b"\t" + name)
        return self.text("mktree", "-z", "--missing", given=b"".join(line + b"\0" for line in lines))

    def commit(
        self,
        files: Files,
        *parents: str,
        message: str = "A change",
        branch: str | None = None,
        modes: dict[str | bytes, str] | None = None,
    ) -> str:
        """A commit of exactly these files; time moves on by a minute; ``branch`` is moved to it where given."""
        self.now += timedelta(minutes=1)
        options = [part for parent in parents for part in ("-p", parent)]
        sha = self.text("commit-tree", self.tree(files, modes), *options, given=message.encode())
        if branch is not None:
            self.git("update-ref", f"refs/heads/{branch}", sha)
        return sha

    def tip(self, branch: str = "main") -> str:
        return self.text("rev-parse", "--verify", f"refs/heads/{branch}")
