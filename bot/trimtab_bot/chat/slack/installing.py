"""Installs the app into a workspace by OAuth (https://docs.slack.dev/authentication/installing-with-oauth).

slack_bolt's flow, with the bot's own tickets as its states: single-use, ten minutes, bound to the browser and to the person who
began. What is not allowed is refused before anything is kept, and the token that came with it is given back to Slack.
"""

from __future__ import annotations

import contextlib
import logging
import urllib.error
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slack_bolt import BoltRequest, BoltResponse
from slack_bolt.oauth import OAuthFlow
from slack_bolt.oauth.callback_options import CallbackOptions, FailureArgs, SuccessArgs
from slack_bolt.oauth.oauth_settings import OAuthSettings
from slack_sdk.errors import SlackClientError
from slack_sdk.oauth import OAuthStateUtils
from slack_sdk.oauth.state_store import OAuthStateStore

from trimtab_bot.chat.slack.manifest import SCOPES
from trimtab_bot.chat.slack.workspaces import SILENT, quiet_client
from trimtab_kernel.problems import OutsideError, RefusedError, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slack_sdk.oauth.installation_store import Installation

    from trimtab_bot.chat.slack.workspaces import SealedInstallations
    from trimtab_bot.store.interface import Ticket
    from trimtab_bot.tickets import Tickets

INSTALL_PATH = "/slack/install"
REDIRECT_PATH = "/slack/oauth_redirect"
PURPOSE = "slack-install"


@dataclass(frozen=True, slots=True)
class Begun:
    """Where the browser goes, and the secret that it keeps meanwhile."""

    url: str
    browser: str


class _Round(OAuthStateStore, OAuthStateUtils):
    """The state of one request: slack_bolt asks for it and gives it back here."""

    def __init__(self, tickets: Tickets, person: str, browser: str) -> None:
        OAuthStateUtils.__init__(self)
        self._tickets = tickets
        self._person = person
        self.browser = browser
        self.ticket: Ticket | None = None
        self.refused: RefusedError | None = None

    @property
    def logger(self) -> logging.Logger:
        return logging.getLogger("trimtab.slack")

    def issue(self, *_: object, **__: object) -> str:
        handed = self._tickets.issue(PURPOSE, self._person)
        self.browser = handed.browser
        return handed.value

    def consume(self, state: str) -> bool:
        try:
            self.ticket = self._tickets.take(PURPOSE, state or "", self.browser)
        except RefusedError as error:
            self.refused = error
        return self.refused is None

    def is_valid_browser(self, state: str | None, request_headers: Mapping[str, Any]) -> bool:
        """Judged with the state, by a secret of its own."""
        del state, request_headers
        return True


class _Flow(OAuthFlow):
    """slack_bolt's flow for one request."""

    def __init__(self, settings: OAuthSettings, round_: _Round, api_url: str) -> None:
        # slack_bolt would log the code of a failure; what is worth saying is said to the person.
        super().__init__(client=quiet_client(api_url), logger=SILENT, settings=settings)
        self._round = round_
        self.refused: RefusedError | None = None
        self.installed: Installation | None = None

    def store_installation(self, request: BoltRequest, installation: Installation) -> None:
        """Keep it, or give the token back."""
        del request
        ticket = self._round.ticket
        assert ticket is not None
        installation.custom_values = {"person": ticket.person}
        try:
            self.settings.installation_store.save(installation)
        except RefusedError as error:
            self.refused = error
            with contextlib.suppress(SlackClientError, urllib.error.URLError, OSError):
                self.client.auth_revoke(token=installation.bot_token)
            return
        self.installed = installation


class Installer:
    """Begins and ends installations. Any thread may use it."""

    def __init__(
        self,
        tickets: Tickets,
        installations: SealedInstallations,
        client_id: str,
        client_secret: str,
        api_url: str,
        authorize_url: str,
    ) -> None:
        """``authorize_url`` is the page at which Slack asks the person."""
        self._tickets = tickets
        self._installations = installations
        self._client_id = client_id
        self._client_secret = client_secret
        self._api_url = api_url
        self._authorize_url = authorize_url

    def begin(self, person: str, base: str) -> Begun:
        """``base`` is our own address, to which Slack sends the browser back. Raises OutsideError."""
        round_ = _Round(self._tickets, person, "")
        answer = self._flow(round_, base).handle_installation(BoltRequest(body="", query={}))
        return Begun(str(answer.first_headers()["location"]), round_.browser)

    def finish(self, query: Mapping[str, str], browser: str, base: str) -> Installation:
        """What Slack sent back, with the browser's secret. Raises RefusedError with the reason, and OutsideError."""
        round_ = _Round(self._tickets, "", browser)
        flow = self._flow(round_, base)
        try:
            answer = flow.handle_callback(BoltRequest(body="", query=dict(query)))
        except (SlackClientError, urllib.error.URLError, OSError, ValueError) as error:
            raise OutsideError(f"slack did not answer ({type(error).__name__}); begin again") from None
        refused = round_.refused or flow.refused
        if refused is not None:
            raise refused
        if flow.installed is None:
            raise RefusedError("B488", _REASONS.get(answer.body, f"slack sent back: {printable(answer.body, 100)}"))
        return flow.installed

    def _flow(self, round_: _Round, base: str) -> _Flow:
        settings = OAuthSettings(
            client_id=self._client_id,
            client_secret=self._client_secret,
            scopes=list(SCOPES),
            user_scopes=[],
            redirect_uri=f"{base}{REDIRECT_PATH}",
            authorization_url=self._authorize_url,
            install_page_rendering_enabled=False,
            installation_store=self._installations,
            state_store=round_,
            callback_options=CallbackOptions(success=_success, failure=_failure),
        )
        settings.state_utils = round_
        return _Flow(settings, round_, self._api_url)


_REASONS = {
    "invalid_code": "slack did not take the code: it is wrong, was used already, or is too old; begin again",
    "missing_code": "slack sent no code back; begin again",
    "access_denied": "somebody pressed Cancel at slack; nothing was installed",
}


def _success(_: SuccessArgs) -> BoltResponse:
    return BoltResponse(status=200, body="")


def _failure(args: FailureArgs) -> BoltResponse:
    return BoltResponse(status=args.suggested_status_code, body=args.reason)
