"""A bot that kills its process with SIGKILL at its n-th durable step; :mod:`tests.bot.dying` gives it one of its own.

The bot is the product's own; only its ports are wrapped, and every wrapper calls through. A step is a point right before
or right after something that outlives the process: a commit of the store, an entry of the ledger, a change on the Git
host.
"""

from __future__ import annotations

import argparse
import os
import signal
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tests.bot.counts import CountsSource
from trimtab_bot.approvals.machine import Phase
from trimtab_bot.assembly import Ports, assemble, state_lock
from trimtab_bot.configuration import load_configuration
from trimtab_bot.ledger.sqlite import SqliteLedger
from trimtab_bot.recording import EventLines
from trimtab_bot.store.sql import SqlStore
from trimtab_config.git.repository import GitRepository
from trimtab_config.githost.local import LocalGitHost

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from trimtab_bot.ledger.interface import Entry, Head, LedgerStore, Record
    from trimtab_bot.store.interface import Reading, Store, Writing
    from trimtab_config.git.identity import GitIdentity
    from trimtab_config.githost.interface import GitHost, Merged, NotReady, Proposal, ProposalState
    from trimtab_kernel.canonical import Json


class Stepping(Protocol):
    """What is told of each step, and may end the process there."""

    def at(self, name: str) -> None: ...


class Steps:
    """Counts durable steps, and ends the process at one of them."""

    def __init__(self, kill_at: int) -> None:
        self.kill_at = kill_at
        self.names: list[str] = []

    def at(self, name: str) -> None:
        self.names.append(name)
        if len(self.names) == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


class SteppingStore:
    """The store, with a step on either side of every commit."""

    def __init__(self, inner: Store, steps: Steps) -> None:
        self._inner = inner
        self._steps = steps

    def reading(self) -> AbstractContextManager[Reading]:
        return self._inner.reading()

    @contextmanager
    def transaction(self) -> Iterator[Writing]:
        with self._inner.transaction() as work:
            yield work
            self._steps.at("before commit")
        self._steps.at("after commit")


class SteppingLedger:
    """The ledger, with a step on either side of every entry."""

    def __init__(self, inner: LedgerStore, steps: Stepping) -> None:
        self._inner = inner
        self._steps = steps

    def append(self, record: Record) -> Entry:
        self._steps.at(f"before entry {record.body['event']}")
        entry = self._inner.append(record)
        self._steps.at(f"after entry {record.body['event']}")
        return entry

    def head(self) -> Head | None:
        return self._inner.head()

    def entries(self, subject: str | None = None) -> Iterator[Entry]:
        return self._inner.entries(subject)


class SteppingHost:
    """The Git host, with a step on either side of every change."""

    def __init__(self, inner: GitHost, steps: Steps) -> None:
        self._inner = inner
        self._steps = steps

    def find_proposal(self, key: str) -> Proposal | None:
        return self._inner.find_proposal(key)

    def proposal(self, number: int) -> Proposal | None:
        return self._inner.proposal(number)

    def proposals(self, state: ProposalState | None = None) -> tuple[Proposal, ...]:
        return self._inner.proposals(state)

    def open_proposal(
        self, key: str, base: str, branch: str, commit: str, title: str, body: str, meta: Mapping[str, Json]
    ) -> Proposal:
        self._steps.at("before open")
        opened = self._inner.open_proposal(key, base, branch, commit, title, body, meta)
        self._steps.at("after open")
        return opened

    def merge(
        self,
        number: int,
        expected_head: str,
        expected_base: str,
        merger: GitIdentity,
        trailers: Sequence[tuple[str, str]] = (),
    ) -> Merged | NotReady:
        self._steps.at("before merge")
        answer = self._inner.merge(number, expected_head, expected_base, merger, trailers)
        self._steps.at("after merge")
        return answer

    def close(self, number: int, reason: str) -> Proposal | None:
        self._steps.at("before close")
        closed = self._inner.close(number, reason)
        self._steps.at("after close")
        return closed


def live(argv: Sequence[str]) -> list[str]:
    """Tick; where a person is named, approve as them what is pending, and tick again. Gives the steps that there were."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ticks", type=int, default=2)
    parser.add_argument("--approve", default="")
    parser.add_argument("--kill-at", type=int, default=0)
    options = parser.parse_args(argv)
    configuration = load_configuration(options.folder / "bot.yaml")
    steps = Steps(options.kill_at)
    store, ledger = SqlStore.open(configuration.store_path), SqliteLedger(configuration.ledger_path)
    host = LocalGitHost(
        GitRepository(configuration.repository),
        configuration.identity,
        lambda: datetime.fromtimestamp(time.time(), UTC),
    )
    ports = Ports(
        SteppingStore(store, steps),
        SteppingLedger(ledger, steps),
        SteppingHost(host, steps),
        CountsSource(options.folder / "counts.json"),
    )
    with state_lock(configuration.state):
        bot = assemble(configuration, ports, EventLines(file=options.folder / "events.jsonl"), time.time)
        for _ in range(options.ticks):
            bot.loop.tick()
            with store.reading() as view:
                pending = [each for each in view.proposals() if each.ballot.phase is Phase.PENDING]
            for proposal in pending if options.approve else ():
                # A person whose click got no answer looks again, and clicks again where it still says pending.
                bot.decisions.approve(proposal.id, options.approve, proposal.ballot.digest)
    ledger.close()
    store.close()
    return steps.names
