"""One replica of the bot: `python -m tests.lab.replica CONFIGURATION COUNTS SLACK_URL NAME`.

The product's own parts over PostgreSQL and a Lease, on the local Git host, with chat in the rig. With `--kill-at N` it kills
itself with SIGKILL at its N-th durable step as the leader. Whatever is pending is approved by `ada`, on whichever replica.
"""

from __future__ import annotations

import argparse
import os
import signal
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.bot.counts import CountsSource
from tests.bot.crash import SteppingHost, SteppingLedger, SteppingStore, Steps
from trimtab_bot.approvals.machine import Phase
from trimtab_bot.assembly import Ports, assemble, open_ledger, open_store
from trimtab_bot.chat.board import Board
from trimtab_bot.chat.slack.room import SlackRoom, web_client
from trimtab_bot.cluster.leases import ClusterLease
from trimtab_bot.configuration import load_configuration
from trimtab_bot.leading.fencing import FencedStore
from trimtab_bot.leading.lease import LeaseLeadership
from trimtab_bot.recording import EventLines
from trimtab_config.git.repository import GitRepository
from trimtab_config.githost.local import LocalGitHost
from trimtab_kernel.election import Terms
from trimtab_kernel.problems import OutsideError


class LeaderSteps(Steps):
    """Counts while this process leads."""

    leadership: LeaseLeadership | None = None

    def at(self, name: str) -> None:
        """See Steps."""
        if self.leadership is not None and self.leadership.epoch() is not None:
            super().at(name)


def main() -> None:
    """Until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("configuration", type=Path)
    parser.add_argument("counts", type=Path)
    parser.add_argument("slack")
    parser.add_argument("name")
    parser.add_argument("--kill-at", type=int, default=0)
    options = parser.parse_args()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    configuration = load_configuration(options.configuration)
    assert configuration.leader is not None
    steps = LeaderSteps(options.kill_at)
    store, ledger = open_store(configuration), open_ledger(configuration)
    stepping = SteppingStore(store, steps)
    events = EventLines(file=configuration.state / f"{options.name}.jsonl")
    terms = Terms(options.name, configuration.leader.duration, configuration.leader.duration * 2 / 3, 0.2)
    lease = ClusterLease(configuration.leader.kubeconfig, configuration.leader.namespace, configuration.leader.lease)
    leadership = LeaseLeadership(lease, store, terms, lambda text: events.tell("", {"event": "leader", "text": text}))
    steps.leadership = leadership
    host = LocalGitHost(
        GitRepository(configuration.repository),
        configuration.identity,
        lambda: datetime.fromtimestamp(time.time(), UTC),
    )
    ports = Ports(stepping, SteppingLedger(ledger, steps), SteppingHost(host, steps), CountsSource(options.counts))
    bot = assemble(configuration, ports, events, time.time, leadership)
    room = SlackRoom(web_client("xoxb-of-the-bot", options.slack), "C0FLEET")
    board = Board(FencedStore(stepping, leadership), room, time.time, 1)
    leadership.start(bot.wake.set)
    try:
        while not stop.wait(0.1):
            bot.loop.tick()
            try:
                with store.reading() as view:
                    pending = [each for each in view.proposals() if each.ballot.phase is Phase.PENDING]
            except OutsideError:
                continue
            for proposal in pending:
                bot.decisions.approve(proposal.id, "ada", proposal.ballot.digest)
            if leadership.epoch() is not None:
                board.step()
    finally:
        leadership.stop()
        ledger.close()
        store.close()


if __name__ == "__main__":
    main()
    os._exit(0)
