"""Listens to Slack: buttons, the modal and ``/trimtab``, by Socket Mode. All of them are wishes of a person.

Who asks is what Slack says, compared exactly with the configured ids: the workspace's own, never a guest, never somebody of
another workspace in a shared channel. What they wish goes through the same door as the inbox's (:class:`Decisions`), which
has it on disk before it answers; only then is Slack told that it arrived. A repeat of a click finds the decision taken.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from slack_bolt import App
from slack_bolt.adapter.socket_mode import SocketModeHandler
from slack_sdk.errors import SlackClientError

from trimtab_bot.chat.slack.blocks import APPROVE, DENY, DENY_VIEW, deny_view, escaped
from trimtab_bot.commands import Actor, Where
from trimtab_bot.inbox.interface import Accepted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from slack_sdk import WebClient

    from trimtab_bot.commands import Commands
    from trimtab_bot.inbox.interface import DecisionResult, Decisions

COMMAND = "/trimtab"
_MEMBER_SECONDS = 60.0
_NOT_LINKED = "B440 your Slack account belongs to nobody who is configured; ask for your id to be listed under people"
_OUTSIDE = "B441 only members of this workspace decide here, not guests or people of another workspace"


class Members:
    """Who of the workspace is a full member. Asked of Slack, and believed for a minute."""

    def __init__(self, client: WebClient, team: str, clock: Callable[[], float] = time.monotonic) -> None:
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


class SlackListener:
    """The running listener. ``people`` maps a Slack user id to a person's id."""

    def __init__(
        self, client: WebClient, team: str, people: Mapping[str, str], decisions: Decisions, commands: Commands
    ) -> None:
        self._team = team
        self._people = dict(people)
        self._decisions = decisions
        self._commands = commands
        self._members = Members(client, team)
        # The library writes whole requests into its log when a signature is wrong; ours says what is worth saying.
        logger = logging.getLogger("trimtab.slack")
        self.app = App(client=client, token_verification_enabled=False, logger=logger)
        self.app.action(APPROVE)(self._approve)
        self.app.action(DENY)(self._ask_why)
        self.app.view(DENY_VIEW)(self._deny)
        self.app.command(COMMAND)(self._command)

    # ------------------------------------------------ buttons

    def _approve(self, ack: Callable[..., None], body: dict[str, Any], respond: Callable[..., Any]) -> None:
        proposal, digest = _value(body)
        answer = self._decide(body, lambda person: self._decisions.approve(proposal, person, digest))
        ack()
        respond(text=answer, response_type="ephemeral", replace_original=False)

    def _ask_why(
        self, ack: Callable[..., None], body: dict[str, Any], client: WebClient, respond: Callable[..., Any]
    ) -> None:
        refused = self._refusal(body)
        ack()
        if refused:
            respond(text=refused, response_type="ephemeral", replace_original=False)
            return
        proposal, digest = _value(body)
        found = self._decisions.proposal(proposal)
        title = found.title if found is not None else proposal
        client.views_open(trigger_id=body["trigger_id"], view=deny_view(f"{proposal} {digest}", title))

    def _deny(self, ack: Callable[..., None], body: dict[str, Any]) -> None:
        proposal, _, digest = str(body["view"]["private_metadata"]).partition(" ")
        reason = str(body["view"]["state"]["values"]["reason"]["text"]["value"] or "")
        said: list[DecisionResult] = []

        def decide(person: str) -> DecisionResult:
            said.append(self._decisions.deny(proposal, person, digest, reason))
            return said[0]

        answer = self._decide(body, decide)
        if said and isinstance(said[0], Accepted):
            ack()
        else:
            ack(response_action="errors", errors={"reason": answer[:150]})

    # ------------------------------------------------ the command

    def _command(self, ack: Callable[..., None], body: dict[str, Any]) -> None:
        refused = self._refusal(body)
        if refused:
            ack(text=refused)
            return
        user = _user(body)
        actor = Actor(self._people.get(user, ""), f"slack:{self._team}/{user}")
        where = Where("slack", str(body.get("channel_id") or ""))
        reply = self._commands.say(str(body.get("text") or ""), actor, where)
        text = "\n".join(escaped(line, 500) for line in reply.text.split("\n"))
        ack(text=f"```{text}```" if text.startswith(f"{COMMAND} ") else text)

    # ------------------------------------------------ who

    def _decide(self, body: dict[str, Any], decide: Callable[[str], DecisionResult]) -> str:
        return self._refusal(body) or _told(decide(self._people[_user(body)]))

    def _refusal(self, body: dict[str, Any]) -> str:
        """Why this person is not heard; "" where they are."""
        user = _user(body)
        teams = {_team(body), str((body.get("user") or {}).get("team_id") or self._team)}
        if teams != {self._team} or body.get("is_enterprise_install") == "true":
            return _OUTSIDE
        if user not in self._people:
            return _NOT_LINKED
        return "" if self._members.is_member(user) else _OUTSIDE


class SlackConnection:
    """Socket Mode: the listener's connection to Slack. Stops with :meth:`stop`."""

    def __init__(self, listener: SlackListener, app_token: str, ping_seconds: float = 10.0) -> None:
        self._handler = SocketModeHandler(
            listener.app, app_token, web_client=listener.app.client, ping_interval=ping_seconds, concurrency=4
        )

    def start(self) -> None:
        """Connects; a connection that breaks is made anew by the client, and pinged so that a dead one is noticed."""
        self._handler.connect()  # type: ignore[no-untyped-call]

    def stop(self) -> None:
        """Closes the connection and its threads."""
        # Disconnected first, the thread that reads sees the end at once instead of at its next time-out.
        self._handler.client.auto_reconnect_enabled = False
        self._handler.client.disconnect()
        self._handler.close()  # type: ignore[no-untyped-call]


def _value(body: dict[str, Any]) -> tuple[str, str]:
    proposal, _, digest = str(body["actions"][0].get("value") or "").partition(" ")
    return proposal, digest


def _user(body: dict[str, Any]) -> str:
    return str((body.get("user") or {}).get("id") or body.get("user_id") or "")


def _team(body: dict[str, Any]) -> str:
    return str((body.get("team") or {}).get("id") or body.get("team_id") or "")


def _told(result: DecisionResult) -> str:
    return escaped(result.message if isinstance(result, Accepted) else f"{result.code} {result.reason}")
