"""Runs the chat beside the bot's loop: a thread that keeps the board, and a connection that listens."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from trimtab_bot.chat.board import Board, run
from trimtab_bot.moments import moment_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trimtab_bot.commands import Commands
    from trimtab_bot.configuration import Configuration, SlackSettings
    from trimtab_bot.inbox.interface import Decisions
    from trimtab_bot.moments import Clock
    from trimtab_bot.recording import Followers
    from trimtab_bot.store.interface import Store

STEP_SECONDS = 2.0


@contextmanager
def slack_chat(
    configuration: Configuration,
    settings: SlackSettings,
    store: Store,
    decisions: Decisions,
    commands: Commands,
    followers: Followers,
    clock: Clock,
) -> Iterator[None]:
    """The chat, as long as the block lasts. Where Slack does not answer, the bot runs on and says so.

    Raises InputError (B110) for a token that cannot be read.
    """
    from trimtab_bot.assembly import secret
    from trimtab_bot.chat.slack.app import SlackConnection, SlackListener
    from trimtab_bot.chat.slack.room import SlackRoom, web_client

    def tell(text: str) -> None:
        followers.tell(moment_text(clock()), {"event": "chat", "text": text})

    client = web_client(secret(settings.bot_token_file), settings.api_url)
    app_token = secret(settings.app_token_file)
    listener = SlackListener(
        web_client(client.token or "", settings.api_url), settings.team, settings.people, decisions, commands
    )
    connection = SlackConnection(listener, app_token)
    board = Board(store, SlackRoom(client, settings.channel), clock, configuration.approval.quorum)
    stop = threading.Event()

    def listen() -> None:
        told = False
        while not stop.is_set():
            try:
                connection.start()
            except Exception as error:
                if not told:
                    tell(f"slack cannot be reached to listen ({type(error).__name__}); decisions go through the inbox")
                told = True
                stop.wait(10)
            else:
                tell("slack is connected")
                return

    threads = [
        threading.Thread(target=run, args=(board, stop, STEP_SECONDS, tell), name="trimtab-chat", daemon=True),
        threading.Thread(target=listen, name="trimtab-slack", daemon=True),
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(15)
        connection.stop()
