"""The demo's people and their Git: a bare repository made from the example fleet, and the merge that spoils it."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Author:
    """A person as Git knows them."""

    id: str
    name: str
    email: str

    @property
    def identity(self) -> str:
        """``Name <mail>``."""
        return f"{self.name} <{self.email}>"


MARA = Author("mara", "Mara Okafor", "mara@example.com")  # keeps the fleet
BO = Author("bo", "Bo Lindqvist", "bo@example.com")  # releases models; will merge the bad one
ADA = Author("ada", "Ada Moreau", "ada@example.com")  # on call; may approve
BOT = Author("bot", "Trimtab Bot", "bot@trimtab.example")


def _git(folder: Path, author: Author, *words: str) -> str:
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_AUTHOR_NAME": author.name,
        "GIT_AUTHOR_EMAIL": author.email,
        "GIT_COMMITTER_NAME": author.name,
        "GIT_COMMITTER_EMAIL": author.email,
    }
    done = subprocess.run(
        ["git", *words], cwd=folder, env=environment, check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout.strip()


class People:
    """A bare repository and a clone in which the people of the demo work."""

    def __init__(self, work: Path, fleet: Path) -> None:
        """Make both; the first commit is the example fleet as it stands."""
        self.bare = work / "fleet.git"
        self._clone = work / "clone"
        self.bare.mkdir()
        _git(self.bare, MARA, "init", "--quiet", "--bare", "--initial-branch=main", ".")
        shutil.copytree(fleet, self._clone, ignore=shutil.ignore_patterns("__pycache__"))
        _git(self._clone, MARA, "init", "--quiet", "--initial-branch=main", ".")
        _git(self._clone, MARA, "remote", "add", "origin", str(self.bare))
        _git(self._clone, MARA, "add", "--all")
        _git(
            self._clone,
            MARA,
            "commit",
            "--quiet",
            "-m",
            "Fleet: thirteen device groups, three models, policies, prices",
        )
        _git(self._clone, MARA, "push", "--quiet", "origin", "main")

    def head(self) -> str:
        """The newest commit of the branch."""
        return _git(self.bare, MARA, "rev-parse", "main")

    def log(self, count: int = 6) -> list[str]:
        """The newest first-parent commits, one line each."""
        return _git(self.bare, MARA, "log", "--first-parent", f"-{count}", "--format=%h %an: %s", "main").splitlines()

    def release(self, file: str, deployment: str, old: str, new: str, subject: str) -> str:
        """Bo moves one deployment to another version on a branch and merges it; the merge commit.

        Only the version line of that deployment changes: the file is edited as a person would.
        """
        path = self._clone / file
        documents = path.read_text().split("\n---\n")
        for index, document in enumerate(documents):
            if f"name: {deployment}\n" in document and f'version: "{old}"' in document:
                documents[index] = document.replace(f'version: "{old}"', f'version: "{new}"', 1)
                break
        else:
            raise ValueError(f"{file} has no deployment {deployment} at version {old}")
        _git(self._clone, BO, "checkout", "--quiet", "-b", "release")
        path.write_text("\n---\n".join(documents))
        _git(self._clone, BO, "commit", "--quiet", "-am", subject)
        _git(self._clone, BO, "checkout", "--quiet", "main")
        _git(self._clone, BO, "merge", "--quiet", "--no-ff", "-m", f"Merge: {subject}", "release")
        _git(self._clone, BO, "push", "--quiet", "origin", "main")
        return self.head()
