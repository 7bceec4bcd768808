"""HTTP load on a server at loopback: every load has an end in requests and in seconds, and every answer is read whole."""

from __future__ import annotations

import math
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_HEAD_END = b"\r\n\r\n"
_MOST_HEAD, _MOST_BODY = 65_536, 64 * 1024 * 1024


class ServerFailedError(Exception):
    """The server did not answer as it should; the message says how."""


@dataclass(frozen=True, slots=True)
class Head:
    """Status and framing of a response. ``length`` None: chunked."""

    status: int
    length: int | None


@dataclass(slots=True)
class Load:
    """What a load took: seconds of each request and of the whole."""

    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0


def parse_head(content: bytes) -> Head:
    """The head of a response, up to its empty line. Raises :class:`ServerFailedError` where it cannot be framed."""
    lines = content.split(b"\r\n")
    words = lines[0].split(b" ", 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise ServerFailedError(f"no HTTP status line: {lines[0][:80]!r}")
    length: int | None = 0
    for line in lines[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
        elif name.lower() == b"transfer-encoding" and b"chunked" in value.lower():
            length = None
            break
    if length is not None and not 0 <= length <= _MOST_BODY:
        raise ServerFailedError(f"a body of {length} bytes")
    return Head(int(words[1]), length)


def percentile(values: Sequence[float], share: float) -> float | None:
    """The nearest-rank percentile (the smallest value that ``share`` of all do not exceed).

    None where no value lies beyond it: the largest of 50 values says nothing about one in a thousand.
    """
    if not values or len(values) * (1 - share) < 1 - 1e-9:
        return None
    return sorted(values)[max(0, math.ceil(len(values) * share - 1e-9) - 1)]


class Connection:
    """One kept-alive connection to 127.0.0.1. Every wait ends after ``timeout`` seconds with an OSError."""

    def __init__(self, port: int, timeout: float = 30.0) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def exchange(self, request: bytes) -> tuple[int, bytes]:
        """Send a whole request; the status and the body that came back."""
        self._socket.sendall(request)
        while (end := self._rest.find(_HEAD_END)) < 0:
            if len(self._rest) > _MOST_HEAD:
                raise ServerFailedError("a head without end")
            self._more()
        head = parse_head(self._rest[:end])
        self._rest = self._rest[end + len(_HEAD_END) :]
        return head.status, self._chunked() if head.length is None else self._take(head.length)

    def _more(self) -> None:
        received = self._socket.recv(262_144)
        if not received:
            raise ServerFailedError("the connection was closed within a response")
        self._rest += received

    def _take(self, count: int) -> bytes:
        while len(self._rest) < count:
            self._more()
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken

    def _chunked(self) -> bytes:
        body = b""
        while True:
            while (end := self._rest.find(b"\r\n")) < 0:
                self._more()
            size = int(self._rest[:end].partition(b";")[0], 16)
            self._rest = self._rest[end + 2 :]
            body += self._take(size)
            self._take(2)
            if not size:
                return body
            if len(body) > _MOST_BODY:
                raise ServerFailedError("a chunked body without end")


def request_bytes(port: int, path: str, body: bytes, headers: Sequence[tuple[str, str]] = ()) -> bytes:
    """A POST of ``body`` as the bytes that go over the wire."""
    lines = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers), "", ""]).encode() + body


def closed_loop(connections: Sequence[Connection], request: bytes, most: int, seconds: float) -> Load:
    """Each connection asks again as soon as it is answered, until ``most`` requests or ``seconds`` are over.

    Raises :class:`ServerFailedError` for any answer but 200.
    """
    load, left = Load(), iter(range(most))
    failures: list[Exception] = []
    begin = time.perf_counter()
    deadline = begin + seconds

    def ask(connection: Connection) -> None:
        try:
            while not failures and time.perf_counter() < deadline and next(left, None) is not None:
                load.latencies.append(_timed(connection, request, time.perf_counter()))
        except (OSError, ValueError, ServerFailedError) as error:
            failures.append(error)

    threads = [threading.Thread(target=ask, args=(connection,)) for connection in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    load.seconds = time.perf_counter() - begin
    if failures:
        raise ServerFailedError(str(failures[0]))
    return load


def paced(connection: Connection, request: bytes, rate: float, seconds: float) -> Load:
    """``rate`` requests a second for ``seconds``; a latency counts from when the request was due, so no pause is hidden."""
    load = Load()
    begin = time.perf_counter()
    for number in range(int(rate * seconds)):
        due = begin + number / rate
        time.sleep(max(0.0, due - time.perf_counter()))
        load.latencies.append(_timed(connection, request, due))
    time.sleep(max(0.0, begin + seconds - time.perf_counter()))
    load.seconds = time.perf_counter() - begin
    return load


def _timed(connection: Connection, request: bytes, since: float) -> float:
    status, body = connection.exchange(request)
    if status != 200:
        raise ServerFailedError(f"status {status}: {body[:200].decode(errors='replace')}")
    return time.perf_counter() - since
