"""Runs the listener beside the bot's loop: a thread that looks, woken by webhooks, patient where GitHub asks for it."""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Protocol

from trimtab_bot.leading.fencing import FencedStore
from trimtab_bot.moments import moment_text
from trimtab_bot.reviews.accounts import Accounts
from trimtab_bot.reviews.listener import Listener
from trimtab_kernel.problems import InputError, OutsideError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trimtab_bot.assembly import Bot, Ports
    from trimtab_bot.configuration import GitHubSettings
    from trimtab_bot.leading.interface import Leadership
    from trimtab_bot.moments import Clock
    from trimtab_bot.recording import Followers


class Looker(Protocol):
    """What the thread calls: a :class:`trimtab_bot.reviews.listener.Listener`."""

    def step(self, numbers: tuple[int, ...]) -> object:
        """Look; raises OutsideError where GitHub does not answer."""
        ...


class Bell:
    """What webhooks ring, and the thread waits for. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._numbers: set[int] = set()
        self._rung = False

    def ring(self, numbers: tuple[int, ...] = ()) -> None:
        """Somebody is at the door, because of these pull requests."""
        with self._lock:
            self._numbers.update(numbers)
            self._rung = True
            self._lock.notify_all()

    def wait(self, seconds: float) -> tuple[int, ...]:
        """Until it rings, at most so long; gives the pull requests that it rang for since the last time."""
        with self._lock:
            if not self._rung:
                self._lock.wait(seconds)
            self._rung = False
            numbers = tuple(sorted(self._numbers))
            self._numbers.clear()
            return numbers


def run(
    listener: Looker,
    bell: Bell,
    stop: threading.Event,
    seconds: float,
    tell: Callable[[str], None],
    leads: Callable[[], bool] = lambda: True,
) -> None:
    """Look every ``seconds`` and whenever the bell rings, until ``stop``; a failure is told once, and so is its end.

    A replica that does not lead neither reads nor answers: what it would have heard, the leader hears by itself.
    """
    told = ""
    numbers: tuple[int, ...] = ()
    while not stop.is_set():
        patience = seconds
        try:
            if leads():
                listener.step(numbers)
            failure = ""
        except (OutsideError, InputError) as error:
            failure = str(error)
            patience = max(seconds, getattr(error, "retry_after", None) or 0.0)
        if bool(failure) != bool(told):
            tell(f"pull requests: {failure}" if failure else "pull requests: GitHub answers again")
            told = failure
        if patience > seconds:
            stop.wait(patience)  # no knock shortens what GitHub asked for
        numbers = bell.wait(seconds)


@contextmanager
def pull_requests(
    settings: GitHubSettings,
    ports: Ports,
    bot: Bot,
    followers: Followers,
    clock: Clock,
    leadership: Leadership | None = None,
) -> Iterator[None]:
    """Listening, as long as the block lasts. Where GitHub does not answer, the bot runs on and says so.

    Every replica takes webhooks; with a ``leadership`` the leader alone looks, answers and writes checks.

    Raises InputError (B110) for a secret that cannot be read or can be guessed, OutsideError for a port that is taken.
    """
    from trimtab_bot.assembly import secret

    assert ports.conversation is not None

    def tell(text: str) -> None:
        followers.tell(moment_text(clock()), {"event": "reviews", "text": text})

    def leads() -> bool:
        return leadership is None or leadership.epoch() is not None

    accounts = Accounts(settings.people, ports.links)
    store = ports.store if leadership is None else FencedStore(ports.store, leadership)
    listener = Listener(
        ports.conversation, bot.decisions, bot.commands, store, accounts, ports.account, clock, settings.check
    )
    bell, stop = Bell(), threading.Event()
    with ExitStack() as stack:
        if settings.webhook is not None:
            from trimtab_bot.reviews.server import WebhookServer
            from trimtab_bot.reviews.webhooks import SHORTEST_SECRET, Door

            key = secret(settings.webhook.secret_file).encode()
            if len(key) < SHORTEST_SECRET:
                expected = f"a secret of at least {SHORTEST_SECRET} characters"
                raise InputError(
                    Problem("B110", str(settings.webhook.secret_file), got="a short one", expected=expected)
                )

            def wake(numbers: tuple[int, ...]) -> None:
                bell.ring(numbers)
                bot.wake.set()

            door = Door(key, settings.repository, ports.store, clock, wake)
            server = WebhookServer(door, settings.webhook.host, settings.webhook.port)
            stack.callback(server.stop)
            tell(f"webhooks are taken at {server.start()}")
        thread = threading.Thread(
            target=run, args=(listener, bell, stop, settings.poll, tell, leads), name="trimtab-reviews", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            stop.set()
            bell.ring()
            thread.join(timeout=60)
