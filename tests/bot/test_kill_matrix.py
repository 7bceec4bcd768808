"""kill -9 at every boundary of a whole life on GitHub and in Slack, with answers lost and events doubled and reordered.

One life from the detection to the closed incident; at each boundary that it comes to for the first time it dies, and another
process goes on. At the end there is one pull request, one merge, one check for each head, one message whose thread tells every
line once, and a ledger that tells each thing once.
"""

from __future__ import annotations

import base64
import json
import random
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.bot.dying import HOOK_SECRET, SECONDS, SLACK_PEOPLE, Death, Forge, Order
from tests.bot.github_site import CY, ROBOT, GitHubSite
from tests.bot.rig import START, settings
from tests.rigs.github import Fault, Hook
from tests.rigs.slack import Fault as SlackFault
from tests.rigs.slack import SlackRig, slack
from trimtab_bot.approvals.machine import Phase
from trimtab_bot.chat.slack.blocks import APPROVE, escaped
from trimtab_bot.ledger.sqlite import SqliteLedger
from trimtab_bot.ledger.verification import verify
from trimtab_bot.records import IncidentPhase
from trimtab_bot.reviews.webhooks import SOURCE as HOOKS

MOST = 250
WINDOW = 400.0  # more than the window of five minutes
LOST_ON_GITHUB = (
    ("POST", "/git/blobs$", 502),
    ("POST", "/git/commits$", 0),
    ("POST", "/git/refs$", 502),
    ("POST", "/pulls$", 502),
    ("POST", "/check-runs$", 502),
    ("POST", "/comments$", 502),
    ("PATCH", "/git/refs/heads/main$", 0),
)
LOST_IN_SLACK = ("chat.postMessage", "files.completeUploadExternal", "chat.update")
BOUNDARIES = (
    *(f"entry {event}" for event in ("verified", "incident", "proposing", "proposal", "approved", "merging", "merged")),
    *(f"entry {event}" for event in ("converged", "recovered", "closed")),
    *(f"GitHub POST /git/{kind}" for kind in ("blobs", "trees", "commits", "refs")),
    *(f"GitHub {write}" for write in ("POST /pulls", "POST /check-runs", "POST /issues/*/comments")),
    *("GitHub PATCH /git/refs/heads/main", "fetch into the mirror", "commit in the mirror"),
    *(f"Slack {call}" for call in ("chat.postMessage", "chat.update", "upload", "files.completeUploadExternal")),
    *(
        f"commit of {who}"
        for who in ("Executor.open", "Executor.merge", "Intake._once", "Intake._finish", "Door.knock")
    ),
    *(f"commit of {who}" for who in ("Listener._take", "Board._note", "Board._done", "Response._propose")),
)
"""What has to be among the boundaries, each before and after."""


class Life:
    """The rigs, the folder, and how often the bot has died at which boundary."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        folder.mkdir()
        self.folder = folder
        self.site = GitHubSite(folder, stack)
        self.site.tick()
        self.site.origin.release()
        self.site.bad()
        self.site.close()
        changes = {"approval": {"quorum": 1, "expiry": "240h"}, "recovery": {"limit": "240h"}}
        content = settings(folder, **{**self.site.changes, **changes, "rollouts": {"propose": False}})
        (folder / "bot.yaml").write_text(json.dumps(content))
        self.site.rig.hook = Hook("", HOOK_SECRET.decode(), held=[])
        self.slack: SlackRig = stack.enter_context(slack())
        for user in SLACK_PEOPLE:
            self.slack.person(user)
        self.forge = Forge()
        stack.callback(self.forge.close)
        self.now = START + SECONDS
        self.deaths: Counter[str] = Counter()
        self.chance = random.Random(20261122)  # noqa: S311 - a seeded sample, no secret

    def go_on(
        self, ticks: int, *clicks: tuple[bytes, dict[str, str]], kill_at: int = 0, spared: tuple[str, ...] | None = None
    ) -> Death:
        """One process; webhooks come the newest first, and each twice."""
        hook = self.site.rig.hook
        assert hook is not None
        knocks = [(_coded(body), headers) for headers, body in reversed(hook.held or [])]
        coded = tuple((_coded(body), headers) for body, headers in clicks)
        death = self.forge.run(
            Order(str(self.folder), self.slack.url, self.now, ticks, kill_at, spared, coded, (*knocks, *knocks))
        )
        self.now += ticks * SECONDS
        self.never_two()
        return death

    def die_everywhere(self, died: list[str], *clicks: tuple[bytes, dict[str, str]]) -> None:
        """At each boundary that is not in ``died`` yet, until a process ends that has come to no new one."""
        while (death := self.go_on(2, *clicks, spared=tuple(died))).killed:
            assert death.steps[-1] not in died
            died.append(death.steps[-1])
            assert len(died) < MOST, "there is no end to it"

    def die_somewhere(self, *clicks: tuple[bytes, dict[str, str]], times: int = 8) -> None:
        """A few deaths after a few boundaries each; then it lives."""
        for _ in range(times):
            death = self.go_on(2, *clicks, kill_at=self.chance.randint(3, 25))
            if not death.killed:
                return
            self.deaths[death.steps[-1]] += 1
        assert not self.go_on(4, *clicks).killed

    def lose_answers(self) -> None:
        """The next time that each of these is written, it is, and nobody is told."""
        self.site.rig.faults = [Fault(method, path, status, after=True) for method, path, status in LOST_ON_GITHUB]
        self.slack.faults = [SlackFault(call, 500, after=True) for call in LOST_IN_SLACK]

    def never_two(self) -> None:
        """What may never be, not even for a moment."""
        rig = self.site.rig
        assert len(rig.pulls) <= 1
        assert len(self.slack.messages) <= 1
        assert len(self.site.origin.merges_of_the_bot()) <= 1
        assert max(Counter((each["head_sha"], each["name"]) for each in rig.checks.values()).values(), default=0) <= 1

    def clicked(self) -> tuple[bytes, dict[str, str]]:
        """Ada presses Approve, once; the body is what Slack sends, however often."""
        (message,) = self.slack.messages.values()
        return self.slack.request("interactive", self.slack.click("U0ADA", APPROVE, message), self.now)

    def check(self) -> None:
        """Exactly one of everything, nothing lost, nothing left to be said or written."""
        site = self.site
        site.restart()
        with site.store.reading() as view:
            (incident,) = view.incidents()
            (proposal,) = view.proposals()
            assert (view.pending_records(), view.unsaid(), view.unanswered("slack")) == ((), (), ())
            assert (view.unanswered("github"), view.unanswered(HOOKS)) == ((), ())
            head = view.ledger_head()
            timeline = [entry.text for entry in view.timeline(incident.id)]
        assert incident.phase is IncidentPhase.CLOSED
        assert proposal.ballot.phase is Phase.MERGED
        assert [vote.person for vote in proposal.ballot.votes] == ["ada"]
        assert head is not None
        found = verify(self.folder / "state" / "ledger.db", (head.index, head.hash))
        assert (found.entries, found.fault) == (head.index, None)
        ledger = SqliteLedger(self.folder / "state" / "ledger.db", reading=True)
        told_of = [entry.record.body for entry in ledger.entries(proposal.id)]
        ends = [str(entry.record.body["event"]) for entry in ledger.entries(incident.id)]
        ledger.close()
        # A click that comes again after a death is looked at again, and the record says so; it decides nothing.
        again = [body for body in told_of if body["event"] in ("approval", "refused")]
        assert all("already" in str(body["text"]) for body in again), again
        events = [body["event"] for body in told_of if body not in again]
        assert events == ["proposing", "proposal", "approved", "merging", "merged"]
        assert [each for each in ends if each in ("incident", "converged", "recovered", "closed")] == [
            *("incident", "converged", "recovered", "closed"),
        ]
        happened = [text for text in timeline if "already" not in text]
        assert len(set(happened)) == len(happened)

        (pull,) = site.rig.pulls.values()
        assert (pull.head, pull.merged_at is not None) == (proposal.ballot.binding.head, True)
        assert site.origin.merges_of_the_bot() == [proposal.ballot.merged]
        (check,) = site.rig.checks.values()
        assert (check["head_sha"], check["conclusion"]) == (pull.head, "success")
        assert [each.user for each in site.rig.comments.values()].count(ROBOT) == 1
        assert len(site.answers()) == 1

        (message,) = self.slack.messages.values()
        shown = json.dumps(message["blocks"])
        assert "closed: " in shown
        assert APPROVE not in shown, "nothing is left to decide"
        pictures = [each for each in self.slack.replies if each.get("files")]
        assert len(pictures) == 1
        told = [line.partition(" UTC ")[2] for each in self.slack.replies for line in each["text"].splitlines()]
        assert told == [escaped(line, 400) for line in timeline]
        site.close()


def _coded(body: bytes) -> str:
    return base64.b64encode(body).decode()


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_killed_once_at_every_boundary_on_github_and_in_slack(tmp_path: Path) -> None:
    """Whoever dies right after the merge never writes down its answer, so it takes further lives to die there too."""
    stages: tuple[list[str], ...] = ([], [], [], [])
    for number in range(3):
        with ExitStack() as stack:
            life = Life(tmp_path / f"life-{number}", stack)
            life.die_everywhere(stages[0])
            click = life.clicked()
            life.site.rig.say(1, CY, "/trimtab status")
            life.die_everywhere(stages[1], click)
            life.site.back()
            life.die_everywhere(stages[2], click)
            life.now += WINDOW
            life.die_everywhere(stages[3])
            life.check()
    died = {name for stage in stages for name in stage}
    sides = [f"{side} {name}" for name in BOUNDARIES for side in ("before", "after")]
    assert [name for name in sides if name not in died] == [], sorted(died)
    named = {name.removesuffix(" (again)") for name in died}
    assert len(named) >= 80, sorted(named)
    assert sum(map(len, stages)) >= 120


@pytest.mark.long
@pytest.mark.timeout(600)
def test_killed_here_and_there_while_the_answer_to_every_write_is_lost(tmp_path: Path) -> None:
    with ExitStack() as stack:
        life = Life(tmp_path / "life", stack)
        life.lose_answers()
        life.die_somewhere()
        click = life.clicked()
        life.site.rig.say(1, CY, "/trimtab status")
        life.die_somewhere(click)
        life.site.back()
        life.die_somewhere(click, times=2)
        life.now += WINDOW
        life.die_somewhere(times=2)
        life.check()
        left = [fault.times for fault in life.site.rig.faults] + [fault.times for fault in life.slack.faults]
        assert left == [0] * (len(LOST_ON_GITHUB) + len(LOST_IN_SLACK)), "each was lost"
    assert life.deaths.total() >= 6
