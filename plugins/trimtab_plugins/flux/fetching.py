"""One archive of a source over HTTP: bounded in time and size, tried again where that may help, and checked against its digest."""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import tenacity
import urllib3

from trimtab_kernel.problems import OutsideError, TrustError, printable, quoted

if TYPE_CHECKING:
    from collections.abc import Callable

_DIGEST = re.compile(r"(?P<algorithm>[a-z0-9]+):(?P<hex>[0-9a-f]+)", re.ASCII)
_ALGORITHMS = ("sha256", "sha384", "sha512")
_CHUNK = 256 * 1024
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # of an object: a condition's text must not change with each attempt


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """Bounds on one archive. ``attempts`` are made with 0.5, 1, 2, ... s between them, at most ``longest_pause``."""

    size: int = 64 * 1024 * 1024
    attempts: int = 5
    longest_pause: float = 8.0
    connect_seconds: float = 5.0
    read_seconds: float = 30.0


class _TryAgainError(Exception):
    """Flux's servers answer 404 while an archive is exchanged, and 5xx while they start."""


def plain_text(error: Exception) -> str:
    """What went wrong, without the object that it went wrong in, and the same on every attempt."""
    text = str(error)
    if isinstance(error, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError):
        text = text.partition(": ")[2] or text
    return printable(_ADDRESS.sub("", text), 200)


class ArchiveFetcher:
    """Fetches archives. Safe to use from several threads."""

    def __init__(self, limits: FetchLimits | None = None, wait: Callable[[float], object] = time.sleep) -> None:
        """``wait`` waits that many seconds between two attempts, and may return early when the program ends."""
        self._limits = limits or FetchLimits()
        self._wait = wait
        self._pool = urllib3.PoolManager(
            retries=False,
            timeout=urllib3.Timeout(connect=self._limits.connect_seconds, read=self._limits.read_seconds),
            maxsize=4,
        )

    def fetch(self, url: str, digest: str) -> bytes:
        """The archive whose bytes have this digest.

        Raises TrustError A402 for other bytes, and for a digest that nobody can check; OutsideError for no answer, for a
        status other than 200 after all attempts, and A401 in its text for an archive beyond the size limit.
        """
        algorithm, expected = _checkable(digest)
        if urlsplit(url).scheme not in {"http", "https"}:
            raise OutsideError(f"cannot fetch {quoted(url)}: expected an http or https URL in the source's status")
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_TryAgainError),
            stop=tenacity.stop_after_attempt(self._limits.attempts),
            wait=tenacity.wait_exponential(multiplier=0.5, max=self._limits.longest_pause),
            sleep=self._pause,
            reraise=True,
        )
        try:
            content: bytes = retrying(self._get, url)
        except _TryAgainError as error:
            raise OutsideError(
                f"cannot fetch {printable(url)}: {error}; tried {self._limits.attempts} times"
            ) from error
        got = hashlib.new(algorithm, content).hexdigest()
        if got != expected:
            raise TrustError(
                "A402",
                f"{printable(url)} has digest {algorithm}:{got}, expected {digest}; the source's archive was changed",
            )
        return content

    def _pause(self, seconds: float) -> None:
        self._wait(seconds)

    def _get(self, url: str) -> bytes:
        try:
            with self._pool.request("GET", url, preload_content=False, redirect=False, decode_content=False) as answer:
                if answer.status != 200:
                    answer.drain_conn()
                    text = f"it answers {answer.status}"
                    if answer.status == 404 or answer.status >= 500:
                        raise _TryAgainError(text)
                    raise OutsideError(f"cannot fetch {printable(url)}: {text}, expected 200")
                return self._body(url, answer)
        except urllib3.exceptions.HTTPError as error:
            raise _TryAgainError(plain_text(error)) from error

    def _body(self, url: str, answer: urllib3.BaseHTTPResponse) -> bytes:
        parts, size = [], 0
        for part in answer.stream(_CHUNK, decode_content=False):
            size += len(part)
            if size > self._limits.size:
                answer.close()
                raise OutsideError(
                    f"A401 {printable(url)} is larger than {self._limits.size} bytes; keep models out of the source (spec.ignore)"
                )
            parts.append(part)
        return b"".join(parts)


def _checkable(digest: str) -> tuple[str, str]:
    match = _DIGEST.fullmatch(digest)
    if match is None or match["algorithm"] not in _ALGORITHMS:
        raise TrustError("A402", f"digest {quoted(digest)} cannot be checked, expected one of {', '.join(_ALGORITHMS)}")
    return match["algorithm"], match["hex"]
