"""Reading GitHub sparingly: conditional requests, objects that never change kept, and silence while we are rate-limited.

An answer that has not changed (304) costs nothing of the primary rate limit. What is named by its SHA-1 is asked for once.
After 429, or 403 with a reason to wait, nothing is asked until the time that GitHub named: whoever goes on is shut out for longer.
"""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests
from github import Github, GithubException, GithubRetry
from github import RateLimitExceededException as RateLimitError

from trimtab_kernel.problems import OutsideError, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

KEPT = 512
"""Answers remembered; the one that was used longest ago goes first."""
PAGES = 20
"""Pages of a hundred; a list that goes on is refused, because half a list must not decide anything."""
MAX_ANSWER = 16 * 1024 * 1024
_FIRST_WAIT = 60.0
_LONGEST_WAIT = 3600.0
_PAGE = 100
_LIMITED = (403, 429)


class PatientRetry(GithubRetry):
    """Repeats reads that failed, but sleeps for no rate limit: the caller decides what to do with the time."""

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: Any = None,  # noqa: ANN401 - urllib3's answer
        error: Exception | None = None,
        _pool: Any = None,  # noqa: ANN401 - urllib3's, as it passes them
        _stacktrace: Any = None,  # noqa: ANN401 - urllib3's, as it passes them
    ) -> Any:  # noqa: ANN401 - urllib3's, as it passes them
        """See urllib3.Retry. Raises GithubException at once where GitHub asks for patience."""
        try:
            _raise_if_limited(response)
            return super().increment(method, url, response, error, _pool, _stacktrace)
        except Exception:
            # urllib3 has not given the connection back yet, and nobody else will end it.
            if response is not None:
                response.close()
            raise


def _raise_if_limited(response: Any) -> None:  # noqa: ANN401 - urllib3's answer
    if response is not None and response.status in _LIMITED:
        headers = {str(key).lower(): str(value) for key, value in response.headers.items()}
        if "retry-after" in headers or headers.get("x-ratelimit-remaining") == "0":
            raise RateLimitError(response.status, {"message": "rate limit"}, headers)


class RateGate:
    """Shut while GitHub asks to be left alone. Shared by everything that acts as one account; any thread may use it."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """``clock`` gives Unix seconds."""
        self._clock = clock
        self._lock = threading.Lock()
        self._until = 0.0

    def left(self) -> float:
        """Seconds until somebody may ask again; 0 where they may."""
        with self._lock:
            return max(0.0, self._until - self._clock())

    def shut(self, headers: Mapping[str, str]) -> float:
        """GitHub asked for patience in these headers (lower-case names); gives the seconds.

        ``retry-after`` first, then ``x-ratelimit-reset`` where nothing remains, then a minute, as GitHub's guide says.
        """
        now = self._clock()
        wait = _FIRST_WAIT
        try:
            if "retry-after" in headers:
                wait = float(headers["retry-after"])
            elif headers.get("x-ratelimit-remaining") == "0":
                wait = float(headers["x-ratelimit-reset"]) - now + 1
        except (KeyError, ValueError):
            wait = _FIRST_WAIT
        wait = min(max(1.0, wait), _LONGEST_WAIT)
        with self._lock:
            self._until = max(self._until, now + wait)
        return wait


class outside:  # noqa: N801 - reads as a statement
    """Turns what PyGithub and the network raise into OutsideError, without the address's secrets or the answer's body."""

    def __init__(self, what: str, gate: RateGate | None = None) -> None:
        self._what = what
        self._gate = gate or RateGate()

    def __enter__(self) -> None:
        """Raises OutsideError while the gate is shut: nothing is asked."""
        left = self._gate.left()
        if left:
            raise OutsideError(f"{self._what}: GitHub asked to be left alone for another {left:.0f} s", left)

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, GithubException):
            headers = {key.lower(): str(value) for key, value in (error.headers or {}).items()}
            limited = isinstance(error, RateLimitError) or error.status == 429
            if limited or (error.status == 403 and "retry-after" in headers):
                wait = self._gate.shut(headers)
                raise OutsideError(f"{self._what}: GitHub's rate limit is used up", wait) from error
            raise OutsideError(f"{self._what}: GitHub answered {error.status}: {message_of(error)}") from error
        if isinstance(error, requests.RequestException):
            raise OutsideError(f"{self._what}: no answer from GitHub ({type(error).__name__})") from error
        if isinstance(error, json.JSONDecodeError):
            raise OutsideError(f"{self._what}: GitHub's answer is not JSON; try again") from error
        redirected = type(error) is RuntimeError and "redirected" in str(error)
        if redirected or (isinstance(error, AssertionError) and error.args):  # PyGithub's ways to refuse another host
            raise OutsideError(f"{self._what}: GitHub named an address that is not its own") from error


def message_of(error: GithubException) -> str:
    """GitHub's own reason, for people."""
    found = error.data if isinstance(error.data, dict) else {}
    parts = [str(found.get("message", ""))]
    parts += [
        str(each.get("message", each.get("field", ""))) for each in found.get("errors", ()) if isinstance(each, dict)
    ]
    return printable("; ".join(filter(None, parts)), 300) or "no reason given"


@dataclass(frozen=True, slots=True)
class _Kept:
    etag: str
    headers: dict[str, Any]
    text: str


class ConditionalReader:
    """GET for one client. Any thread may use it; every call gives new values."""

    def __init__(self, client: Github) -> None:
        self._requester = client.requester
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def get(self, path: str, *, never_changes: bool = False) -> tuple[dict[str, Any], Any]:
        """Headers and content of what is at ``path`` (with its query). Raises what PyGithub raises (see :class:`outside`).

        With ``never_changes`` (objects by their SHA-1) an answer that is known is not asked for again.
        """
        with self._lock:
            known = self._kept.get(path)
            if known is not None:
                self._kept.move_to_end(path)
        if known is not None and never_changes:
            return known.headers, json.loads(known.text)
        conditions = {"If-None-Match": known.etag} if known is not None and known.etag else {}
        status, headers, text = self._requester.requestJson("GET", path, headers=conditions)
        if status == 304 and known is not None:
            return known.headers, json.loads(known.text)
        if len(text) > MAX_ANSWER:
            raise GithubException(status, {"message": f"an answer of {len(text)} bytes"}, headers)
        if status != 200:
            raise self._requester.createException(status, headers, _lenient(text))
        content = json.loads(text)
        etag = str(headers.get("etag", ""))
        if etag or never_changes:
            with self._lock:
                self._kept[path] = _Kept(etag, dict(headers), text)
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
        return headers, content

    def all(self, path: str) -> list[Any]:
        """Every item of a list, page by page.

        A full page is always followed by a look at the next one: whether a page's tag covers the link to its successor is
        nowhere promised. Raises GithubException for a list of more than :data:`PAGES` pages.
        """
        found: list[Any] = []
        mark = "&" if "?" in path else "?"
        for page in range(1, PAGES + 2):
            _, items = self.get(f"{path}{mark}per_page={_PAGE}&page={page}")
            if not isinstance(items, list):
                raise GithubException(200, {"message": "expected a list"}, {})
            found += items
            if len(items) < _PAGE:
                return found
        raise GithubException(200, {"message": f"more than {PAGES * _PAGE} items"}, {})


def _lenient(text: str) -> Any:  # noqa: ANN401 - whatever it is
    try:
        return json.loads(text)
    except ValueError:
        return {"message": ""}
