"""Fetching: streamed, limited, judged while it streams, resumable, and retried where trying again can help.

Bytes go to ``<target>.part``; only when size and digest are right is it flushed and renamed to ``target``. What a cut
left behind is the start of the next try: from an HTTP server by Range, where it can. A resumed download whose digest is
wrong says nothing about the source (the start may be of other bytes), so it is fetched once more from the beginning
before anybody is blamed.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import re
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Protocol

import tenacity
import urllib3

from trimtab_edge.artifacts.places import FilePlace, HttpPlace, Place, places
from trimtab_edge.durable import rename
from trimtab_edge.lifecycle.ports import InterruptedCommand
from trimtab_edge.reading import open_regular
from trimtab_kernel.identity import Digest
from trimtab_kernel.problems import OutsideError, TrustError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from urllib3.response import BaseHTTPResponse

_CHUNK = 256 * 1024
_SLICE = 0.2
_RANGE = re.compile(r"bytes ([0-9]{1,19})-[0-9]{1,19}/(?:[0-9]{1,19}|\*)", re.ASCII)
_MAX_WAIT = 60.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds, ``least_rate`` in bytes per second, judged over each ``patience`` seconds."""

    largest: int = 2 * 1024**3
    spare: int = 8 * 1024 * 1024
    connect: float = 10.0
    read: float = 30.0
    least_rate: float = 512.0
    patience: float = 60.0
    attempts: int = 4
    first_wait: float = 0.5


class Wanted(Protocol):
    """What is fetched. ``size`` 0: not declared."""

    @property
    def digest(self) -> Digest:
        """The digest that the bytes must have."""

    @property
    def size(self) -> int:
        """The size that they must have."""

    @property
    def uri(self) -> str:
        """Where they come from, if the store does not have them; "" for nowhere."""


class NotThereError(OutsideError):
    """This place does not have it: asking again at once is useless, another place may."""


class _StaleStartError(Exception):
    """A resumed download came out wrong: begin again."""


class Downloader:
    """Fetches artifacts from ``store`` (a directory or URL; None: from their URIs only)."""

    def __init__(self, store: str | None, limits: Limits) -> None:
        self._store = store
        self._limits = limits
        self._pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=limits.connect, read=limits.read),
            # Retries are tenacity's; redirects stay bounded here.
            retries=urllib3.Retry(total=None, connect=0, read=0, redirect=5, status=0, other=0, raise_on_status=False),
            headers={"accept-encoding": "identity", "user-agent": "trimtab-edge"},
        )

    def fetch(
        self, release: Wanted, target: Path, received: Callable[[int], None], keep_going: Callable[[], bool]
    ) -> None:
        """Put the bytes at ``target``, durably; its directory exists. Every place is tried, in order.

        Raises :class:`TrustError` (E301 to E303) if any place gave wrong bytes and none the right ones,
        :class:`OutsideError` if no place gave them, and InterruptedCommand. Disk errors are OSError.
        """
        if release.size > self._limits.largest:
            raise TrustError("E303", f"{release.size} bytes, expected at most {self._limits.largest}")
        part = target.with_name(f"{target.name}.part")
        self._check_room(release, part)
        failures: list[OutsideError] = []
        distrust: TrustError | None = None
        for place in places(self._store, release.digest, release.uri):
            try:
                self._from_place(place, release, part, received, keep_going)
            except TrustError as error:
                distrust = TrustError(error.code, f"{place}: {error.reason}")
                part.unlink(missing_ok=True)
            except OutsideError as error:
                failures.append(OutsideError(f"{place}: {error.reason}", error.retry_after))
            else:
                rename(part, target)
                return
        if distrust is not None:
            raise distrust
        if not failures:
            raise OutsideError("no place to fetch from: the release has no uri, and there is no --artifacts")
        raise OutsideError("; ".join(error.reason for error in failures))

    def _check_room(self, release: Wanted, part: Path) -> None:
        there = part.stat().st_size if part.exists() else 0
        needed = max(0, release.size - there) + self._limits.spare
        free = shutil.disk_usage(part.parent).free
        if needed > free:
            raise OutsideError(
                f"disk too full: {free} bytes free, {needed} needed ({self._limits.spare} of them to spare)"
            )

    def _from_place(
        self,
        place: Place,
        release: Wanted,
        part: Path,
        received: Callable[[int], None],
        keep_going: Callable[[], bool],
    ) -> None:
        def attempt() -> None:
            try:
                self._attempt(place, release, part, received, keep_going)
            except _StaleStartError:
                part.unlink(missing_ok=True)
                self._attempt(place, release, part, received, keep_going)

        def sleep(seconds: float) -> None:
            until = time.monotonic() + seconds
            while (left := until - time.monotonic()) > 0:
                if not keep_going():
                    raise InterruptedCommand
                time.sleep(min(left, _SLICE))

        tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self._limits.attempts),
            wait=self._wait,
            retry=tenacity.retry_if_exception(
                lambda error: isinstance(error, OutsideError) and not isinstance(error, NotThereError)
            ),
            sleep=sleep,
            reraise=True,
        )(attempt)

    def _wait(self, state: tenacity.RetryCallState) -> float:
        """What the server asks for (up to a minute), else exponential with jitter, so that a fleet does not march in step."""
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, OutsideError) else None
        growing = tenacity.wait_exponential(multiplier=self._limits.first_wait, max=_MAX_WAIT)
        own = growing(state) + tenacity.wait_random(0, self._limits.first_wait)(state)
        return own if asked is None else min(max(asked, own), _MAX_WAIT)

    def _attempt(
        self,
        place: Place,
        release: Wanted,
        part: Path,
        received: Callable[[int], None],
        keep_going: Callable[[], bool],
    ) -> None:
        match place:
            case FilePlace(path):
                with _open(path) as source:
                    size = os.fstat(source.fileno()).st_size
                    _check_announced(release, size, self._limits)
                    self._take(iter(lambda: source.read(_CHUNK), b""), release, part, 0, received, keep_going)
            case HttpPlace(url):
                self._from_http(url, release, part, received, keep_going)
            case _:
                raise NotThereError(str(place))

    def _from_http(
        self, url: str, release: Wanted, part: Path, received: Callable[[int], None], keep_going: Callable[[], bool]
    ) -> None:
        offset = part.stat().st_size if part.exists() else 0
        if release.size and offset >= release.size:
            # All there, or too much: only the digest can tell, and a wrong one begins again.
            self._take(iter(()), release, part, offset, received, keep_going)
            return
        headers = {"range": f"bytes={offset}-"} if offset else {}
        try:
            response = self._pool.request(
                "GET", url, headers={**self._pool.headers, **headers}, preload_content=False, decode_content=False
            )
        except urllib3.exceptions.HTTPError as error:
            raise OutsideError(_reason(error)) from None
        except (ValueError, http.client.HTTPException) as error:  # a host or path that cannot be asked for
            raise NotThereError(_reason(error)) from None
        with contextlib.closing(response):
            start = _start(response, offset)
            length = response.headers.get("content-length", "")
            if length.isdigit():
                _check_announced(release, start + int(length), self._limits)
            self._take(_chunks(response), release, part, start, received, keep_going)

    def _take(
        self,
        chunks: Iterator[bytes],
        release: Wanted,
        part: Path,
        start: int,
        received: Callable[[int], None],
        keep_going: Callable[[], bool],
    ) -> None:
        """Write ``chunks`` to ``part`` from ``start`` on, and judge the whole. Raises as :meth:`fetch` does."""
        limit = release.size or self._limits.largest
        hasher = hashlib.sha256()
        with part.open("r+b" if start else "wb") as file:
            total = _rehash(file, hasher, start)
            file.truncate(total)
            rate = _Rate(self._limits)
            for chunk in chunks:
                received(len(chunk))
                total += len(chunk)
                if total > limit:
                    raise TrustError("E302", f"more than {limit} bytes, expected {release.size or f'at most {limit}'}")
                hasher.update(chunk)
                file.write(chunk)
                if not keep_going():
                    raise InterruptedCommand
                rate.check(len(chunk))
            file.flush()
            os.fsync(file.fileno())
        if release.size and total < release.size:
            raise OutsideError(f"ended after {total} bytes, expected {release.size}")
        if hasher.hexdigest() != release.digest.hex:
            if start:
                raise _StaleStartError
            raise TrustError("E301", f"got sha256:{hasher.hexdigest()}, expected {release.digest}")


class _Rate:
    """Ends a transfer that only trickles: an attacker, or a link on which another try later is better."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._since = time.monotonic()
        self._count = 0

    def check(self, count: int) -> None:
        """``count`` more bytes came in. Raises :class:`OutsideError` when the last window was too slow."""
        self._count += count
        elapsed = time.monotonic() - self._since
        if elapsed >= self._limits.patience:
            if self._count < self._limits.least_rate * elapsed:
                raise OutsideError(f"too slow: {self._count} bytes in {elapsed:.0f} s")
            self._since, self._count = time.monotonic(), 0


def _open(path: Path) -> BinaryIO:
    try:
        return open_regular(path)
    except OSError as error:
        raise NotThereError(error.strerror or str(error)) from None


def _check_announced(release: Wanted, size: int, limits: Limits) -> None:
    """Refuse before the first byte what cannot be right."""
    if release.size and size != release.size:
        raise TrustError("E302", f"{size} bytes announced, expected {release.size}")
    if size > limits.largest:
        raise TrustError("E303", f"{size} bytes announced, expected at most {limits.largest}")


def _start(response: BaseHTTPResponse, offset: int) -> int:
    """Where the response's bytes begin. Raises :class:`OutsideError` for anything but bytes."""
    status = response.status
    if response.headers.get("content-encoding", "identity") not in ("identity", ""):
        raise NotThereError("the server encodes the content, expected it as it is")
    if status == 206 and offset:
        match = _RANGE.fullmatch(response.headers.get("content-range", ""))
        if match and int(match[1]) == offset:
            return offset
        raise NotThereError("the server sent another range than asked for")
    if status == 200:
        return 0  # the whole, whether or not a range was asked for
    if status == 416:
        raise _StaleStartError
    retry_after = response.headers.get("retry-after", "")
    seconds = float(retry_after) if retry_after.isascii() and retry_after.isdigit() else None
    if status in (408, 429) or status >= 500:
        raise OutsideError(f"status {status}", seconds)
    raise NotThereError(f"status {status}")


def _chunks(response: BaseHTTPResponse) -> Iterator[bytes]:
    """What has arrived, as it arrives: a read of a fixed amount could wait for a trickle for ever."""
    try:
        while chunk := response.read1(_CHUNK):
            yield chunk
    except urllib3.exceptions.HTTPError as error:
        raise OutsideError(_reason(error)) from None


def _rehash(file: BinaryIO, hasher: hashlib._Hash, length: int) -> int:
    """Hash the first ``length`` bytes that are there; how many there were."""
    done = 0
    while done < length and (chunk := file.read(min(_CHUNK, length - done))):
        hasher.update(chunk)
        done += len(chunk)
    return done


def _reason(error: Exception) -> str:
    """The kind of failure; urllib3's texts carry URLs, and URLs may carry secrets."""
    cause = getattr(error, "reason", None)
    inner = cause if isinstance(cause, Exception) else error
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(inner).__name__.removesuffix("Error")).lower()
