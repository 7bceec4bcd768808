"""Slack's side of OAuth: what people consent to, codes that are good once, tokens of workspaces, and their renewal."""

from __future__ import annotations

import itertools
import urllib.parse
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Json: TypeAlias = Any


@dataclass(slots=True)
class OAuth:
    """One app's OAuth. Used under the rig's lock, or before anything runs."""

    tokens: dict[str, str]
    """Each token that holds, and its workspace."""
    client_id: str = "1.2"
    client_secret: str = "secret-of-the-app"
    teams: set[str] = field(default_factory=lambda: {"T0HOME", "T0SECOND"})
    rotates: bool = False
    expires_in: int = 43200
    refresh: dict[str, str] = field(default_factory=dict)
    codes: dict[str, tuple[str, str, bool]] = field(default_factory=dict)
    """Each code: its workspace, its redirect, and whether it was used."""
    enterprise: bool = False
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def consent(self, url: str, team: str) -> str:
        """Somebody says yes for a workspace; gives where their browser is sent."""
        asked = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))
        assert asked["client_id"] == self.client_id, asked
        assert "chat:write" in asked["scope"], asked
        code = f"code-{next(self._numbers)}-of-{team}"
        self.codes[code] = (team, asked["redirect_uri"], False)
        return f"{asked['redirect_uri']}?{urllib.parse.urlencode({'code': code, 'state': asked['state']})}"

    def call(self, method: str, token: str, given: dict[str, Json]) -> dict[str, Json] | None:
        """The methods about tokens themselves; None for another one."""
        if method == "oauth.v2.access":
            return self.access(given)
        if method == "auth.revoke" and token in self.tokens:
            del self.tokens[token]
            return {"ok": True, "revoked": True}
        return None

    def access(self, given: dict[str, Json]) -> dict[str, Json]:
        """``oauth.v2.access``."""
        if (given.get("client_id"), given.get("client_secret")) != (self.client_id, self.client_secret):
            return {"ok": False, "error": "bad_client_secret"}
        if given.get("grant_type") == "refresh_token":
            team = self.refresh.pop(str(given.get("refresh_token")), None)
            if team is None:
                return {"ok": False, "error": "invalid_refresh_token"}
            self.tokens = {token: each for token, each in self.tokens.items() if each != team}
            return self._made(team)
        found = self.codes.get(str(given.get("code")))
        if found is None:
            return {"ok": False, "error": "invalid_code"}
        team, redirect, used = found
        if used:
            return {"ok": False, "error": "code_already_used"}
        if given.get("redirect_uri") != redirect:
            return {"ok": False, "error": "bad_redirect_uri"}
        self.codes[str(given["code"])] = (team, redirect, True)
        return self._made(team)

    def _made(self, team: str) -> dict[str, Json]:
        number = next(self._numbers)
        token = f"xoxb-{number}-secret-of-{team}"
        self.tokens[token] = team
        made: dict[str, Json] = {
            "ok": True,
            "access_token": token,
            "token_type": "bot",
            "scope": "chat:write,commands",
            "bot_user_id": f"U0{team}",
            "app_id": "A1",
            "team": {"id": team, "name": f"Workspace <{team}>"},
            "enterprise": None,
            "authed_user": {"id": "U0ADMIN"},
            "is_enterprise_install": self.enterprise,
        }
        if self.rotates:
            made["refresh_token"] = f"xoxe-1-{number}-secret"
            made["expires_in"] = self.expires_in
            self.refresh[made["refresh_token"]] = team
        return made
