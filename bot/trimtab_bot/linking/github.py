"""GitHub's web flow for a GitHub App's user tokens, with state and PKCE (RFC 7636), and what ends them.

https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-user-access-token-for-a-github-app.
PyGithub has no word for PKCE, so this speaks HTTP itself. No token, code or secret is in an error or a log.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import requests

from trimtab_kernel.problems import OutsideError, RefusedError, printable

if TYPE_CHECKING:
    from trimtab_bot.moments import Clock

TIMEOUT = 15
MAX_ANSWER = 64 * 1024
_NEVER = 0.0


@dataclass(frozen=True, slots=True)
class Tokens:
    """What GitHub gave for a person; ``expires_at`` in Unix seconds, 0 for one that does not end."""

    access: str
    refresh: str
    expires_at: float

    def __repr__(self) -> str:
        """Shows neither."""
        return "Tokens(...)"


def site_of(api_url: str) -> str:
    """Where people log in, for the address of an API: github.com, GitHub Enterprise Cloud (ghe.com) or Server."""
    parts = urlsplit(api_url.rstrip("/"))
    host = parts.netloc.removeprefix("api.") if not parts.path else parts.netloc
    return f"{parts.scheme}://{host}"


def challenge_of(verifier: str) -> str:
    """S256 of RFC 7636."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


class GitHubOAuth:
    """One App's side of the flow. Any thread may use it."""

    def __init__(self, api_url: str, client_id: str, client_secret: str, clock: Clock) -> None:
        """``clock`` gives Unix seconds."""
        self.site = site_of(api_url)
        self._api_url = api_url.rstrip("/")
        self._client_id = client_id
        self._client_secret = client_secret
        self._clock = clock

    def authorize_url(self, state: str, verifier: str, redirect: str) -> str:
        """Where the person says yes."""
        asked = {
            "client_id": self._client_id,
            "redirect_uri": redirect,
            "state": state,
            "code_challenge": challenge_of(verifier),
            "code_challenge_method": "S256",
            "allow_signup": "false",
        }
        return f"{self.site}/login/oauth/authorize?{urlencode(asked)}"

    def exchange(self, code: str, verifier: str, redirect: str) -> Tokens:
        """The code for tokens. Raises RefusedError (B488) where GitHub does not take it, OutsideError."""
        found = self._ask({"code": code, "code_verifier": verifier, "redirect_uri": redirect})
        if "error" in found:
            raise RefusedError("B488", f"GitHub did not take the code ({_word(found['error'])}); begin again")
        return self._tokens(found)

    def refreshed(self, tokens: Tokens) -> Tokens | None:
        """New tokens for those that end; None where GitHub no longer takes them. Raises OutsideError."""
        found = self._ask({"grant_type": "refresh_token", "refresh_token": tokens.refresh})
        return None if "error" in found else self._tokens(found)

    def revoke(self, tokens: Tokens) -> None:
        """Give the token back. Where GitHub does not answer, it ends by itself, or at the person's settings there."""
        with contextlib.suppress(requests.RequestException):
            requests.delete(
                f"{self._api_url}/applications/{self._client_id}/token",
                json={"access_token": tokens.access},
                auth=(self._client_id, self._client_secret),
                headers={"Accept": "application/vnd.github+json"},
                timeout=TIMEOUT,
                allow_redirects=False,
            ).close()

    def _ask(self, given: dict[str, str]) -> dict[str, Any]:
        data = {"client_id": self._client_id, "client_secret": self._client_secret, **given}
        try:
            with requests.post(
                f"{self.site}/login/oauth/access_token",
                data=data,
                headers={"Accept": "application/json"},
                timeout=TIMEOUT,
                allow_redirects=False,
                stream=True,
            ) as answer:
                content = answer.raw.read(MAX_ANSWER, decode_content=True)
                status, found = answer.status_code, _json(content)
        except requests.RequestException as error:
            raise OutsideError(f"GitHub did not answer ({type(error).__name__}); try again") from None
        if status != requests.codes.ok or found is None:
            raise OutsideError(f"GitHub answered {status} where tokens are given; try again")
        return found

    def _tokens(self, found: dict[str, Any]) -> Tokens:
        access, refresh, seconds = found.get("access_token"), found.get("refresh_token"), found.get("expires_in")
        if not isinstance(access, str) or not access:
            raise OutsideError("GitHub's answer has no token; try again")
        lasts = float(seconds) if isinstance(seconds, (int, float)) and seconds > 0 else 0.0
        return Tokens(access, refresh if isinstance(refresh, str) else "", self._clock() + lasts if lasts else _NEVER)


def _json(content: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(content)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _word(value: object) -> str:
    return printable(str(value), 60)
