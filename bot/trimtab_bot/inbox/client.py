"""The inbox's JSON API, seen from a terminal. Acts only as the person whose token it was given."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlsplit

import requests

from trimtab_kernel.problems import InputError, OutsideError, Problem, RefusedError, printable, quoted

_TIMEOUT_SECONDS = 15.0
_MAX_ANSWER = 16 * 1024 * 1024


class InboxClient:
    """One base URL and one token. Raises OutsideError, RefusedError or InputError, never a transport's own error."""

    def __init__(self, url: str, token: str) -> None:
        """Raises :class:`InputError` for a URL that is not http(s), or plain http to another machine."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.password:
            raise InputError(
                Problem(
                    "B426",
                    "",
                    0,
                    "--url",
                    quoted(parts._replace(netloc=parts.hostname or "").geturl()),
                    "http://HOST:PORT without credentials",
                )
            )
        if parts.scheme == "http" and parts.hostname not in {"127.0.0.1", "::1", "localhost"}:
            raise InputError(
                Problem(
                    "B426",
                    "",
                    0,
                    "--url",
                    quoted(url),
                    "https for another machine, so that the token is not sent in the clear",
                )
            )
        self._url = url.rstrip("/")
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy or .netrc of the environment must not see or replace the token
        self._session.headers["Authorization"] = f"Bearer {token}"

    def proposals(self) -> list[dict[str, Any]]:
        """All proposals, those open for decision first."""
        found: list[dict[str, Any]] = self._call("GET", "/api/proposals")["proposals"]
        return found

    def proposal(self, proposal_id: str) -> dict[str, Any]:
        """One proposal."""
        return self._call("GET", f"/api/proposals/{quote(proposal_id, safe='')}")

    def decide(self, proposal_id: str, verb: str, digest: str, reason: str = "") -> dict[str, Any]:
        """``verb`` is approve or deny; ``digest`` says what exactly."""
        return self._call(
            "POST", f"/api/proposals/{quote(proposal_id, safe='')}/{verb}", {"digest": digest, "reason": reason}
        )

    def say(self, text: str) -> dict[str, Any]:
        """Any command of the grammar; the reply's ``done`` says whether it was."""
        return self._call("POST", "/api/commands", {"text": text})

    def _call(self, method: str, path: str, body: dict[str, str] | None = None) -> dict[str, Any]:
        try:
            answer = self._session.request(
                method, f"{self._url}{path}", json=body, timeout=_TIMEOUT_SECONDS, allow_redirects=False, stream=True
            )
            content = answer.raw.read(_MAX_ANSWER + 1, decode_content=True)
        except (requests.RequestException, OSError) as error:
            raise OutsideError(
                f"no answer from the inbox at {self._url} ({type(error).__name__}); is 'trimtab bot run' running there?"
            ) from None
        if len(content) > _MAX_ANSWER:
            raise OutsideError(f"the inbox at {self._url} answered with more than {_MAX_ANSWER} bytes")
        try:
            data = json.loads(content)
        except ValueError:
            data = None
        if not isinstance(data, dict):
            raise OutsideError(f"{self._url} answered {answer.status_code} without JSON; is that an inbox?")
        if answer.status_code == 429:
            raise OutsideError(printable(str(data.get("reason", ""))), float(answer.headers.get("Retry-After", "60")))
        if answer.status_code >= 500:
            raise OutsideError(f"the inbox at {self._url} failed with {answer.status_code}")
        if answer.status_code >= 400:
            raise RefusedError(printable(str(data.get("code", "B421"))), printable(str(data.get("reason", ""))))
        return data
