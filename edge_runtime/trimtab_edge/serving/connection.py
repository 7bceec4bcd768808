"""uvicorn's connection with limits that it does not have: on the size of a header block and on the time it may take.

Without them one client could hold memory and connections for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

MAX_HEADER_BYTES = 16 * 1024
MAX_HEADERS = 100
HEADER_SECONDS = 15.0
"""How long a connection may take to bring a whole header block, from its first moment or from the block's first byte."""
FIRST_BODY_SECONDS = 30.0
"""How long a body may take to begin once its head is complete; the application bounds the rest of it."""


class BoundedConnection(HttpToolsProtocol):
    """One connection. A malformed or oversized head gets a JSON error and the connection is closed."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock of the first header block."""
        super().connection_made(transport)
        self._head_bytes = 0
        self._head_since: float | None = self.loop.time()
        self._body_since: float | None = None

    def data_received(self, data: bytes) -> None:
        """Count the bytes of a header block that is not complete."""
        super().data_received(data)
        if self._head_since is not None and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEADER_BYTES:
                self.send_400_response("header block too large")

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._head_bytes = 0
        self._head_since = self.loop.time()

    def on_headers_complete(self) -> None:
        """The header block is complete; refuse it where it has too many lines or bytes."""
        self._head_since = None
        if len(self.headers) > MAX_HEADERS or sum(len(n) + len(v) for n, v in self.headers) > MAX_HEADER_BYTES:
            raise ValueError("header block too large")  # the parser wraps it; data_received answers with 400
        self._body_since = self.loop.time()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """The body has begun."""
        self._body_since = None
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._body_since = None
        super().on_message_complete()

    def expire(self, now: float) -> None:
        """Close if a header block or the start of a body has been due for too long; ``now`` on the event loop's clock."""
        if self._body_since is not None and self.pipeline:
            self._body_since = now  # nothing is read while the request before it runs, so it cannot come
        if (self._head_since is not None and now - self._head_since > HEADER_SECONDS) or (
            self._body_since is not None and now - self._body_since > FIRST_BODY_SECONDS
        ):
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """As JSON, like every other error here."""
        body = b'{"error":"' + msg.lower().rstrip(".").encode() + b'"}'
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (len(body), body)
        )
        self.transport.close()
