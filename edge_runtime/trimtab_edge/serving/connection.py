"""HTTP/1.1 on one connection. httptools (llhttp) finds where messages begin and end; what a client may hold has bounds.

There is no framework and no server library in between: for a small model they cost more than its inference. A request that
is sure to be short is answered within the call that brought its last byte, without a task.

Bounded are the size of a head and of a body, the time that a head, a body, a pause between requests and the reading of an
answer may take, and how many requests may wait on one connection. After an error that leaves a body unread the answer is
sent, this side is shut, and what still comes is thrown away for a while, so that a reset does not overtake the answer.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httptools

from trimtab_edge.serving.exchange import CLOSE, Request
from trimtab_edge.serving.failure import Fault

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from trimtab_edge.serving.exchange import Application, Reply

_log = logging.getLogger("trimtab.serve")
MAX_HEADER_BYTES = 16 * 1024
MAX_HEADERS = 100
HEADER_SECONDS = 15.0
"""How long a connection may take to bring a whole header block, from its first moment or from the block's first byte."""
BODY_SECONDS = 30.0
"""How long a body may take once its head is complete."""
KEEP_ALIVE_SECONDS = 75.0
WRITE_SECONDS = 60.0
"""How long a client may leave an answer unread."""
LINGER_SECONDS = 2.0
"""How long what comes after a refusal is read and thrown away."""
PARTING_SECONDS = 0.5
"""How long a connection that is in use may bring one more request while the server ends."""
MAX_WAITING = 128
"""Requests that may wait on one connection behind the one that is being answered."""
_JOIN_BELOW = 65_536
"""A body up to this size is copied behind its head, which is cheaper than a second piece to send."""
_ALIGNMENT = 16
"""Of the content of a bytes object, and enough for every element of a tensor."""
_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
JSON = b"application/json"


class _HeadError(Exception):
    """What came is read no further."""


def _unframed(message: str) -> Reply:
    return 400, b'{"error":"%b"}' % message.encode(), JSON, CLOSE


class Listening:
    """What the connections of one port share. Used on one event loop."""

    def __init__(self, application: Application, max_body: int, loop: asyncio.AbstractEventLoop) -> None:
        """``max_body``: bytes of a request's body."""
        self.application = application
        self.max_body = max_body
        self.loop = loop
        self.connections: set[Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.draining = False
        self.date = self.good = b""
        self.tick()

    def tick(self) -> None:
        """Once a second: the date (RFC 9110, 6.6.1), and whatever is overdue on a connection."""
        self.date = b"date: %b\r\n" % formatdate(usegmt=True).encode()
        self.good = b"%b%bcontent-type: %b\r\ncontent-length: " % (_LINES[200], self.date, JSON)
        now = self.loop.time()
        for connection in list(self.connections):
            connection.expire(now)

    def connection(self) -> Connection:
        """A new one, for the event loop."""
        return Connection(self)

    def drain(self) -> None:
        """From now on a connection ends with the requests that have begun on it.

        One that was answered just now may have the next request under way, so it gets :data:`PARTING_SECONDS` to bring it;
        the answer says that it is the last.
        """
        self.draining = True
        now = self.loop.time()
        for connection in list(self.connections):
            connection.end_when_idle(now - PARTING_SECONDS)
        self.loop.call_later(PARTING_SECONDS, self.part)

    def part(self) -> None:
        """End every connection that brings nothing."""
        for connection in list(self.connections):
            connection.end_when_idle()

    @property
    def is_idle(self) -> bool:
        """Whether every connection and every request is gone."""
        return not self.connections and not self.tasks

    def abort(self) -> None:
        """Cut off whatever is still open."""
        for task in self.tasks:
            task.cancel()
        for connection in list(self.connections):
            connection.abort()


class Connection(asyncio.Protocol):
    """One connection. Its requests are answered one at a time, in their order."""

    __slots__ = (
        "_body_since", "_busy", "_client", "_deaf", "_done", "_head_bytes", "_head_since", "_headers", "_idle_since", "_in_head",
        "_known", "_last", "_left", "_likeness", "_linger_since", "_listening", "_parser", "_parts", "_paused", "_request",
        "_silent", "_size", "_stalled_since", "_target", "_transport", "_unread", "_waiting",
    )  # fmt: skip

    def __init__(self, listening: Listening) -> None:
        self._listening = listening
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._client = ""
        # The request that is being received.
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._in_head = False
        self._head_bytes = 0
        self._request: Request | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._left = 0  # bytes of a body of stated length, which is collected without the parser
        self._silent = 0  # bytes that brought neither a head nor a body further
        self._done = 0  # requests that the present piece completed
        self._last: Request | None = None
        # The last head that came in one piece with its body: clients repeat themselves.
        self._known = b""
        self._likeness: Request | None = None
        # Answers.
        self._waiting: deque[Request] = deque()
        self._busy = False
        self._paused = False
        self._deaf = False  # whatever comes is thrown away
        self._unread = False
        # Clocks: moments of the event loop's.
        self._head_since: float | None = None
        self._body_since: float | None = None
        self._idle_since: float | None = None
        self._stalled_since: float | None = None
        self._linger_since: float | None = None

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clock of the first header block."""
        self._transport = transport  # type: ignore[assignment] # a stream's, whatever the event loop calls it
        peer = transport.get_extra_info("peername")
        self._client = str(peer[0]) if isinstance(peer, tuple) and peer else ""
        self._head_since = self._listening.loop.time()
        self._listening.connections.add(self)
        if self._listening.draining:
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever asked is gone; what runs for it ends by itself."""
        del exc
        self._transport, self._deaf = None, True
        self._waiting.clear()
        self._forget()
        self._listening.connections.discard(self)

    def eof_received(self) -> bool:
        """The client sends no more; what it asked for before is still answered, where the transport can do that."""
        if (self._busy or self._waiting) and self._transport and self._transport.get_extra_info("sslcontext") is None:
            self._deaf = True
            return True
        return False

    def pause_writing(self) -> None:
        """The client does not read: nothing more is answered, and nothing more read, until it does."""
        self._stalled_since = self._listening.loop.time()
        self._pause()

    def resume_writing(self) -> None:
        """It reads on."""
        self._stalled_since = None
        self._go_on()

    def data_received(self, data: bytes) -> None:
        """Whatever came."""
        if self._deaf:
            return
        if self._left:
            data = self._collect(data)
            if not data or self._deaf:
                return
        likeness = self._likeness
        if (
            likeness is not None
            and len(data) == len(self._known) + likeness.length
            and not self._in_head
            and self._request is None
            and data.startswith(self._known)
        ):
            # The head from before, a body as long as it says, and nothing behind: it means what it meant before.
            self._take(likeness.like(data[len(self._known) :]))
        else:
            self._feed(data)

    # What is being received.

    def _feed(self, data: bytes) -> None:
        fresh, self._done = not self._in_head and self._request is None, 0
        self._silent += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # Nothing is upgraded here (RFC 9110, 7.8): the client goes on in HTTP/1.1, unless it wanted a tunnel.
            self._parser = httptools.HttpRequestParser(self)
            rest = data[upgrade.args[0] :]
            if rest and not self._deaf:
                self._feed(rest)
            return
        except httptools.HttpParserError as error:
            if not self._deaf:
                self._malformed(error)
            return
        if self._deaf:
            return
        if self._in_head:
            # A head that began in the midst of this piece is counted from the next one on.
            self._head_bytes = 0 if self._done else self._head_bytes + len(data)
            if self._head_bytes > MAX_HEADER_BYTES:
                self._refuse(_unframed("header block too large"))
        elif (request := self._request) is not None:
            if not request.chunked:
                self._left = request.length - self._size
                self._parser = httptools.HttpRequestParser(self)
            elif self._silent > MAX_HEADER_BYTES:
                self._refuse(_unframed("chunked body without data"))
        elif fresh and self._done == 1 and self._last is not None:
            self._remember(self._last, data)

    def _malformed(self, error: httptools.HttpParserError) -> None:
        cause = error.__context__
        if isinstance(cause, _HeadError):
            self._refuse(_unframed("header block too large"))
        else:
            if isinstance(error, httptools.HttpParserCallbackError):
                _log.error("a request failed: %s", type(cause).__name__)
            self._refuse(_unframed("this is no proper http"))

    def _remember(self, request: Request, data: bytes) -> None:
        """Know this head again, where the whole of ``data`` is the request."""
        head = data[: len(data) - request.length]
        # The first empty line ends a head: so nothing came before it, and nothing but the body is behind it.
        if request.plain and len(head) <= MAX_HEADER_BYTES and head.find(b"\r\n\r\n") == len(head) - 4:
            self._known, self._likeness = head, request

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._target, self._headers, self._in_head = b"", [], True
        if self._head_since is None:
            self._head_since = self._listening.loop.time()

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; or, behind a chunked body, a trailer, which means nothing here."""
        if self._in_head:
            self._headers.append((name.lower(), value))
            if len(self._headers) > MAX_HEADERS:
                raise _HeadError

    def on_headers_complete(self) -> None:
        """The header block is complete."""
        headers, listening, parser = self._headers, self._listening, self._parser
        self._in_head, self._head_since, self._idle_since, self._head_bytes = False, None, None, 0
        if self._deaf:
            return
        if len(self._target) + sum([len(name) + len(value) for name, value in headers]) > MAX_HEADER_BYTES:
            raise _HeadError
        request = Request(parser.get_method(), self._target, headers, self._client)
        request.keep_alive = parser.should_keep_alive()
        version = parser.get_http_version()
        request.old = version == "1.0"
        hosts = 0
        for name, value in headers:
            if name == b"host":
                hosts += 1
            elif name == b"content-length":
                request.length = int(value)
            elif name == b"transfer-encoding":
                request.chunked = True
            elif name == b"expect":
                request.expects = value.lower() == b"100-continue" and not request.old
        if hosts > 1 or (
            version != "1.0" and not (hosts and version == "1.1")
        ):  # RFC 9112, 3.2; and what is older than 1.0
            self._refuse(_unframed("expected http/1.1 with one host header, or http/1.0"))
            raise _HeadError
        self._request, self._size, self._silent, self._parts = request, 0, 0, []
        if request.length > listening.max_body:
            self._spoil(Fault.TOO_LARGE)
        request.refusal = listening.application.judge(request)
        if request.length or request.chunked:
            self._body_since = listening.loop.time()
            if request.expects:
                self._encourage(request)

    def _encourage(self, request: Request) -> None:
        """Say that the body may come; or that it need not, and then the client may take either for the next request."""
        if request.refusal is not None:
            self._refuse(request.refusal)
            raise _HeadError
        if self._transport is not None and not self._busy and not self._waiting:
            self._transport.write(_CONTINUE)

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._silent = 0
        if self._request is not None and not self._deaf:
            self._piece(self._request, body)

    def _piece(self, request: Request, body: bytes) -> None:
        self._size += len(body)
        if self._size > self._listening.max_body:
            self._spoil(Fault.TOO_LARGE)
        if request.refusal is None:
            self._parts.append(body)

    def _collect(self, data: bytes) -> bytes:
        """Take what belongs to the body that is being received; what is left of ``data``."""
        request, left = self._request, self._left
        assert request is not None
        rest = data[left:] if len(data) > left else b""
        part = data[:left] if rest else data
        self._left -= len(part)
        self._piece(request, part)
        if not self._left:
            self.on_message_complete()
        return rest

    def on_message_complete(self) -> None:
        """The request is whole."""
        request, parts = self._request, self._parts
        if request is None or self._deaf:
            return
        self._forget()
        if len(parts) == 1:
            request.body = parts[0]
        elif parts:
            # So much before the JSON that the first binary tensor lies aligned, and can be used where it lies.
            request.start = -(request.json_length or 0) % _ALIGNMENT
            request.body = b"".join((bytes(request.start), *parts))
        self._done += 1
        self._last = request
        self._take(request)

    def _forget(self) -> None:
        """Nothing is being received."""
        self._request, self._parts, self._left, self._in_head, self._head_bytes = None, [], 0, False, 0
        self._head_since = self._body_since = None

    def _spoil(self, fault: Fault) -> None:
        """The body will not be whole."""
        request = self._request
        assert request is not None
        self._refuse(self._listening.application.spoiled(request, fault))
        raise _HeadError

    def _refuse(self, reply: Reply) -> None:
        """Answer so when its turn comes, and read no more."""
        self._forget()
        last = Request(b"", b"", [], self._client)
        last.refusal, last.keep_alive = reply, False
        self._unread = True
        self._take(last)

    # Answers.

    def _take(self, request: Request) -> None:
        """Answer it now, or when its turn comes."""
        if not request.keep_alive:
            self._deaf = True
        if not self._busy and not self._waiting and self._stalled_since is None:
            self._answer(request)
        elif len(self._waiting) < MAX_WAITING or request.refusal is not None:
            self._waiting.append(request)
            self._pause()
        else:
            self._refuse(_unframed(f"more than {MAX_WAITING} requests wait on this connection"))

    def _answer(self, request: Request) -> None:
        reply = request.refusal
        if reply is None:
            found = self._listening.application.answer(request)
            if not isinstance(found, tuple):
                self._busy = True
                task = self._listening.loop.create_task(self._later(request, found))
                self._listening.tasks.add(task)
                task.add_done_callback(self._listening.tasks.discard)
                return
            reply = found
        self._send(request, reply)
        if self._deaf:
            self._go_on()

    async def _later(self, request: Request, found: Coroutine[Any, Any, Reply]) -> None:
        reply = await found
        self._busy = False
        self._send(request, reply)
        self._go_on()

    def _go_on(self) -> None:
        """Answer what waits as far as that can be done now; then read on, or end."""
        while self._waiting and not self._busy and self._stalled_since is None:
            self._answer(self._waiting.popleft())
        if self._busy or self._waiting or self._transport is None:
            return
        if self._deaf and self._linger_since is None:
            self._end(self._transport)
        elif self._paused and self._stalled_since is None:
            self._resume(self._transport)

    def _send(self, request: Request, reply: Reply) -> None:
        transport, listening = self._transport, self._listening
        if transport is None or transport.is_closing():
            return
        status, body, content_type, headers = reply
        self._idle_since = listening.loop.time()
        if (
            status == 200
            and request.keep_alive
            and not (headers or listening.draining or request.special)
            and content_type is JSON
        ):
            head = b"%b%d\r\n\r\n" % (listening.good, len(body))
        else:
            if headers is CLOSE or not request.keep_alive or (listening.draining and not self._waiting):
                self._deaf = True
                self._unread = self._unread or headers is CLOSE
                self._waiting.clear()
            head = self._head(request, reply)
            if request.method == b"HEAD":
                body = b""
        if len(body) < _JOIN_BELOW:
            transport.write(head + body)
        else:
            transport.writelines((head, body))

    def _head(self, request: Request, reply: Reply) -> bytes:
        status, body, content_type, headers = reply
        lines = [_LINES[status], self._listening.date]
        lines += [b"content-type: %b\r\ncontent-length: %d\r\n" % (content_type, len(body))]
        lines += [b"%b: %b\r\n" % header for header in headers if header not in CLOSE]
        if self._deaf:
            lines.append(b"connection: close\r\n")
        elif request.old:
            lines.append(b"connection: keep-alive\r\n")
        return b"".join((*lines, b"\r\n"))

    # The end.

    def _end(self, transport: asyncio.Transport) -> None:
        if self._unread and transport.can_write_eof() and not transport.is_closing():
            self._linger_since = self._listening.loop.time()
            transport.write_eof()
            if self._paused:
                self._resume(transport)
        else:
            transport.close()

    def end_when_idle(self, since: float = math.inf) -> None:
        """End with the requests that have begun, unless one was answered after the moment ``since``."""
        if self._idle_since is not None and self._idle_since > since:
            return
        if self._transport is None or self._busy or self._waiting or self._request is not None or self._in_head:
            return
        self._transport.close()

    def expire(self, now: float) -> None:
        """End what is overdue; ``now`` on the event loop's clock."""
        transport = self._transport
        if transport is None:
            return
        if _past(self._stalled_since, now, WRITE_SECONDS) or _past(self._linger_since, now, LINGER_SECONDS):
            transport.abort()
        elif self._busy or self._waiting or self._paused:
            # Nothing is read meanwhile, so nothing can come.
            self._head_since = self._head_since and now
            self._body_since = self._body_since and now
            self._idle_since = self._idle_since and now
        elif _past(self._body_since, now, BODY_SECONDS) and self._request is not None:
            self._refuse(self._listening.application.spoiled(self._request, Fault.TIMED_OUT))
        elif _past(self._head_since, now, HEADER_SECONDS) or (
            self._head_since is None and self._request is None and _past(self._idle_since, now, KEEP_ALIVE_SECONDS)
        ):
            transport.close()

    def abort(self) -> None:
        """End at once."""
        if self._transport is not None:
            self._transport.abort()

    def _pause(self) -> None:
        if not self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def _resume(self, transport: asyncio.Transport) -> None:
        self._paused = False
        if not transport.is_closing():
            transport.resume_reading()


def _past(since: float | None, now: float, seconds: float) -> bool:
    return since is not None and now - since > seconds
