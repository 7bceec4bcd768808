"""Runs the chat beside the bot's loop: a thread that keeps the board, and a connection that listens."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab_bot.chat.board import Board, run
from trimtab_bot.chat.pace import Pace
from trimtab_bot.leading.fencing import FencedStore
from trimtab_bot.moments import moment_text
from trimtab_bot.serving import ThreadedServer
from trimtab_kernel.problems import OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trimtab_bot.chat.interface import ChatRoom
    from trimtab_bot.chat.slack.app import SlackConnection, WorkspacesListener
    from trimtab_bot.chat.slack.pages import InstallPages
    from trimtab_bot.chat.slack.workspaces import InstalledWorkspaces, SealedInstallations, Workspaces
    from trimtab_bot.commands import Commands
    from trimtab_bot.configuration import Configuration, SlackSettings
    from trimtab_bot.inbox.interface import Decisions
    from trimtab_bot.leading.interface import Leadership
    from trimtab_bot.moments import Clock
    from trimtab_bot.recording import Followers
    from trimtab_bot.sealing import Seal
    from trimtab_bot.store.interface import Store

STEP_SECONDS = 2.0
WATCH_SECONDS = 10.0
TAKE_UP_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Installing:
    """What installing into several workspaces needs: the installations, and the pages for it."""

    installations: SealedInstallations
    workspaces: InstalledWorkspaces
    pages: InstallPages


def installing(configuration: Configuration, store: Store, seal: Seal, clock: Clock) -> Installing | None:
    """None where there is one workspace by a token. Raises InputError (B110) for a secret that cannot be read."""
    settings = configuration.slack
    if settings is None or settings.oauth is None:
        return None
    from trimtab_bot.assembly import secret
    from trimtab_bot.chat.slack.installing import Installer
    from trimtab_bot.chat.slack.pages import InstallPages
    from trimtab_bot.chat.slack.workspaces import InstalledWorkspaces, SealedInstallations
    from trimtab_bot.tickets import Tickets

    oauth, key = settings.oauth, secret(settings.oauth.client_secret_file)
    installations = SealedInstallations(store, seal, settings.channels, clock)
    installer = Installer(
        *(Tickets(store, clock), installations, oauth.client_id, key, settings.api_url, oauth.authorize_url)
    )
    return Installing(
        installations,
        InstalledWorkspaces(installations, settings.channels, settings.people, settings.api_url, oauth.client_id, key),
        InstallPages(installer, installations, settings.channels, oauth.authorize_url, configuration.inbox_public_url),
    )


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
    *,
    installed: Installing | None = None,
) -> Iterator[str]:
    """The chat, as long as the block lasts; gives where Slack's requests are taken, "" with Socket Mode.

    Where Slack does not answer, the bot runs on and says so. Every replica listens; the one that leads keeps the messages.
    Each workspace has a thread and a pace of its own, so that one that is limited or gone keeps no other waiting.
    Raises InputError (B110) for a token that cannot be read, OutsideError where the address cannot be bound.
    """
    from trimtab_bot.assembly import secret
    from trimtab_bot.chat.slack.app import SlackConnection, WorkspacesListener
    from trimtab_bot.chat.slack.http import PATH, SlackRequests
    from trimtab_bot.chat.slack.intake import Intake

    def tell(text: str) -> None:
        followers.tell(moment_text(clock()), {"event": "chat", "text": text})

    def leads() -> bool:
        return leadership is None or leadership.epoch() is not None

    fenced = store if leadership is None else FencedStore(store, leadership)
    workspaces, rooms = _rooms(settings, installed)
    listener = WorkspacesListener(workspaces, settings.api_url, decisions, commands, Intake(store, clock))
    stop = threading.Event()
    threads = [threading.Thread(target=_take_up, args=(listener, stop, leads), name="trimtab-intake", daemon=True)]
    for each in rooms:
        board = Board(fenced, each.room, clock, configuration.approval.quorum, Pace(time.monotonic), each.name)
        work = (board, stop, STEP_SECONDS, *_in_turn(each, fenced, installed, leads, tell))
        threads.append(threading.Thread(target=run, args=work, name=f"trimtab-chat{each.name}", daemon=True))
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
            server = ThreadedServer(requests, settings.host, settings.port, setting="slack.http.port")
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


@dataclass(frozen=True, slots=True)
class _Room:
    """Where messages go. ``name`` is the workspace's, "" for the only one."""

    room: ChatRoom
    team: str
    channel: str
    name: str


def _rooms(settings: SlackSettings, installed: Installing | None) -> tuple[Workspaces, list[_Room]]:
    from trimtab_bot.assembly import secret
    from trimtab_bot.chat.slack.room import SlackRoom, web_client
    from trimtab_bot.chat.slack.workspaces import InstalledRoom, OneWorkspace

    if installed is not None:
        found = installed.workspaces
        return found, [
            _Room(InstalledRoom(found, team, channel), team, channel, team)
            for team, channel in settings.channels.items()
        ]
    assert settings.bot_token_file is not None
    token = secret(settings.bot_token_file)
    ((team, channel),) = settings.channels.items()
    people = {user: person for (_, user), person in settings.people.items()}
    one = OneWorkspace(web_client(token, settings.api_url), team, people)
    return one, [_Room(SlackRoom(web_client(token, settings.api_url), channel), team, channel, "")]


def _in_turn(
    room: _Room,
    store: Store,
    installed: Installing | None,
    leads: Callable[[], bool],
    tell: Callable[[str], None],
) -> tuple[Callable[[str], None], Callable[[], bool]]:
    """How a board tells, and whether it is its turn: it leads, and the app is installed with a token that holds."""
    if installed is None:
        return tell, leads
    told = [""]
    named = [False]

    def turn() -> bool:
        if not leads():
            return False
        text = f"{room.team}: the app is not installed; somebody has to open /slack/install in the inbox"
        is_there = False
        try:
            if not named[0]:
                with store.transaction() as work:
                    work.name_workspace(room.team, room.channel)
                named[0] = True
            is_there = installed.workspaces.refresh(room.team)
            text = f"{room.team}: the app is installed" if is_there else text
        except OutsideError as error:
            text = str(error)
        if text != told[0]:
            told[0] = text
            tell(text)
        return is_there

    return lambda text: tell(f"{room.team}: {text}"), turn


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


def _take_up(listener: WorkspacesListener, stop: threading.Event, leads: Callable[[], bool]) -> None:
    """What another process died over is taken up by the one that leads."""
    while not stop.is_set():
        try:
            if leads():
                listener.take_up()
        except OutsideError:
            pass  # the loop tells that the store does not answer
        stop.wait(TAKE_UP_SECONDS)
