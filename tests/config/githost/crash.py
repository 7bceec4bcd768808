"""Kills a process with -9 at each git command of one dialogue with the local host, runs the dialogue again, and says how it ended.

Run as `python -m tests.config.githost.crash REPOSITORY SCRATCH FIRST STEP`: cases FIRST, FIRST+STEP, ...; one JSON line per
case. The killed process is a fork, so that each case costs only what git costs. A command that only reads is the same to
the repository whether it still runs or not, so those are killed once, and those that write twice.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import traceback
from datetime import UTC, timedelta
from pathlib import Path

from tests.repositories import START
from trimtab_config.git.identity import GitIdentity
from trimtab_config.git.repository import GitRepository
from trimtab_config.githost.interface import Merged
from trimtab_config.githost.local import LocalGitHost

BOT = GitIdentity("Trimtab Bot", "bot@example.org")
WRITERS = ("hash-object", "read-tree", "update-index", "write-tree", "update-ref", "merge-tree")
# Notes its calls; at the wished one it kills its parent, and then does its work all the same ("during") or not ("before").
WRAPPER = """#!/bin/sh
read plan when < "{folder}/plan"
echo "$*" >> "{folder}/calls"
if [ "$(wc -l < "{folder}/calls")" -eq "$plan" ]; then
    kill -9 $PPID
    [ "$when" = before ] && exit 1
fi
exec "{git}" "$@"
"""


def dialogue(repository: Path, minutes: int) -> Merged:
    """Write a commit, open its proposal, merge it: what a bot does, and does again when it was restarted later."""
    at = START.astimezone(UTC) + timedelta(days=1, minutes=minutes)
    git = GitRepository(repository)
    host = LocalGitHost(git, BOT, lambda: at)
    proposal = host.find_proposal("incident-1")
    if proposal is None:
        base = git.resolve("main")
        assert base is not None
        commit = git.write_commit(base, {"a.yaml": b"a: 2\n"}, BOT, BOT, "Roll back", at)
        proposal = host.open_proposal("incident-1", "main", "trimtab/incident-1", commit, "Roll back", "", {})
    outcome = host.merge(proposal.number, proposal.head, proposal.base, BOT)
    assert isinstance(outcome, Merged), str(outcome)
    return outcome


def crash(repository: Path, folder: Path, at_call: int, when: str) -> bool:
    """Whether the dialogue was killed (as opposed to: it has fewer than ``at_call`` git commands)."""
    folder.mkdir()
    (folder / "plan").write_text(f"{at_call} {when}\n")
    (folder / "calls").touch()
    git = shutil.which("git")
    (folder / "git").write_text(WRAPPER.format(folder=folder, git=git))
    (folder / "git").chmod(0o755)
    child = os.fork()
    if child == 0:
        try:
            os.environ["PATH"] = f"{folder}:{os.environ['PATH']}"
            dialogue(repository, 0)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.waitstatus_to_exitcode(status) == 0
    return False


def cases(template: str, scratch: Path) -> list[tuple[int, str]]:
    """Which call to kill and when, from a run that is not killed; the last case is killed nowhere."""
    shutil.copytree(template, scratch / "whole.git")
    assert not crash(scratch / "whole.git", scratch / "whole", 0, "before")
    calls = (scratch / "whole/calls").read_text().splitlines()
    before = [(number, "before") for number in range(1, len(calls) + 1)]
    during = [(number, "during") for number, call in enumerate(calls, 1) if any(name in call for name in WRITERS)]
    return [*before, *during, (len(calls) + 1, "before")]


def main(template: str, scratch: str, first: str, step: str) -> None:
    folder = Path(scratch)
    for case, (at_call, when) in list(enumerate(cases(template, folder)))[int(first) :: int(step)]:
        repository = folder / f"case-{case}.git"
        shutil.copytree(template, repository)
        killed = crash(repository, folder / f"case-{case}", at_call, when)
        merged = dialogue(repository, 5)
        told = {"repository": str(repository), "call": at_call, "when": when, "killed": killed, "merged": merged.sha}
        sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
