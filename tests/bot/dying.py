"""A whole bot, on GitHub and in Slack, that dies by SIGKILL at a boundary that is told by name.

``Forge`` is a process that has everything imported and forks one bot for each order, so that a death costs no more than the
work that it ends; the bot is the product's own, and what it does to the outside goes through unmodified clients to the rigs of
the test's process. A boundary is the point right before or right after something that outlives the process: a commit of the
store (named by the code that wants it), an entry of the ledger, a commit in the mirror, a fetch, and each request that changes
something on GitHub or in Slack. The second time in one process, and later, is a boundary of its own.
"""

from __future__ import annotations

import base64
import gc
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import traceback
import urllib.request
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from contextlib import AbstractContextManager

    from trimtab_bot.chat.board import Board
    from trimtab_bot.chat.slack.app import SlackListener
    from trimtab_bot.reviews.listener import Listener
    from trimtab_bot.store.interface import Reading, Store, Writing

ROOT = Path(__file__).parents[2]
SECONDS = 61.0
"""Between two looks: more than the minute that chat leaves between two edits."""
HOOK_SECRET = b"a secret of the webhooks"
SLACK_PEOPLE = {"U0MARA": "mara", "U0BO": "bo", "U0ADA": "ada"}
_READS = ("auth.test", "users.info", "conversations.", "apps.")
_PATIENCE = 60.0


@dataclass(frozen=True)
class Order:
    """What a bot is to do: so many looks from ``now`` on, with these webhooks and clicks coming in at each of them.

    It dies at the ``kill_at``-th boundary (never for 0); with ``spared`` at the first boundary that is not among them. ``clicks`` and ``knocks`` are bodies
    with headers, as the rigs make them; each click comes twice.
    """

    folder: str
    slack: str
    now: float
    ticks: int = 2
    kill_at: int = 0
    spared: tuple[str, ...] | None = None
    clicks: tuple[tuple[str, dict[str, str]], ...] = ()
    knocks: tuple[tuple[str, dict[str, str]], ...] = ()


@dataclass(frozen=True)
class Death:
    """How a bot ended, and every boundary that it came to; the last one is where it died."""

    killed: bool
    steps: tuple[str, ...]
    error: str = ""


@dataclass
class Boundaries:
    """Tells each boundary before it is acted upon, and ends the process at one."""

    tell: int
    kill_at: int = 0
    spared: Collection[str] | None = None
    _times: Counter[str] = field(default_factory=Counter)

    def at(self, name: str) -> None:
        self._times[name] += 1
        if self._times[name] > 1:
            name = f"{name} (again)"
        os.write(self.tell, f"{name}\n".encode())
        if self._times.total() == self.kill_at or (self.spared is not None and name not in self.spared):
            os.kill(os.getpid(), signal.SIGKILL)

    @contextmanager
    def around(self, name: str) -> Iterator[None]:
        self.at(f"before {name}")
        yield
        self.at(f"after {name}")


class _Store:
    """The store; a commit is named by the code that wants it."""

    def __init__(self, inner: Store, steps: Boundaries) -> None:
        self._inner = inner
        self._steps = steps

    def reading(self) -> AbstractContextManager[Reading]:
        return self._inner.reading()

    @contextmanager
    def transaction(self) -> Iterator[Writing]:
        frame = sys._getframe(1)
        while frame.f_code.co_filename.endswith(("contextlib.py", "dying.py", "fencing.py")) and frame.f_back:
            frame = frame.f_back
        name = f"commit of {frame.f_code.co_qualname}"
        with self._inner.transaction() as work:
            yield work
            self._steps.at(f"before {name}")
        self._steps.at(f"after {name}")


def _name_of_github(method: str, path: str) -> str:
    """Without what differs from one run to the next."""
    place = path.partition("/repos/acme/fleet")[2].partition("?")[0]
    return f"GitHub {method} {re.sub('[0-9a-f]{40}|(?<=/)[0-9]+', '*', re.sub('refs/heads/trimtab/.*', 'refs/heads/*', place))}"


def _watch_requests(steps: Boundaries, responded: threading.Event) -> None:
    """A boundary on either side of every request that changes something; the clients stay what they are."""
    import requests

    from trimtab_config.git.mirror import GitMirror
    from trimtab_config.git.repository import GitRepository

    send, open_, update, write = (
        requests.adapters.HTTPAdapter.send,
        urllib.request.OpenerDirector.open,
        GitMirror.update,
        GitRepository.write_commit,
    )

    def sent(self: Any, request: requests.PreparedRequest, *words: Any, **named: Any) -> requests.Response:  # noqa: ANN401 - as the method that it takes the place of
        if request.method in ("GET", "HEAD"):
            return send(self, request, *words, **named)
        with steps.around(_name_of_github(str(request.method), str(request.path_url))):
            return send(self, request, *words, **named)

    def opened(self: Any, fullurl: Any, *words: Any, **named: Any) -> Any:  # noqa: ANN401 - as the method that it takes the place of
        path = urlsplit(fullurl if isinstance(fullurl, str) else fullurl.full_url).path
        method = re.sub(r"[0-9]+$", "*", path.removeprefix("/api/").removeprefix("/"))
        if method.startswith(_READS):
            return open_(self, fullurl, *words, **named)
        with steps.around(f"Slack {re.sub('/.*', '', method)}"):
            answer = open_(self, fullurl, *words, **named)
        if method.startswith("respond/"):
            responded.set()
        return answer

    def updated(self: Any) -> None:  # noqa: ANN401 - as the method that it takes the place of
        with steps.around("fetch into the mirror"):
            update(self)

    def written(self: Any, *words: Any, **named: Any) -> str:  # noqa: ANN401 - as the method that it takes the place of
        with steps.around("commit in the mirror"):
            return write(self, *words, **named)

    requests.adapters.HTTPAdapter.send = sent  # type: ignore[method-assign] # the process is to die there
    urllib.request.OpenerDirector.open = opened  # type: ignore[method-assign] # the process is to die there
    GitMirror.update = updated  # type: ignore[method-assign] # the process is to die there
    GitRepository.write_commit = written  # type: ignore[method-assign] # the process is to die there


class _Bot:
    """The parts that one process of the bot runs, looked after by one thread so that boundaries come in one order."""

    def __init__(self, order: Order, steps: Boundaries, responded: threading.Event) -> None:
        from tests.bot.counts import CountsSource
        from tests.bot.crash import SteppingLedger
        from trimtab_bot.assembly import Ports, assemble, github_side, open_ledger, open_store
        from trimtab_bot.chat.board import Board
        from trimtab_bot.chat.slack.app import SlackListener
        from trimtab_bot.chat.slack.intake import Intake
        from trimtab_bot.chat.slack.room import SlackRoom, web_client
        from trimtab_bot.configuration import load_configuration
        from trimtab_bot.recording import EventLines
        from trimtab_bot.reviews.accounts import Accounts
        from trimtab_bot.reviews.listener import Listener
        from trimtab_bot.reviews.webhooks import Door

        folder = Path(order.folder)
        self.order, self.now, self.responded, self.numbers = order, order.now, responded, set[int]()
        configuration = load_configuration(folder / "bot.yaml")
        settings = configuration.github
        assert settings is not None
        self.inner_store, self.inner_ledger = open_store(configuration), open_ledger(configuration)
        store, ledger = _Store(self.inner_store, steps), SteppingLedger(self.inner_ledger, steps)
        self.side = github_side(configuration, settings, self.clock, 0)
        assert self.side.conversation is not None
        source = CountsSource(folder / "counts.json", self.clock)
        ports = Ports(store, ledger, self.side.host, source, self.side.refresh)
        quiet = (folder / "people.log").open("a")
        bot = assemble(configuration, ports, EventLines(quiet, folder / "events.jsonl"), self.clock)
        self.loop = bot.loop
        talk = (
            self.side.conversation,
            bot.decisions,
            bot.commands,
            store,
            Accounts(settings.people),
            self.side.account,
        )
        self.listener: Listener = Listener(*talk, self.clock, settings.check)
        self.door = Door(HOOK_SECRET, settings.repository, store, self.clock, self.numbers.update)
        client = web_client("xoxb-of-the-bot", f"{order.slack}/api/")
        self.board: Board = Board(store, SlackRoom(client, "C0FLEET"), self.clock, 1)
        self.slack: SlackListener = SlackListener(
            client, "T0HOME", SLACK_PEOPLE, bot.decisions, bot.commands, Intake(store, self.clock)
        )

    def clock(self) -> float:
        return self.now

    def look(self) -> None:
        """One round of everything. Where the outside does not answer, the next round tries again, as the threads do."""
        from slack_bolt import BoltRequest

        from trimtab_bot.reviews.webhooks import Delivery
        from trimtab_kernel.problems import InputError, OutsideError

        self.now += SECONDS
        for body, headers in self.order.knocks:
            self.door.knock(Delivery({name.lower(): value for name, value in headers.items()}, base64.b64decode(body)))
        self.loop.tick()
        for body, headers in self.order.clicks:
            for _ in range(2):
                self.responded.clear()
                given: dict[str, str | Sequence[str]] = {name: [value] for name, value in headers.items()}
                self.slack.app.dispatch(BoltRequest(body=base64.b64decode(body).decode(), headers=given))
                assert self.responded.wait(_PATIENCE), "the click was not answered"
        self.slack.take_up()
        try:
            self.listener.step(tuple(sorted(self.numbers)))
        except (OutsideError, InputError) as error:
            sys.stderr.write(f"pull requests: {error}\n")
        self.board.step()

    def close(self) -> None:
        self.inner_ledger.close()
        self.inner_store.close()
        self.side.close()


def live(order: Order, tell: int) -> None:
    """One life."""
    steps, responded = Boundaries(tell, order.kill_at, order.spared), threading.Event()
    _watch_requests(steps, responded)
    from trimtab_bot.assembly import state_lock

    with state_lock(Path(order.folder) / "state"):
        bot = _Bot(order, steps, responded)
        for _ in range(order.ticks):
            bot.look()
        bot.close()


# ---------------------------------------------------------------- the process that forks


_IMPORTED = (
    *("github", "slack_bolt", "yaml", "tests.bot.counts", "tests.bot.crash"),
    *(
        "trimtab_bot.assembly",
        "trimtab_bot.configuration",
        "trimtab_bot.model_narrator",
        "trimtab_bot.store.migrations",
    ),
    *(
        "trimtab_bot.chat.board",
        "trimtab_bot.chat.picture",
        "trimtab_bot.chat.slack.app",
        "trimtab_bot.chat.slack.room",
    ),
    *("trimtab_bot.reviews.listener", "trimtab_bot.reviews.webhooks", "trimtab_config.git.mirror"),
    *(f"trimtab_config.githost.{name}" for name in ("github", "github_conversation", "mirrored", "local")),
)
"""What no bot has to import by itself."""


def _born(content: dict[str, Any], tell: int) -> NoReturn:
    """A bot in a process of its own."""
    code = 1
    try:
        if "words" in content:
            from tests.bot import crash

            for name in crash.live(content["words"]):
                os.write(tell, f"{name}\n".encode())
        else:
            live(Order(**content), tell)
        code = 0
    except BaseException:
        os.write(tell, b"! " + json.dumps(traceback.format_exc()).encode() + b"\n")
    finally:
        os._exit(code)


def _serve() -> None:
    """Read orders, one JSON object a line; fork a bot for each; tell how it ended."""
    for name in _IMPORTED:
        importlib.import_module(name)
    gc.freeze()
    for line in sys.stdin:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            _born(json.loads(line), writing)
        os.close(writing)
        with os.fdopen(reading) as told:
            lines = told.read().splitlines()
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        error = "\n".join(json.loads(each[2:]) for each in lines if each.startswith("! "))
        if not error and not killed and status:
            error = f"status {status}"
        names = [each for each in lines if not each.startswith("! ")]
        sys.stdout.write(json.dumps({"killed": killed, "steps": names, "error": error}) + "\n")
        sys.stdout.flush()


class Forge:
    """The process that forks bots; ends with :meth:`close`."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.bot.dying"]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.lives = 0

    def run(self, order: Order) -> Death:
        """One bot, from its start to its end or its death."""
        return self._run(asdict(order))

    def run_local(self, *words: str) -> Death:
        """One bot of :mod:`tests.bot.crash`."""
        return self._run({"words": words})

    def _run(self, content: dict[str, Any]) -> Death:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(content) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the process that forks is gone"
        told = json.loads(line)
        assert not told["error"], told["error"]
        self.lives += 1
        return Death(told["killed"], tuple(told["steps"]))

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(_PATIENCE)
        self._process.stdout.close()


if __name__ == "__main__":
    _serve()
