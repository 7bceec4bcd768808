"""Runs the chat beside the bot's loop: a thread that keeps the board, and a connection that listens."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from trimtab_bot.chat.board import Board, run
from trimtab_bot.chat.pace import Pace
from trimtab_bot.inbox.server import InboxServer
from trimtab_bot.leading.fencing import FencedStore
from trimtab_bot.moments import moment_text
from trimtab_kernel.problems import OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trimtab_bot.chat.slack.app import SlackConnection, SlackListener
    from trimtab_bot.commands import Commands
    from trimtab_bot.configuration import Configuration, SlackSettings
    from trimtab_bot.inbox.interface import Decisions
    from trimtab_bot.leading.interface import Leadership
    from trimtab_bot.moments import Clock
    from trimtab_bot.recording import Followers
    from trimtab_bot.store.interface import Store

STEP_SECONDS = 2.0
WATCH_SECONDS = 10.0
TAKE_UP_SECONDS = 15.0


@contextmanager
def slack_chat(
    configuration: Configuration,
    settings: SlackSettings,
    store: Store,
    decisions: Decisions,
    commands: Commands,
    followers: Followers,
    clock: Clock,
    leadership: Leadership | None = None,
) -> Iterator[str]:
    """The chat, as long as the block lasts; gives where Slack's requests are taken, "" with Socket Mode.

    Where Slack does not answer, the bot runs on and says so. Every replica listens; the one that leads keeps the messages.
    Raises InputError (B110) for a token that cannot be read, OutsideError where the address cannot be bound.
    """
    from trimtab_bot.assembly import secret
    from trimtab_bot.chat.slack.app import SlackConnection, SlackListener
    from trimtab_bot.chat.slack.http import PATH, SlackRequests
    from trimtab_bot.chat.slack.intake import Intake
    from trimtab_bot.chat.slack.room import SlackRoom, web_client

    def tell(text: str) -> None:
        followers.tell(moment_text(clock()), {"event": "chat", "text": text})

    def leads() -> bool:
        return leadership is None or leadership.epoch() is not None

    client = web_client(secret(settings.bot_token_file), settings.api_url)
    listener = SlackListener(
        web_client(client.token or "", settings.api_url),
        settings.team,
        settings.people,
        decisions,
        commands,
        Intake(store, clock),
    )
    fenced = store if leadership is None else FencedStore(store, leadership)
    room, pace = SlackRoom(client, settings.channel), Pace(time.monotonic)
    board = Board(fenced, room, clock, configuration.approval.quorum, pace)
    stop = threading.Event()
    threads = [
        threading.Thread(target=run, args=(board, stop, STEP_SECONDS, tell, leads), name="trimtab-chat", daemon=True),
        threading.Thread(target=_take_up, args=(listener, stop, leads), name="trimtab-intake", daemon=True),
    ]
    with ExitStack() as stack:
        address = ""
        if settings.app_token_file is not None:
            connection = SlackConnection(listener, secret(settings.app_token_file))
            stack.callback(connection.stop)
            threads.append(
                threading.Thread(target=_listen, args=(connection, stop, tell), name="trimtab-slack", daemon=True)
            )
        else:
            assert settings.signing_secret_file is not None
            requests = SlackRequests(listener, secret(settings.signing_secret_file), clock)
            server = InboxServer(requests, settings.host, settings.port)
            stack.callback(server.stop)
            address = f"{server.start()}{PATH}"
        for thread in threads:
            thread.start()
        try:
            yield address
        finally:
            stop.set()
            for thread in threads:
                thread.join(15)


def _listen(connection: SlackConnection, stop: threading.Event, tell: Callable[[str], None]) -> None:
    """Connect, and look after the connection."""
    told = ""
    connected = False
    while not stop.is_set():
        try:
            if not connected:
                connection.start()
                connected, text = True, "slack is connected"
            else:
                text = connection.watch() or told
        except Exception as error:  # the client raises whatever its transport does
            text = f"slack cannot be reached to listen ({type(error).__name__}); decisions go through the inbox"
        if text != told:
            tell(text)
        told = text
        stop.wait(WATCH_SECONDS)


def _take_up(listener: SlackListener, stop: threading.Event, leads: Callable[[], bool]) -> None:
    """What another process died over is taken up by the one that leads."""
    while not stop.is_set():
        try:
            if leads():
                listener.take_up()
        except OutsideError:
            pass  # the loop tells that the store does not answer
        stop.wait(TAKE_UP_SECONDS)
