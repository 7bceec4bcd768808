"""In which workspaces the bot is, with whose token, and who is who there.

One workspace by a token of the configuration, or several that are allowed by the configuration and installed by OAuth. A
person is known by workspace and member id together, so that nobody of one workspace is anybody in another.
"""

from __future__ import annotations

import logging
import urllib.error
from typing import TYPE_CHECKING, Protocol

from slack_sdk.errors import SlackClientError, SlackTokenRotationError
from slack_sdk.http_retry.builtin_handlers import RateLimitErrorRetryHandler
from slack_sdk.oauth.installation_store import Bot, Installation, InstallationStore
from slack_sdk.oauth.token_rotation import TokenRotator
from slack_sdk.web import WebClient

from trimtab_bot.chat.slack.room import TIMEOUT, SlackRoom, web_client
from trimtab_bot.ledger.interface import EntryKind
from trimtab_bot.moments import moment_text
from trimtab_bot.recording import record
from trimtab_bot.store.interface import Sealed
from trimtab_kernel.problems import OutsideError, RefusedError, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slack_sdk.http_retry.handler import RetryHandler

    from trimtab_bot.chat.interface import Message, Place, Reply
    from trimtab_bot.moments import Clock
    from trimtab_bot.sealing import Seal
    from trimtab_bot.store.interface import Store

KIND = "slack-installation"
SILENT = logging.getLogger("trimtab.slack.silent")
SILENT.disabled = True
_MINUTES_BEFORE = 120


class Workspaces(Protocol):
    """What the listener knows of workspaces. Any thread may ask."""

    def has(self, team: str) -> bool:
        """Whether people of this workspace may be heard at all."""
        ...

    def person(self, team: str, user: str) -> str:
        """The person's id; "" for nobody's account."""
        ...

    def client(self, team: str) -> WebClient | None:
        """Speaks to the workspace; None where the bot is not in it. Raises OutsideError."""
        ...

    def bot_user(self, team: str) -> str:
        """The bot's own account there; "" where it is not known."""
        ...

    def left(self, team: str, told_at: float, why: str) -> bool:
        """Slack says that the bot is no longer in it since then (Unix seconds); whether that ended an installation."""
        ...


class OneWorkspace:
    """The one workspace of a token."""

    def __init__(self, client: WebClient, team: str, people: Mapping[str, str]) -> None:
        """``people`` maps a member's id to a person's."""
        self._client = client
        self._team = team
        self._people = dict(people)

    def has(self, team: str) -> bool:
        """See Workspaces."""
        return team == self._team

    def person(self, team: str, user: str) -> str:
        """See Workspaces."""
        return self._people.get(user, "") if team == self._team else ""

    def client(self, team: str) -> WebClient | None:
        """See Workspaces."""
        return self._client if team == self._team else None

    def bot_user(self, team: str) -> str:
        """See Workspaces. Not asked for: the token says who we are."""
        del team
        return ""

    def left(self, team: str, told_at: float, why: str) -> bool:
        """See Workspaces. A token of the configuration is not ours to forget."""
        del team, told_at, why
        return False


class SealedInstallations(InstallationStore):
    """slack_sdk's port to installations, over the bot's own store, under seal. Any thread and any replica may use it.

    ``save`` refuses what is not allowed (RefusedError B489, B490) before anything is kept.
    """

    def __init__(self, store: Store, seal: Seal, allowed: Mapping[str, str], clock: Clock) -> None:
        """``allowed`` maps the workspaces that may install the app to their channels; ``clock`` gives Unix seconds."""
        self._store = store
        self._seal = seal
        self._allowed = dict(allowed)
        self._clock = clock

    @property
    def logger(self) -> logging.Logger:
        """See InstallationStore."""
        return logging.getLogger("trimtab.slack")

    def save(self, installation: Installation) -> None:
        """See InstallationStore; ``custom_values["person"]`` is who installed it here."""
        team = installation.team_id or ""
        if installation.is_enterprise_install or not team:
            raise RefusedError("B490", "the app was installed for a whole organisation; install it into one workspace")
        if team not in self._allowed:
            listed = ", ".join(sorted(self._allowed))
            raise RefusedError("B489", f"workspace {printable(team, 30)} is not listed in slack.workspaces ({listed})")
        person = str((installation.custom_values or {}).get("person", ""))
        name = printable(installation.team_name or "", 80)
        self._put(installation, "workspace-installed", person, f"{person} installed the app into {team} {name}".strip())

    def renewed(self, installation: Installation) -> None:
        """Keep a token that was renewed."""
        self._put(installation)

    def _put(self, installation: Installation, event: str = "", person: str = "", text: str = "") -> None:
        team, at = installation.team_id or "", self._clock()
        known = installation.to_dict_for_copying()
        # Of the person who installed it nothing is needed, so nothing is kept.
        kept = {name: value for name, value in known.items() if value is not None and not name.startswith("user_")}
        installed_at = at if event else float(installation.installed_at or at)
        kept.update(user_id=installation.user_id, installed_at=installed_at)
        if installation.bot_token_expires_at is not None:
            kept["bot_token_expires_at"] = installation.bot_token_expires_at
        with self._store.transaction() as work:
            if not event and work.sealed(KIND, team) is None:
                return  # it was removed while its token was renewed
            work.put_sealed(Sealed(KIND, team, team, installed_at, self._seal.seal(f"{KIND}/{team}", kept)))
            if event:
                key = f"slack/{team}/{event}/{moment_text(at)}"
                body = {"team": team, "person": person, "text": text}
                work.add_record(record(key, EntryKind.DECISION, at, f"slack/{team}", event, **body))

    def of(self, team: str) -> Installation | None:
        """The installation in an allowed workspace. Raises OutsideError where it cannot be opened."""
        if team not in self._allowed:
            return None
        with self._store.reading() as view:
            found = view.sealed(KIND, team)
        if found is None:
            return None
        return Installation(**self._seal.open(f"{KIND}/{team}", found.body))

    def forget(self, team: str, told_at: float, why: str) -> bool:
        """Drop an installation that is older than what is told of it; whether one was dropped."""
        with self._store.transaction() as work:
            found = work.sealed(KIND, team)
            if found is None or found.at > told_at:
                return False
            work.drop_sealed(KIND, team)
            at = self._clock()
            key = f"slack/{team}/workspace-removed/{moment_text(at)}"
            text = f"the app is no longer in {team}: {why}"
            work.add_record(
                record(key, EntryKind.EVIDENCE, at, f"slack/{team}", "workspace-removed", team=team, text=text)
            )
        return True

    # ------------------------------------------------ the rest of slack_sdk's port

    def find_bot(
        self, *, enterprise_id: str | None, team_id: str | None, is_enterprise_install: bool | None = False
    ) -> Bot | None:
        """See InstallationStore."""
        found = self.find_installation(
            enterprise_id=enterprise_id, team_id=team_id, is_enterprise_install=is_enterprise_install
        )
        return None if found is None else found.to_bot()

    def find_installation(
        self,
        *,
        enterprise_id: str | None,
        team_id: str | None,
        user_id: str | None = None,
        is_enterprise_install: bool | None = False,
    ) -> Installation | None:
        """See InstallationStore. An installation is of one workspace, never of an organisation."""
        del enterprise_id, user_id
        return None if is_enterprise_install else self.of(team_id or "")

    def delete_bot(self, *, enterprise_id: str | None, team_id: str | None) -> None:
        """See InstallationStore."""
        self.delete_installation(enterprise_id=enterprise_id, team_id=team_id)

    def delete_installation(
        self, *, enterprise_id: str | None, team_id: str | None, user_id: str | None = None
    ) -> None:
        """See InstallationStore."""
        del enterprise_id, user_id
        self.forget(team_id or "", self._clock(), "deleted")


class InstalledWorkspaces:
    """The workspaces that are allowed, as far as the app is installed in them."""

    def __init__(
        self,
        installations: SealedInstallations,
        channels: Mapping[str, str],
        people: Mapping[tuple[str, str], str],
        api_url: str,
        client_id: str,
        client_secret: str,
    ) -> None:
        """``people`` maps workspace and member id to a person's id."""
        self._installations = installations
        self._channels = dict(channels)
        self._people = dict(people)
        self._api_url = api_url
        self._rotator = TokenRotator(
            client_id=client_id, client_secret=client_secret, client=quiet_client(api_url, retries=0)
        )

    def has(self, team: str) -> bool:
        """See Workspaces."""
        return team in self._channels and self._installations.of(team) is not None

    def person(self, team: str, user: str) -> str:
        """See Workspaces."""
        return self._people.get((team, user), "")

    def client(self, team: str) -> WebClient | None:
        """See Workspaces."""
        found = self._installations.of(team)
        return None if found is None or not found.bot_token else web_client(found.bot_token, self._api_url)

    def bot_user(self, team: str) -> str:
        """See Workspaces."""
        found = self._installations.of(team)
        return "" if found is None else found.bot_user_id or ""

    def left(self, team: str, told_at: float, why: str) -> bool:
        """See Workspaces."""
        return self._installations.forget(team, told_at, why)

    def refresh(self, team: str) -> bool:
        """Renew a token that soon ends; whether the app is installed there. Used by who leads alone.

        Slack takes a refresh token once, so two at a time would lock each other out. Raises OutsideError.
        """
        found = self._installations.of(team)
        if found is None:
            return False
        try:
            bot = self._rotator.perform_bot_token_rotation(
                bot=found.to_bot(), minutes_before_expiration=_MINUTES_BEFORE
            )
        except SlackTokenRotationError as error:
            reason = error.api_error.response.get("error", "")
            raise OutsideError(
                f"slack: the token of {team} cannot be renewed: {printable(str(reason), 80)}; install the app again"
            ) from None
        except (SlackClientError, urllib.error.URLError, OSError, ValueError, KeyError) as error:
            raise OutsideError(f"slack: the token of {team} cannot be renewed ({type(error).__name__})") from None
        if bot is not None:
            found.bot_token, found.bot_refresh_token = bot.bot_token, bot.bot_refresh_token
            found.bot_token_expires_at = bot.bot_token_expires_at
            self._installations.renewed(found)
        return True


class InstalledRoom:
    """A :class:`trimtab_bot.chat.interface.ChatRoom` in a workspace's channel, with the token of the moment."""

    def __init__(self, workspaces: InstalledWorkspaces, team: str, channel: str) -> None:
        self._workspaces = workspaces
        self._team = team
        self._channel = channel

    def _room(self) -> SlackRoom:
        client = self._workspaces.client(self._team)
        if client is None:
            raise OutsideError(f"slack: the app is not installed in {self._team}")
        return SlackRoom(client, self._channel)

    def find(self, incident: str) -> Place | None:
        """See ChatRoom."""
        return self._room().find(incident)

    def post(self, message: Message) -> Place:
        """See ChatRoom."""
        return self._room().post(message)

    def has_reply(self, place: Place, through: int) -> bool:
        """See ChatRoom."""
        return self._room().has_reply(place, through)

    def reply(self, place: Place, reply: Reply) -> None:
        """See ChatRoom."""
        self._room().reply(place, reply)

    def update(self, place: Place, message: Message) -> None:
        """See ChatRoom."""
        self._room().update(place, message)


def quiet_client(api_url: str, retries: int = 2) -> WebClient:
    """A client for exchanging codes and tokens: its own log would show both, so it writes none.

    A limit is waited for ``retries`` times; a code that was not looked at is still good.
    """
    handlers: list[RetryHandler] = [RateLimitErrorRetryHandler(max_retry_count=retries)] if retries else []
    return WebClient(base_url=api_url, timeout=TIMEOUT, retry_handlers=handlers, logger=SILENT)
