"""Probation: does the server answer with the release that was just activated?"""

from __future__ import annotations

import http.client
import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from trimtab_edge.layout import SERVED_FORMAT
from trimtab_edge.lifecycle.machine import Failed, Passed, Undecided
from trimtab_edge.lifecycle.ports import InterruptedCommand

if TYPE_CHECKING:
    from collections.abc import Callable

    from trimtab_edge.lifecycle.machine import Event
    from trimtab_edge.lifecycle.release import Release

_ANSWER_LIMIT = 64 * 1024
_REQUEST_SECONDS = 5.0
_PAUSE = 0.1


class NoProbe:
    """There is no server to ask: what is activated counts as good."""

    def observe(self, model: str, release: Release, at: Callable[[], float], keep_going: Callable[[], bool]) -> Event:
        """Passed."""
        del model, release, keep_going
        return Passed(at())


class ServerProbe:
    """Asks ``trimtab-edge serve`` for the readiness of one version, until it says yes or no or ``limit`` seconds passed.

    Its answer names the digest that it speaks of, so an answer about other bytes of the same version decides nothing.
    """

    def __init__(self, url: str, limit: float) -> None:
        """``url`` is ``http://HOST:PORT``; raises ValueError where it is not."""
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError(f"expected http://HOST:PORT, got {url!r}")
        self._host, self._port, self._limit = parts.hostname, parts.port or 80, limit

    def observe(self, model: str, release: Release, at: Callable[[], float], keep_going: Callable[[], bool]) -> Event:
        """Passed, Failed or Undecided. Raises :class:`InterruptedCommand`. Formats that no server loads pass."""
        if release.format != SERVED_FORMAT:
            return Passed(at())
        deadline = time.monotonic() + self._limit
        last = "no answer"
        while True:
            try:
                found = self._ask(model, release.version)
            except (OSError, http.client.HTTPException, ValueError) as error:
                last = f"{type(error).__name__} from the server"
            else:
                if found.get("digest") == str(release.digest):
                    if found.get("ready") is True:
                        return Passed(at())
                    if found.get("state") == "FAILED":
                        return Failed(at(), "", str(found.get("reason") or "the server refused it")[:500])
                last = f"state {str(found.get('state') or found.get('error') or 'unknown')[:200]}"
            if time.monotonic() >= deadline:
                return Undecided(at(), f"not ready within {self._limit:g} s: {last}")
            if not keep_going():
                raise InterruptedCommand
            time.sleep(_PAUSE)

    def _ask(self, model: str, version: str) -> dict[str, Any]:
        connection = http.client.HTTPConnection(
            self._host, self._port, timeout=min(_REQUEST_SECONDS, max(self._limit, 0.1))
        )
        try:
            connection.request("GET", f"/v2/models/{quote(model)}/versions/{quote(version)}/ready")
            answer = json.loads(connection.getresponse().read(_ANSWER_LIMIT))
        finally:
            connection.close()
        return answer if isinstance(answer, dict) else {}
