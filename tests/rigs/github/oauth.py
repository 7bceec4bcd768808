"""GitHub's side of an App's web flow: who says yes, codes that are good once, PKCE, tokens that end, are renewed or revoked."""

from __future__ import annotations

import base64
import hashlib
import html
import itertools
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from tests.rigs.github.server import User

Json: TypeAlias = Any
SITE = "/login/oauth/"


@dataclass(slots=True)
class Code:
    """What somebody consented to."""

    user: User
    redirect: str
    challenge: str
    used: bool = False


@dataclass(slots=True)
class OAuth:
    """One App's OAuth. Used under the rig's lock, or by the one test."""

    client_id: str = "Iv1.rig"
    client_secret: str = "secret-of-the-github-app"
    clock: Callable[[], float] = time.time
    expires_in: int = 28800
    """Seconds that a token lasts; 0 for tokens that do not end."""
    permissions: set[str] = field(default_factory=lambda: {"pull_requests"})
    """What the App was granted to write."""
    codes: dict[str, Code] = field(default_factory=dict)
    tokens: dict[str, tuple[User, float]] = field(default_factory=dict)
    """Each token, whose it is, and when it ends (0 for never)."""
    refresh: dict[str, User] = field(default_factory=dict)
    revoked: list[str] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def consent(self, url: str, user: User) -> str:
        """Somebody says yes; gives where their browser is sent."""
        asked = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))
        assert asked["client_id"] == self.client_id, asked
        assert asked["code_challenge_method"] == "S256", asked
        code = f"code-{next(self._numbers)}-of-{user.login}"
        self.codes[code] = Code(user, asked["redirect_uri"], asked["code_challenge"])
        return f"{asked['redirect_uri']}?{urllib.parse.urlencode({'code': code, 'state': asked['state']})}"

    def page(self, url: str, users: list[User]) -> bytes:
        """The page on which GitHub asks: one link for each person who could be logged in."""
        found = "".join(
            f'<p><a id="{user.login}" href="{html.escape(self.consent(url, user))}">{user.login}</a></p>'
            for user in users
        )
        return f"<!doctype html><title>rig</title>{found}".encode()

    def access_token(self, body: bytes) -> Json:
        """``login/oauth/access_token``; mistakes are answered with 200 and an error, as GitHub does."""
        given = dict(urllib.parse.parse_qsl(body.decode()))
        if (given.get("client_id"), given.get("client_secret")) != (self.client_id, self.client_secret):
            return {"error": "incorrect_client_credentials", "error_description": "wrong"}
        if given.get("grant_type") == "refresh_token":
            user = self.refresh.pop(given.get("refresh_token", ""), None)
            if user is None:
                return {"error": "bad_refresh_token", "error_description": "wrong"}
            self.forget(user)
            return self._made(user)
        code = self.codes.get(given.get("code", ""))
        if code is None or code.used:
            return {"error": "bad_verification_code", "error_description": "incorrect or expired"}
        if given.get("redirect_uri") != code.redirect:
            return {"error": "redirect_uri_mismatch", "error_description": "wrong"}
        digest = hashlib.sha256(given.get("code_verifier", "").encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != code.challenge:
            return {"error": "bad_verification_code", "error_description": "PKCE"}
        code.used = True
        return self._made(code.user)

    def user(self, token: str) -> User | None:
        """Whose token it is, while it holds."""
        found = self.tokens.get(token)
        if found is None or (found[1] and found[1] <= self.clock()):
            return None
        return found[0]

    def revoke(self, path: str, credentials: str, given: Json) -> int:
        """``DELETE /applications/CLIENT/token``; gives the status."""
        wanted = base64.b64encode(f"{self.client_id}:{self.client_secret}".encode()).decode()
        if path != f"/applications/{self.client_id}/token" or credentials != wanted:
            return 404
        if self.tokens.pop(given["access_token"], None) is None:
            return 422
        self.revoked.append(given["access_token"])
        return 204

    def forget(self, user: User) -> None:
        """The person ends it at GitHub, in their settings."""
        self.tokens = {token: found for token, found in self.tokens.items() if found[0] != user}
        self.refresh = {token: found for token, found in self.refresh.items() if found != user}

    def _made(self, user: User) -> Json:
        number = next(self._numbers)
        made = {"access_token": f"ghu_{number}-secret-of-{user.login}", "token_type": "bearer", "scope": ""}
        until = self.clock() + self.expires_in if self.expires_in else 0.0
        self.tokens[made["access_token"]] = (user, until)
        if not self.expires_in:
            return made
        renewing = f"ghr_{number}-secret-of-{user.login}"
        self.refresh[renewing] = user
        return {
            **made,
            "expires_in": self.expires_in,
            "refresh_token": renewing,
            "refresh_token_expires_in": 15_897_600,
        }
