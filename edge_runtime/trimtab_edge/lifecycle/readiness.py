"""Probation: does the server answer with the release that was just activated?"""

from __future__ import annotations

import http.client
import json
import ssl
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from trimtab_edge.layout import SERVED_FORMAT
from trimtab_edge.lifecycle.machine import Failed, Passed, Undecided
from trimtab_edge.lifecycle.ports import InterruptedCommand

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

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

    def __init__(
        self, url: str, limit: float, *, authorities: Path | None = None, identity: tuple[Path, Path] | None = None
    ) -> None:
        """``url`` is ``http://HOST:PORT`` or ``https://HOST:PORT``; raises ValueError where it is not.

        Under TLS the server's certificate must be one of ``authorities`` (PEM; None: the machine's) and name HOST.
        ``identity`` is certificate and key, where the server asks for them. The files are read for each question, since
        they may be renewed; one that cannot be read is a question without an answer.
        """
        parts = urlsplit(url)
        if (
            parts.scheme not in ("http", "https")
            or not parts.hostname
            or parts.path.strip("/")
            or parts.query
            or parts.fragment
        ):
            raise ValueError(f"expected http://HOST:PORT or https://HOST:PORT, got {url!r}")
        self._secure = parts.scheme == "https"
        self._host, self._port, self._limit = parts.hostname, parts.port or (443 if self._secure else 80), limit
        self._authorities, self._identity = authorities, identity

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
        seconds = min(_REQUEST_SECONDS, max(self._limit, 0.1))
        if self._secure:
            context = ssl.create_default_context(cafile=self._authorities)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self._identity is not None:
                context.load_cert_chain(*self._identity)
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                self._host, self._port, timeout=seconds, context=context
            )
        else:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=seconds)
        try:
            connection.request("GET", f"/v2/models/{quote(model)}/versions/{quote(version)}/ready")
            answer = json.loads(connection.getresponse().read(_ANSWER_LIMIT))
        finally:
            connection.close()
        return answer if isinstance(answer, dict) else {}
