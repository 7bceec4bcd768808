"""An HTTP proxy on loopback in front of one server, that lets requests pass, and harms those that a test names."""

from __future__ import annotations

import http.client
import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Harm(Enum):
    """What becomes of a request."""

    STATUS = "status"
    """It is answered with ``Fault.status`` and never arrives."""
    CUT_REQUEST = "cut request"
    """Half of its body arrives, then both connections break."""
    CUT_ANSWER = "cut answer"
    """It arrives and takes effect; of the answer only a part comes back."""
    LOSE_ANSWER = "lose answer"
    """It arrives and takes effect; the connection breaks before any answer."""
    CHANGE_REQUEST = "change request"
    """One byte of its body is another when it arrives."""
    CHANGE_ANSWER = "change answer"
    """One byte of the answer is another when it comes back."""


@dataclass(slots=True)
class Fault:
    """Harms the next ``times`` requests whose "METHOD path" matches; ``headers`` go with an answer of one's own."""

    pattern: str
    harm: Harm
    times: int = 1
    status: int = 502
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it came."""

    method: str
    path: str
    authorization: str


@dataclass(slots=True)
class FaultyProxy:
    """``faults`` may be changed while it runs; the first that matches is used. ``seen`` grows with every request."""

    address: str
    faults: list[Fault] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, line: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and re.search(fault.pattern, line):
                    fault.times -= 1
                    return fault
        return None

    @property
    def spent(self) -> bool:
        """Whether every fault was met as often as it was planned, so that a test did see what it is about."""
        return all(fault.times == 0 for fault in self.faults)


@contextmanager
def faulty_proxy(upstream: str, *faults: Fault) -> Iterator[FaultyProxy]:
    """A running proxy in front of ``upstream`` (host:port)."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.upstream = upstream
    server.proxy = FaultyProxy(f"127.0.0.1:{server.server_address[1]}", list(faults))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


class _Server(ThreadingHTTPServer):
    upstream: str
    proxy: FaultyProxy


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing."""

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def do_GET(self) -> None:
        self._pass()

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - the names that http.server looks for

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        proxy = self.server.proxy
        with proxy.lock:
            proxy.seen.append(Seen(self.command, self.path, self.headers.get("Authorization", "")))
        fault = proxy.take(f"{self.command} {self.path}")
        harm = fault.harm if fault else None
        if fault and harm is Harm.STATUS:
            self._answer(fault.status, list(fault.headers.items()), fault.body)
            return
        if harm is Harm.CHANGE_REQUEST:
            body = _changed(body)
        if harm is Harm.CUT_REQUEST:
            self._send_half(body)
            self._break()
            return
        status, headers, answer = self._forward(body)
        if harm is Harm.LOSE_ANSWER:
            self._break()
        elif harm is Harm.CUT_ANSWER:
            self._answer(status, headers, answer, short=True)
            self._break()
        else:
            self._answer(status, headers, _changed(answer) if harm is Harm.CHANGE_ANSWER else answer)

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.server.upstream, timeout=60)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            connection.request(self.command, self.path, body, headers)
            response = connection.getresponse()
            kept = [
                item for item in response.getheaders() if item[0].lower() not in ("connection", "transfer-encoding")
            ]
            return response.status, kept, response.read()
        finally:
            connection.close()

    def _send_half(self, body: bytes) -> None:
        host, _, port = self.server.upstream.rpartition(":")
        lines = [f"{self.command} {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in self.headers.items())]
        with socket.create_connection((host, int(port)), timeout=60) as upstream:
            upstream.sendall("\r\n".join([*lines, "", ""]).encode() + body[: len(body) // 2])
            _reset(upstream)

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes, *, short: bool = False) -> None:
        self.send_response_only(status)
        named = {name.lower() for name, _ in headers}
        for name, value in headers:
            self.send_header(name, value)
        if "content-length" not in named:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if short else body)
        self.wfile.flush()

    def _break(self) -> None:
        _reset(self.connection)
        self.close_connection = True


def _changed(body: bytes) -> bytes:
    at = len(body) // 2
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :] if body else body


def _reset(connection: socket.socket) -> None:
    """Ends a connection by RST: nobody takes it for the end of a message."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
