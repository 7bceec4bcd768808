"""Listens to Slack: buttons, the modal, ``/trimtab`` and the app's home. All of them are wishes of a person.

Who asks is what Slack says, compared exactly with the configured ids: the workspace's own, never a guest, never somebody of
another workspace in a shared channel. What they wish goes through the same door as the inbox's (:class:`Decisions`), which
has it on disk before it answers; only then is Slack told that it arrived. A repeat of a click finds the decision taken.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from slack_bolt import App
from slack_bolt.adapter.socket_mode import SocketModeHandler
from slack_bolt.authorization import AuthorizeResult
from slack_sdk.errors import SlackClientError
from slack_sdk.webhook import WebhookClient

from trimtab_bot.chat.slack.blocks import APPROVE, DENY, DENY_VIEW, deny_view, escaped, home_view
from trimtab_bot.chat.slack.intake import Answer, Wish
from trimtab_bot.chat.slack.room import web_client
from trimtab_bot.chat.slack.workspaces import OneWorkspace
from trimtab_bot.commands import Actor, Where
from trimtab_bot.inbox.interface import Accepted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from slack_sdk import WebClient

    from trimtab_bot.chat.slack.intake import Intake
    from trimtab_bot.chat.slack.workspaces import Workspaces
    from trimtab_bot.commands import Commands
    from trimtab_bot.inbox.interface import DecisionResult, Decisions

COMMAND = "/trimtab"
_MEMBER_SECONDS = 60.0
DEAD_SECONDS = 45.0
MANY_CONNECTIONS = 8
_NOT_LINKED = "B440 your Slack account belongs to nobody who is configured; ask for your id to be listed under people"
_OUTSIDE = "B441 only members of this workspace decide here, not guests or people of another workspace"


class Members:
    """Who of the workspace is a full member. Asked of Slack, and believed for a minute."""

    def __init__(self, client: WebClient, team: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.token = client.token
        self._client = client
        self._team = team
        self._clock = clock
        self._known: dict[str, tuple[float, bool]] = {}
        self._lock = threading.Lock()

    def is_member(self, user: str) -> bool:
        """False for guests, robots, deactivated people, strangers, and where Slack does not say."""
        with self._lock:
            at, known = self._known.get(user, (float("-inf"), False))
        if self._clock() - at < _MEMBER_SECONDS:
            return known
        try:
            found: dict[str, Any] = self._client.users_info(user=user).get("user") or {}
        except (SlackClientError, OSError):
            return False
        odd = ("deleted", "is_restricted", "is_ultra_restricted", "is_stranger", "is_bot")
        good = found.get("id") == user and found.get("team_id") == self._team and not any(found.get(key) for key in odd)
        with self._lock:
            self._known[user] = (self._clock(), good)
        return good


class WorkspacesListener:
    """The running listener, for all workspaces. Each request is authorised for its own workspace alone."""

    def __init__(
        self, workspaces: Workspaces, api_url: str, decisions: Decisions, commands: Commands, intake: Intake
    ) -> None:
        self._workspaces = workspaces
        self._decisions = decisions
        self._commands = commands
        self._intake = intake
        self._members: dict[str, Members] = {}
        # The library writes whole requests into its log when a signature is wrong; ours says what is worth saying.
        logger = logging.getLogger("trimtab.slack")

        # slack_bolt finds out what a function takes by its names, and `self` is one of its own.
        def authorize(enterprise_id: str | None, team_id: str | None, user_id: str | None) -> AuthorizeResult:
            return self._authorize(enterprise_id, team_id, user_id)

        self.app = App(
            client=web_client(None, api_url),
            authorize=authorize,
            token_verification_enabled=False,
            # Socket Mode is trusted for its token, and HTTP is verified before it comes here (http).
            request_verification_enabled=False,
            logger=logger,
        )
        self.app.action(APPROVE)(self._approve)
        self.app.action(DENY)(self._ask_why)
        self.app.view(DENY_VIEW)(self._deny)
        self.app.command(COMMAND)(self._command)
        self.app.event("app_home_opened")(self._home)
        self.app.event("app_uninstalled")(self._uninstalled)
        self.app.event("tokens_revoked")(self._revoked)

    def _authorize(self, enterprise_id: str | None, team_id: str | None, user_id: str | None) -> AuthorizeResult:
        """The token of the workspace that asks, and of no other; without one where the bot is not in it.

        Who may not be heard is told so by the handlers, with the reason.
        """
        team = team_id or ""
        client = self._workspaces.client(team)
        return AuthorizeResult(
            enterprise_id=enterprise_id,
            team_id=team,
            user_id=user_id,
            bot_token=None if client is None else client.token,
            bot_user_id=self._workspaces.bot_user(team) or None,
        )

    # ------------------------------------------------ comings and goings

    def _uninstalled(self, body: dict[str, Any]) -> None:
        self._workspaces.left(_team(body), float(body.get("event_time") or 0.0), "it was uninstalled")

    def _revoked(self, body: dict[str, Any], event: dict[str, Any]) -> None:
        revoked = (event.get("tokens") or {}).get("bot") or ()
        if self._workspaces.bot_user(_team(body)) in revoked:
            self._workspaces.left(_team(body), float(body.get("event_time") or 0.0), "its token was revoked")

    # ------------------------------------------------ buttons

    def _approve(
        self, ack: Callable[..., None], body: dict[str, Any], client: WebClient, respond: Callable[..., Any]
    ) -> None:
        proposal, digest = _value(body)
        answer = self._intake.once(_key(body), _wish(body, "approve", proposal, digest), self.act)
        ack()
        self._tell(body, client, respond, answer.text)

    def _ask_why(
        self, ack: Callable[..., None], body: dict[str, Any], client: WebClient, respond: Callable[..., Any]
    ) -> None:
        refused = self._refusal(_wish(body, "deny"))
        ack()
        if refused:
            self._tell(body, client, respond, refused)
            return
        proposal, digest = _value(body)
        found = self._decisions.proposal(proposal)
        title = found.title if found is not None else proposal
        client.views_open(trigger_id=body["trigger_id"], view=deny_view(f"{proposal} {digest}", title))

    def _deny(self, ack: Callable[..., None], body: dict[str, Any]) -> None:
        proposal, _, digest = str(body["view"]["private_metadata"]).partition(" ")
        reason = str(body["view"]["state"]["values"]["reason"]["text"]["value"] or "")
        # One modal may be submitted again after a refusal, with another reason: the submission's own trigger names it.
        answer = self._intake.once(_key(body), _wish(body, "deny", proposal, digest, reason), self.act)
        if answer.done:
            ack()
        else:
            ack(response_action="errors", errors={"reason": answer.text[:150]})

    # ------------------------------------------------ the command

    def _command(self, ack: Callable[..., None], body: dict[str, Any]) -> None:
        wish = _wish(body, "type", text=str(body.get("text") or ""))
        ack(text=self._intake.once(_key(body), wish, self.act).text)

    # ------------------------------------------------ home

    def _home(self, event: dict[str, Any], body: dict[str, Any], client: WebClient) -> None:
        if event.get("tab", "home") == "home":
            self._publish(_wish({**body, "user_id": event["user"]}, "home"), client, "")

    def _publish(self, wish: Wish, client: WebClient, note: str) -> None:
        if client.token is None:
            return  # the bot is not in that workspace, so it has no home there
        refused = self._refusal(wish)
        waiting = () if refused else tuple(each for each in self._decisions.proposals() if each.open_for_decision)
        person = self._workspaces.person(wish.team, wish.user)
        client.views_publish(user_id=wish.user, view=home_view(waiting, person, refused or note))

    def _tell(self, body: dict[str, Any], client: WebClient, respond: Callable[..., Any], text: str) -> None:
        if body.get("response_url") or body.get("response_urls"):
            respond(text=text, response_type="ephemeral", replace_original=False)
        else:
            self._publish(_wish(body, "home"), client, text)

    # ------------------------------------------------ what is asked for

    def act(self, key: str, wish: Wish) -> Answer:
        """Do what a member wishes, once they are known to be one. What it changed is on disk before this returns."""
        refused = self._refusal(wish)
        if refused:
            return Answer(refused, done=False)
        person = self._workspaces.person(wish.team, wish.user)
        match wish.verb:
            case "approve":
                return _told(self._decisions.approve(wish.proposal, person, wish.digest))
            case "deny":
                return _told(self._decisions.deny(wish.proposal, person, wish.digest, wish.text))
        actor = Actor(person, f"slack:{wish.team}/{wish.user}")
        reply = self._commands.say(wish.text, actor, Where("slack", wish.channel, f"slack:{key}"))
        text = "\n".join(escaped(line, 500) for line in reply.text.split("\n"))
        return Answer(f"```{text}```" if text.startswith(f"{COMMAND} ") else text, reply.done)

    def take_up(self) -> int:
        """Act on what a process died over before it answered, and answer where Slack still listens; gives how many."""
        taken = self._intake.take_up(self.act)
        for wish, answer in taken:
            if wish.answer_to:
                try:
                    WebhookClient(wish.answer_to, timeout=10).send(
                        text=answer.text, response_type="ephemeral", replace_original=False
                    )
                except (SlackClientError, OSError):
                    continue  # the address is old; the living message shows what was decided
        return len(taken)

    # ------------------------------------------------ who

    def _refusal(self, wish: Wish) -> str:
        """Why this person is not heard; "" where they are."""
        if wish.enterprise or (wish.user_team or wish.team) != wish.team or not self._workspaces.has(wish.team):
            return _OUTSIDE
        if not self._workspaces.person(wish.team, wish.user):
            return _NOT_LINKED
        client = self._workspaces.client(wish.team)
        if client is None:
            return _OUTSIDE
        members = self._members.get(wish.team)
        if members is None or members.token != client.token:
            members = self._members[wish.team] = Members(client, wish.team)
        return "" if members.is_member(wish.user) else _OUTSIDE


class SlackListener(WorkspacesListener):
    """The running listener of one workspace. ``people`` maps a Slack user id to a person's id."""

    def __init__(
        self,
        client: WebClient,
        team: str,
        people: Mapping[str, str],
        decisions: Decisions,
        commands: Commands,
        intake: Intake,
    ) -> None:
        super().__init__(OneWorkspace(client, team, people), client.base_url, decisions, commands, intake)


class SlackConnection:
    """Socket Mode: the listener's connection to Slack. Stops with :meth:`stop`."""

    def __init__(
        self,
        listener: WorkspacesListener,
        app_token: str,
        ping_seconds: float = 10.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._handler = SocketModeHandler(
            listener.app, app_token, web_client=listener.app.client, ping_interval=ping_seconds, concurrency=4
        )
        self._monotonic = monotonic
        self._down_since: float | None = None
        self._connections = 0
        self._handler.client.message_listeners.append(self._hear)

    def start(self) -> None:
        """Connects; a connection that breaks is made anew by the client, and pinged so that a dead one is noticed."""
        self._handler.connect()  # type: ignore[no-untyped-call] # slack_bolt's handler has no types

    def _hear(self, _client: object, message: dict[str, Any], _raw: str | None = None) -> None:
        if message.get("type") == "hello":
            self._connections = int(message.get("num_connections") or 0)

    def watch(self) -> str:
        """Look after the connection: one that stays dead is made anew, whatever the client believes. Gives what to tell, or "".

        Slack spreads clicks over all connections of an app, up to ten, and does not send a click again: connections that
        nobody reads swallow them. So their number is watched as well.
        """
        at, client = self._monotonic(), self._handler.client
        if client.is_connected():
            self._down_since = None
            if self._connections >= MANY_CONNECTIONS:
                return f"slack counts {self._connections} connections of this app; clicks may be lost, use /trimtab or the inbox"
            return ""
        self._down_since = at if self._down_since is None else self._down_since
        if at - self._down_since < DEAD_SECONDS:
            return ""
        self._down_since = at
        try:
            client.connect_to_new_endpoint(force=True)
        except Exception as error:  # the client raises whatever its transport does
            return f"the connection to slack is dead and cannot be made anew ({type(error).__name__})"
        return "the connection to slack was dead and is made anew"

    def stop(self) -> None:
        """Closes the connection and its threads."""
        client = self._handler.client
        client.auto_reconnect_enabled = False
        # Shut down first, the thread that reads sees the end at once instead of at its next time-out, which closing waits for.
        session = client.current_session
        if session is not None and session.sock is not None:
            with suppress(OSError):
                session.sock.shutdown(socket.SHUT_RDWR)
        client.disconnect()
        self._handler.close()  # type: ignore[no-untyped-call] # slack_bolt's handler has no types


def _value(body: dict[str, Any]) -> tuple[str, str]:
    proposal, _, digest = str(body["actions"][0].get("value") or "").partition(" ")
    return proposal, digest


def _user(body: dict[str, Any]) -> str:
    return str((body.get("user") or {}).get("id") or body.get("user_id") or "")


def _team(body: dict[str, Any]) -> str:
    return str((body.get("team") or {}).get("id") or body.get("team_id") or "")


def _wish(body: dict[str, Any], verb: str, proposal: str = "", digest: str = "", text: str = "") -> Wish:
    """What a request asks for, without anything that it carries beside."""
    return Wish(
        verb=verb,
        team=_team(body),
        user=_user(body),
        user_team=str((body.get("user") or {}).get("team_id") or ""),
        enterprise=str(body.get("is_enterprise_install", "")).lower() == "true",
        channel=str((body.get("channel") or {}).get("id") or body.get("channel_id") or ""),
        proposal=proposal,
        digest=digest,
        text=text,
        answer_to=str(body.get("response_url") or ""),
    )


def _key(body: dict[str, Any]) -> str:
    """What names this one request: its trigger is Slack's own, made for each interaction, and equal in a repeat."""
    actions = body.get("actions") or [{}]
    return f"{_team(body)}/{_user(body)}/{body.get('trigger_id', '')}/{actions[0].get('action_ts', '')}"


def _told(result: DecisionResult) -> Answer:
    if isinstance(result, Accepted):
        return Answer(escaped(result.message), done=True)
    return Answer(escaped(f"{result.code} {result.reason}"), done=False)
