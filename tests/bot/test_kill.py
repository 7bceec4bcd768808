"""kill -9 at every durable step: after a restart there is one incident, one proposal and one merge, and the ledger is whole."""

from __future__ import annotations

import json
import random
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.bot.counts import Fleet
from tests.bot.dying import Forge
from tests.bot.rig import KIOSKS, UNFAIR, Origin, settings
from trimtab_bot.approvals.machine import Phase
from trimtab_bot.ledger.sqlite import SqliteLedger
from trimtab_bot.ledger.verification import verify
from trimtab_bot.store.sql import SqlStore
from trimtab_config.githost.interface import ProposalState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trimtab_config.githost.interface import Proposal

SAMPLE = 2  # of each stretch, in `make test`; `make long` kills at every step


@pytest.fixture(scope="module")
def forge() -> Iterator[Forge]:
    made = Forge()
    yield made
    made.close()


class Scene:
    """A folder with a repository whose newest merge is bad, and the figures that show it."""

    def __init__(self, folder: Path, forge: Forge) -> None:
        self.folder = folder
        self.forge = forge
        folder.mkdir()
        self.origin = Origin(folder / "fleet.git")
        self.origin.release()
        fleet = Fleet(folder / "counts.json")
        for group in KIOSKS:
            fleet.runs(group, "triage", {"1.2.0": 2})
            fleet.decided(group, "triage", "1.2.0", UNFAIR)
        fleet.save()
        (folder / "bot.yaml").write_text(json.dumps(settings(folder)))

    def run(self, *words: str, killed: bool = False) -> list[str]:
        """One bot process; the names of its durable steps, or none where it was killed."""
        death = self.forge.run_local(str(self.folder), *words)
        assert death.killed is killed
        return list(death.steps)

    def keep(self) -> None:
        """Remember everything as it is now."""
        shutil.copytree(self.folder, self._kept)

    def bring_back(self) -> None:
        """Everything as it was kept, at the same place: a proposal names its repository."""
        shutil.rmtree(self.folder)
        shutil.copytree(self._kept, self.folder)

    @property
    def _kept(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}-kept")

    def proposals(self) -> tuple[Proposal, ...]:
        from datetime import UTC, datetime

        from trimtab_config.git.identity import GitIdentity
        from trimtab_config.githost.local import LocalGitHost

        bot = GitIdentity.parse("Trimtab Bot <bot@trimtab.example>")
        return LocalGitHost(self.origin.repository, bot, lambda: datetime.now(UTC)).proposals()

    def check(self, *, merged: bool) -> None:
        """Exactly one of everything, nothing left to be written, and a ledger that tells each thing once."""
        state = self.folder / "state"
        store = SqlStore.open(state / "bot.db")
        with store.reading() as view:
            (incident,) = view.incidents()
            (proposal,) = view.proposals()
            assert view.pending_records() == ()
            head = view.ledger_head()
            timeline = [entry.text for entry in view.timeline(incident.id)]
        store.close()
        assert head is not None
        found = verify(state / "ledger.db", (head.index, head.hash))
        assert (found.entries, found.fault) == (head.index, None)
        (hosted,) = self.proposals()
        assert (hosted.key, hosted.head) == (proposal.key, proposal.ballot.binding.head)
        assert len(self.origin.refs("refs/heads/trimtab")) == 1
        ledger = SqliteLedger(state / "ledger.db", reading=True)
        events = [str(entry.record.body["event"]) for entry in ledger.entries(proposal.id)]
        ledger.close()
        told = [json.loads(line)["event"] for line in (self.folder / "events.jsonl").read_text().splitlines()]
        if merged:
            assert proposal.ballot.phase is Phase.MERGED
            assert hosted.state is ProposalState.MERGED
            assert self.origin.merges_of_the_bot() == [proposal.ballot.merged]
            assert [vote.person for vote in proposal.ballot.votes] == ["ada"]
            assert events == ["proposing", "proposal", "approved", "merging", "merged"]
            assert timeline.count(f"proposal merged as {(proposal.ballot.merged or '')[:12]}") == 1
            assert {"proposal", "approved", "merged"} <= set(told)
        else:
            assert proposal.ballot.phase is Phase.PENDING
            assert hosted.state is ProposalState.OPEN
            assert self.origin.merges_of_the_bot() == []
            assert events == ["proposing", "proposal"]
            assert {"incident", "proposal"} <= set(told)


def until_proposed(scene: Scene, kill_at: int) -> None:
    """From detection to proposal, with one death."""
    scene.run("--kill-at", str(kill_at), killed=True)
    scene.run()
    scene.check(merged=False)


def until_merged(scene: Scene, kill_at: int) -> None:
    """From approval to merge, with one death, in a scene where the rollback is proposed."""
    scene.run("--approve", "ada", "--kill-at", str(kill_at), killed=True)
    scene.run("--approve", "ada")
    scene.check(merged=True)


def count_steps(folder: Path, forge: Forge) -> tuple[list[str], list[str]]:
    """The durable steps from detection to proposal, and from approval to merge, where nobody is killed."""
    scene = Scene(folder, forge)
    first = scene.run()
    scene.check(merged=False)
    second = scene.run("--approve", "ada")
    scene.check(merged=True)
    return first, second


def test_steps_are_where_they_should_be(tmp_path: Path, forge: Forge) -> None:
    """The intent is in the ledger before the host is asked, and the answer after it."""
    first, second = count_steps(tmp_path / "scene", forge)
    order = ["after entry incident", "after entry proposing", "before open", "after open", "before entry proposal"]
    assert [name for name in first if name in order] == order
    order = ["after entry approved", "after entry merging", "before merge", "after merge", "before entry merged"]
    assert [name for name in second if name in order] == order
    assert (len(first), len(second)) == (FIRST, SECOND)


@pytest.mark.parametrize("turn", range(SAMPLE))
def test_killed_between_detection_and_proposal(tmp_path: Path, forge: Forge, turn: int) -> None:
    until_proposed(Scene(tmp_path / "scene", forge), sampled(FIRST, turn))


@pytest.mark.parametrize("turn", range(SAMPLE))
def test_killed_between_approval_and_merge(tmp_path: Path, forge: Forge, turn: int) -> None:
    scene = Scene(tmp_path / "scene", forge)
    scene.run()
    until_merged(scene, sampled(SECOND, turn))


FIRST, SECOND = 22, 24  # durable steps of each stretch, as test_steps_are_where_they_should_be counts them


def sampled(steps: int, turn: int) -> int:
    """A seeded choice, one from each part of the stretch."""
    chance = random.Random(f"trimtab {turn}")  # noqa: S311 - a sample, no secret
    low = 1 + turn * steps // SAMPLE
    return chance.randint(low, max(low, (turn + 1) * steps // SAMPLE))


@pytest.mark.long
@pytest.mark.timeout(900)
def test_killed_at_every_step_from_detection_to_merge(tmp_path: Path, forge: Forge) -> None:
    found = Scene(tmp_path / "found", forge)
    found.keep()
    for kill_at in range(1, FIRST + 1):
        until_proposed(found, kill_at)
        found.bring_back()
    proposed = Scene(tmp_path / "proposed", forge)
    proposed.run()
    proposed.keep()
    for kill_at in range(1, SECOND + 1):
        until_merged(proposed, kill_at)
        proposed.bring_back()


@pytest.mark.long
@pytest.mark.timeout(900)
def test_killed_again_and_again_at_random_steps(tmp_path: Path, forge: Forge) -> None:
    """Each process dies after a few steps, until one lives: still exactly one of everything."""
    chance = random.Random(20261122)  # noqa: S311 - a seeded sample, no secret
    for number in range(4):
        scene = Scene(tmp_path / f"scene-{number}", forge)
        deaths = 0
        deadline = time.monotonic() + 120
        while deaths < 12 and time.monotonic() < deadline:
            death = forge.run_local(str(scene.folder), "--approve", "ada", "--kill-at", str(chance.randint(1, 12)))
            deaths += death.killed
            if not death.killed:
                break
        scene.run("--approve", "ada", "--ticks", "3")
        scene.check(merged=True)
