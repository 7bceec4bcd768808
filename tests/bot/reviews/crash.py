"""A bot on GitHub that kills itself at its n-th request to GitHub or durable step: ``python -m tests.bot.reviews.crash FOLDER``.

The requests of PyGithub are counted right before they leave and right after their answer came; the rig runs in the parent.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import requests

from tests.bot.counts import CountsSource
from tests.bot.crash import SteppingLedger, SteppingStore, Steps
from trimtab_bot.assembly import Ports, assemble, github_side, open_ledger, open_store, state_lock
from trimtab_bot.configuration import load_configuration
from trimtab_bot.recording import EventLines
from trimtab_bot.reviews.accounts import Accounts
from trimtab_bot.reviews.listener import Listener


def count_requests(steps: Steps) -> None:
    """Every request that changes something on GitHub is a step on either side; the client stays what it is."""
    send = requests.adapters.HTTPAdapter.send

    def counted(self: Any, request: requests.PreparedRequest, *words: Any, **named: Any) -> requests.Response:  # noqa: ANN401
        if request.method in ("GET", "HEAD"):
            return send(self, request, *words, **named)
        path = str(request.path_url).partition("/repos/acme/fleet")[2]
        steps.at(f"before {request.method} {path}")
        answer = send(self, request, *words, **named)
        steps.at(f"after {request.method} {path}")
        return answer

    requests.adapters.HTTPAdapter.send = counted  # type: ignore[method-assign]


def main(argv: Sequence[str]) -> int:
    """Tick and listen, so often."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ticks", type=int, default=3)
    parser.add_argument("--kill-at", type=int, default=0)
    options = parser.parse_args(argv)
    configuration = load_configuration(options.folder / "bot.yaml")
    settings = configuration.github
    assert settings is not None
    steps = Steps(options.kill_at)
    count_requests(steps)
    with state_lock(configuration.state):
        store, ledger = open_store(configuration), open_ledger(configuration)
        side = github_side(configuration, settings, time.time, 0)
        assert side.conversation is not None
        source = CountsSource(options.folder / "counts.json")
        stepping = SteppingStore(store, steps)
        ports = Ports(stepping, SteppingLedger(ledger, steps), side.host, source, side.refresh)
        bot = assemble(configuration, ports, EventLines(file=options.folder / "events.jsonl"), time.time)
        talk = (side.conversation, bot.decisions, bot.commands, stepping, Accounts(settings.people), side.account)
        listener = Listener(*talk, time.time, settings.check)
        for _ in range(options.ticks):
            bot.loop.tick()
            listener.step()
        bot.loop.tick()
        ledger.close()
        store.close()
    sys.stdout.write(json.dumps({"steps": steps.names}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
