"""HTTP to a registry: bounded in time and size, patient with a registry that is busy, and careful whom it tells the token.

A token goes to the registry's own scheme, host and port and nowhere else, whatever a redirect or an upload location says.
"""

from __future__ import annotations

import json
import re
import ssl
import threading
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import tenacity
import urllib3

from trimtab_kernel.problems import OutsideError, RefusedError, TrustError, printable, quoted
from trimtab_plugins.oci.address import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from trimtab_plugins.oci.credentials import Login

_MAX_ANSWER = 4 * 1024 * 1024
_MAX_TOKEN = 256 * 1024
_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_REDIRECTS = 5
_BUSY = (408, 425, 429, 500, 502, 503, 504)
_PARAMETER = re.compile(r'([a-zA-Z]+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a busy registry is waited for. Seconds; each wait is longer than the last, up to ``longest``."""

    attempts: int = 6
    first: float = 0.5
    longest: float = 20.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class BusyError(OutsideError):
    """Trying again may help: the registry said so, or the connection broke."""


@dataclass(slots=True)
class Transport:
    """One registry, by its ``origin`` (scheme, host and port). Threads may share it where each keeps to scopes of its own.

    ``authority`` is a file of certificates to trust instead of the system's.
    """

    origin: str
    login: Callable[[], Login | None]
    patience: Patience = field(default_factory=Patience)
    authority: Path | None = None
    connect_seconds: float = 10.0
    read_seconds: float = 60.0
    connections: int = 4
    _pool: urllib3.PoolManager | None = field(default=None, init=False)
    _tokens: dict[str, str] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def request(
        self,
        method: str,
        url: str,
        *,
        scope: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        limit: int = _MAX_ANSWER,
    ) -> Answer:
        """One request, authorised where the registry asks for it; ``scope`` is what a token is kept by.

        Gives any answer that is not "try again". Raises BusyError for 408, 425, 429 and 5xx and for a broken connection,
        OutsideError where the login is denied or the answer exceeds ``limit`` bytes, and RefusedError (A309) for an
        address in the clear that nobody allowed.
        """
        answer = self._follow(method, url, scope, body, headers or {}, limit)
        if answer.status == 401:
            self._tokens[scope] = self._authorise(answer.headers.get("www-authenticate", ""))
            answer = self._follow(method, url, scope, body, headers or {}, limit)
            if answer.status == 401:
                del self._tokens[scope]
        if answer.status in (401, 403):
            raise OutsideError(
                f"the registry {self._host()} denies it{_said(answer)}; check the login and what it may do"
            )
        if answer.status in _BUSY:
            wait = answer.headers.get("retry-after", "")
            raise BusyError(
                f"the registry {self._host()} is busy (HTTP {answer.status}){_said(answer)}",
                retry_after=float(wait) if wait.isdigit() and len(wait) < 6 else None,
            )
        return answer

    def patiently(self, work: Callable[[], Answer]) -> Answer:
        """``work`` until it ends otherwise than in a BusyError, as often as patience allows. ``work`` must be repeatable."""
        grow = tenacity.wait_random_exponential(multiplier=self.patience.first, max=self.patience.longest)

        def wait(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = error.retry_after if isinstance(error, BusyError) else None
            return grow(state) if asked is None else min(asked, self.patience.longest)

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(BusyError),
            stop=tenacity.stop_after_attempt(self.patience.attempts),
            wait=wait,
            reraise=True,
        )
        return retrying(work)

    def absolute(self, location: str) -> str:
        """A location that the registry gave, as a whole URL."""
        return urllib.parse.urljoin(f"{self.origin}/", location)

    def _follow(
        self, method: str, url: str, scope: str, body: bytes | None, headers: Mapping[str, str], limit: int
    ) -> Answer:
        for _ in range(_MAX_REDIRECTS + 1):
            sent = dict(headers)
            if _origin(url) == self.origin and scope in self._tokens:
                sent["Authorization"] = self._tokens[scope]
            answer = self._send(method, url, body, sent, limit)
            location = answer.headers.get("location", "")
            # Only reading is redirected: an upload goes where the registry's answer to POST said.
            if answer.status not in _REDIRECTS or method not in ("GET", "HEAD") or not location:
                return answer
            url = urllib.parse.urljoin(url, location)
        raise OutsideError(f"the registry {self._host()} redirects without end")

    def _send(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], limit: int) -> Answer:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and self.origin.startswith("http://")):
            raise RefusedError(
                "A309",
                f"the registry {self._host()} names {quoted(f'{parts.scheme}://{parts.netloc}')}, which is in the clear",
            )
        manager = self._manager(url)
        try:
            response = manager.request(
                method,
                url,
                body=body,
                headers={"User-Agent": "trimtab", "Accept-Encoding": "identity", **headers},
                preload_content=False,
                redirect=False,
                retries=False,
            )
            try:
                content = response.read(limit + 1, decode_content=False)
                announced = response.headers.get("Content-Length", "")
                if method != "HEAD" and announced.isdigit() and len(content) < min(int(announced), limit + 1):
                    raise BusyError(f"the registry {self._host()} broke off its answer")
            finally:
                # What is left of a long answer is not read for the sake of one more request on this connection.
                response.close()
                response.release_conn()
        except urllib3.exceptions.SSLError as error:
            raise OutsideError(
                f"no trust in {self._host()}: {_reason(error)}; is it the right host, and --ca-file?"
            ) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise BusyError(f"no answer from {self._host()}: {_reason(error)}") from None
        if len(content) > limit:
            raise OutsideError(f"the registry {self._host()} answers with more than {limit} bytes; nothing was kept")
        return Answer(response.status, {name.lower(): value for name, value in response.headers.items()}, content)

    def _manager(self, url: str) -> urllib3.PoolManager:
        with self._lock:
            return self._open(url) if self._pool is None else self._pool

    def _open(self, url: str) -> urllib3.PoolManager:
        try:
            context = ssl.create_default_context(cafile=str(self.authority) if self.authority else None)
        except OSError as error:
            says = "no certificate in it" if isinstance(error, ssl.SSLError) else (error.strerror or str(error)).lower()
            raise OutsideError(f"cannot use the certificates of {printable(str(self.authority))}: {says}") from None
        timeout = urllib3.Timeout(connect=self.connect_seconds, read=self.read_seconds)
        parts = urllib.parse.urlsplit(url)
        proxy = urllib.request.getproxies().get(parts.scheme)
        # As Go's clients have it: this machine is never asked through a proxy.
        if proxy and not is_loopback(parts.netloc) and not urllib.request.proxy_bypass(parts.netloc):
            made: urllib3.PoolManager = urllib3.ProxyManager(
                proxy, ssl_context=context, timeout=timeout, maxsize=self.connections
            )
        else:
            made = urllib3.PoolManager(ssl_context=context, timeout=timeout, maxsize=self.connections)
        self._pool = made
        return made

    def _authorise(self, challenge: str) -> str:
        """The value of an Authorization header, as the challenge asks (RFC 7617; distribution: token authentication)."""
        login = self.login()
        kind = challenge.split(" ", 1)[0].lower()
        if kind == "basic":
            if login is None:
                raise OutsideError(
                    f"the registry {self._host()} asks for a login; use 'docker login', or the environment"
                )
            return login.basic
        said = dict(_PARAMETER.findall(challenge))
        if kind != "bearer" or not said.get("realm"):
            raise OutsideError(f"the registry {self._host()} asks for a login of an unknown kind: {quoted(kind)}")
        query = {name: said[name] for name in ("service", "scope") if said.get(name)}
        realm = said["realm"]
        if login is not None and not realm.startswith("https://") and _origin(realm) != self.origin:
            raise RefusedError(
                "A309", f"the registry {self._host()} wants the login sent to {quoted(_origin(realm))}, in the clear"
            )
        url = f"{realm}{'&' if '?' in realm else '?'}{urllib.parse.urlencode(query)}"
        answer = self._send("GET", url, None, {"Authorization": login.basic} if login else {}, _MAX_TOKEN)
        if answer.status in _BUSY:
            raise BusyError(f"the token service of {self._host()} is busy (HTTP {answer.status})")
        token = _token(answer) if answer.status == 200 else ""
        if not token:
            raise OutsideError(f"the token service of {self._host()} denies it (HTTP {answer.status}); check the login")
        return f"Bearer {token}"

    def _host(self) -> str:
        return urllib.parse.urlsplit(self.origin).netloc


def check_digest(answer: Answer, expected: str, what: str) -> None:
    """Raises TrustError (A308) where the registry names another digest than ``expected`` for what it took or gave."""
    named = answer.headers.get("docker-content-digest", expected)
    if named != expected:
        raise TrustError("A308", f"the registry names {quoted(named)} for {what}, which is {expected}")


def _origin(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _token(answer: Answer) -> str:
    try:
        said = json.loads(answer.body)
        token = said.get("token") or said.get("access_token")
    except (ValueError, AttributeError, RecursionError):
        return ""
    return token if isinstance(token, str) and token.isascii() and token.isprintable() else ""


def _said(answer: Answer) -> str:
    """The codes of the registry's own errors, which are plain words; its texts may repeat what was sent."""
    codes = re.findall(rb'"code"\s*:\s*"([A-Z_]{1,40})"', answer.body[:10_000])
    return f": {', '.join(code.decode('ascii') for code in codes[:3])}" if codes else ""


def _reason(error: BaseException) -> str:
    """What a broken connection says of itself, without the URL, whose query may hold a signature."""
    inner = error.__cause__ or (error.args[-1] if error.args and isinstance(error.args[-1], BaseException) else error)
    text = getattr(inner, "strerror", None) or type(inner).__name__
    return printable(str(text).lower(), 200)
