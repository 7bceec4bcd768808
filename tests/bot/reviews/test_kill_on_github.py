"""kill -9 around the writes to GitHub: one pull request, one merge, one answer, one check, whatever was lost or doubled."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.bot.github_site import ADA, GitHubSite
from tests.bot.rig import settings
from tests.rigs.github import Fault
from trimtab_bot.approvals.machine import Phase

ROOT = Path(__file__).parents[3]


class Scene:
    """A site whose bot runs in processes of its own; ada approves once there is something to approve."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        folder.mkdir()
        self.folder = folder
        self.site = GitHubSite(folder, stack)
        self.site.tick()
        self.site.origin.release()
        self.site.bad()
        self.site.close()
        (folder / "bot.yaml").write_text(json.dumps(settings(folder, **self.site.changes, rollouts={"propose": False})))

    def run(self, *words: str) -> tuple[int, list[str]]:
        """One process; how it ended, and the steps that it made."""
        done = subprocess.run(
            [sys.executable, "-m", "tests.bot.reviews.crash", str(self.folder), *words],
            cwd=ROOT, capture_output=True, text=True, timeout=200, check=False,
        )  # fmt: skip
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        return done.returncode, json.loads(done.stdout)["steps"] if done.returncode == 0 else []

    def reviewed(self) -> None:
        """Ada reviews the pull request, where there is one that she did not review yet."""
        rig = self.site.rig
        for number, pull in rig.pulls.items():
            if pull.state == "open" and not any(each.number == number for each in rig.reviews.values()):
                rig.review(number, ADA, "APPROVED")

    def check(self) -> None:
        """Exactly one of everything."""
        site = self.site
        site.restart()
        assert [pull.number for pull in site.rig.pulls.values()] == [1]
        assert len(site.origin.merges_of_the_bot()) == 1
        assert site.proposal().ballot.phase is Phase.MERGED
        assert [vote.person for vote in site.proposal().ballot.votes] == ["ada"]
        assert len(site.answers()) == 1  # in whatever words: the click may be the one before the kill
        assert len(site.rig.checks) == 1
        site.close()


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_killed_around_writes_to_github(tmp_path: Path) -> None:
    with ExitStack() as stack:
        scene = Scene(tmp_path / "whole", stack)
        scene.run("--ticks", "1")
        scene.reviewed()
        code, _ = scene.run()
        assert code == 0
        scene.check()
    with ExitStack() as stack:
        _, steps = Scene(tmp_path / "counted", stack).run("--ticks", "1")
    writes = [number for number, name in enumerate(steps, 1) if "POST" in name or "PATCH" in name]
    assert len(writes) >= 14
    for turn, number in enumerate(writes[::3]):
        with ExitStack() as stack:
            scene = Scene(tmp_path / f"killed-{number}", stack)
            if turn % 2:  # and an answer is lost on top
                scene.site.rig.faults = [Fault("POST", "/pulls$|/comments$|/check-runs$", 502, after=True)]
            code, _ = scene.run("--ticks", "1", "--kill-at", str(number))
            assert code == -signal.SIGKILL
            scene.run("--ticks", "1")
            scene.reviewed()
            # The second stretch dies at the same distance from its beginning.
            scene.run("--kill-at", str(2 + turn * 4))
            scene.run()
            scene.reviewed()
            scene.run()
            scene.check()
