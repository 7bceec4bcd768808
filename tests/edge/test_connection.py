"""HTTP/1.1 on a connection: framing whatever the pieces, order, clocks, bounds, and how it ends."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import time
from email.utils import parsedate_to_datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.edge import graphs
from tests.edge.devices import place, serving
from tests.edge.test_tls import Authority
from trimtab_edge.serving import connection as http
from trimtab_edge.serving.connection import Connection, Listening
from trimtab_edge.serving.exchange import CLOSE, Reply, Request
from trimtab_edge.serving.failure import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence
    from pathlib import Path

MAX_BODY = 1000


class Echo:
    """Answers with what it was sent: at once, or where the path is /later when it is let."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.answered = 0

    def judge(self, request: Request) -> Reply | None:
        return (415, b"no", b"text/plain", ()) if (b"x-no", b"1") in request.headers else None

    def spoiled(self, request: Request, fault: Fault) -> Reply:
        del request
        return (413 if fault is Fault.TOO_LARGE else 408, fault.name.encode(), b"text/plain", CLOSE)

    def answer(self, request: Request) -> Reply | Coroutine[Any, Any, Reply]:
        self.answered += 1
        reply: Reply = (200, b"%b %b %b" % (request.method, request.target, bytes(request.content)), http.JSON, ())
        return self._later(reply) if request.target == b"/later" else reply

    async def _later(self, reply: Reply) -> Reply:
        await self.gate.wait()
        return reply


class Transport(asyncio.Transport):
    """What a connection writes to; nothing of it is ours."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = self.aborted = self.eof = self.paused = False
        self.written = b""

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("192.0.2.1", 4711) if name == "peername" else default

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.eof
        self.written += bytes(data)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.eof = True

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class Stage:
    """One connection on an event loop, with everything around it at hand."""

    def __init__(self) -> None:
        self.echo = Echo()
        self.listening = Listening(self.echo, MAX_BODY, asyncio.get_running_loop())
        self.connection: Connection = self.listening.connection()
        self.transport = Transport()
        self.connection.connection_made(self.transport)
        self.start = asyncio.get_running_loop().time()

    def receive(self, *pieces: bytes) -> None:
        for piece in pieces:
            if not self.transport.closed:
                self.connection.data_received(piece)

    async def settle(self) -> None:
        self.echo.gate.set()
        while self.listening.tasks:
            await asyncio.sleep(0)

    @property
    def replies(self) -> list[tuple[int, bytes]]:
        """Status and body of everything that was written."""
        found, rest = [], self.transport.written
        while rest:
            head, _, rest = rest.partition(b"\r\n\r\n")
            status = int(head.split(b" ")[1])
            length = 0
            for line in head.split(b"\r\n")[1:]:
                name, _, value = line.partition(b": ")
                length = int(value) if name == b"content-length" else length
            found.append((status, rest[:length]))
            rest = rest[length:]
        return found


def staged(scenario: Callable[[Stage], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        stage = Stage()
        await scenario(stage)
        await stage.settle()
        stage.connection.connection_lost(None)

    asyncio.run(run())


def post(body: bytes, *lines: bytes, target: bytes = b"/now") -> bytes:
    head = [b"POST %b HTTP/1.1" % target, b"Host: x", *lines, b"Content-Length: %d" % len(body)]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def chunked(parts: Sequence[bytes], trailer: bytes = b"") -> bytes:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts if part)
    return (
        b"POST /now HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n" + trailer + b"\r\n"
    )


BODIES = st.binary(max_size=60) | st.sampled_from([b"", b"\r\n\r\n", b"\r\nGET / HTTP/1.1\r\n\r\n", b"x" * 900])
REQUESTS = st.one_of(
    BODIES.map(lambda body: (post(body), b"POST /now " + body)),
    BODIES.map(lambda body: (post(body, target=b"/later"), b"POST /later " + body)),
    st.lists(BODIES.filter(lambda body: len(body) < 100), max_size=4).map(
        lambda parts: (chunked(parts, b"x-trailer: 1\r\n"), b"POST /now " + b"".join(parts))
    ),
    st.just((b"\r\nGET /a?b HTTP/1.1\r\nhost: x\r\n\r\n", b"GET /a?b ")),
    st.just((b"GET /u HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n", b"GET /u ")),
)


@given(requests=st.lists(REQUESTS, min_size=1, max_size=6), repeat=st.integers(1, 3), cuts=st.sets(st.integers(1, 4000), max_size=12))  # fmt: skip
def test_the_answers_do_not_depend_on_how_the_bytes_come_in_pieces(
    requests: list[tuple[bytes, bytes]], repeat: int, cuts: set[int]
) -> None:
    """One answer for each request, in its order, with the body that was sent."""
    requests = [request for request in requests for _ in range(repeat)]
    stream = b"".join(sent for sent, _ in requests)
    marks = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    pieces = [stream[begin:end] for begin, end in pairwise(marks)]

    async def scenario(stage: Stage) -> None:
        stage.receive(*pieces)
        await stage.settle()
        assert stage.replies == [(200, expected) for _, expected in requests]
        assert not stage.transport.closed
        assert not stage.transport.paused

    staged(scenario)


@given(bodies=st.lists(st.binary(min_size=4, max_size=4), min_size=3, max_size=6), tail=st.sampled_from([b"", b"\r\n"]))
def test_a_head_that_is_known_already_means_what_it_meant_before(bodies: list[bytes], tail: bytes) -> None:
    """Also behind a request with an empty line after it, which belongs to no body."""

    async def scenario(stage: Stage) -> None:
        stage.receive(*(post(body) + tail for body in bodies))
        assert stage.replies == [(200, b"POST /now " + body) for body in bodies]

    staged(scenario)


def test_a_repeated_head_whose_body_comes_later_or_has_company_is_framed_as_ever() -> None:
    async def scenario(stage: Stage) -> None:
        one = post(b"abcd")
        stage.receive(one, one, one[:-2], b"cd" + one, one + one[:-1], b"d")
        assert stage.replies == [(200, b"POST /now abcd")] * 6

    staged(scenario)


@pytest.mark.parametrize(
    ("sent", "seconds", "ended"),
    {
        "nothing at all": (b"", http.HEADER_SECONDS, True),
        "a head that never ends": (post(b"x")[:20], http.HEADER_SECONDS, True),
        "empty lines only": (b"\r\n" * 50, http.HEADER_SECONDS, True),
        "a complete head and no body": (post(b"x")[:-1], http.BODY_SECONDS, True),
        "a body that ends early": (post(b"xyz")[:-1], http.BODY_SECONDS, True),
        "a chunk that ends early": (chunked([b"xyz"])[:-8], http.BODY_SECONDS, True),
        "an answered request, and then nothing": (post(b"x"), http.KEEP_ALIVE_SECONDS, True),
        "an answered request, and half of the next": (post(b"x") + post(b"y")[:20], http.HEADER_SECONDS, True),
        "a request that still runs": (post(b"x", target=b"/later"), 10 * http.KEEP_ALIVE_SECONDS, False),
        "half a request behind one that still runs": (
            post(b"x", target=b"/later") + post(b"y")[:-1], 10 * http.KEEP_ALIVE_SECONDS, False,
        ),
    }.values(),
)  # fmt: skip
def test_what_is_overdue_is_ended_and_nothing_before(sent: bytes, seconds: float, *, ended: bool) -> None:
    """On the event loop's clock, moved by hand. A body that is overdue gets its 408."""

    async def scenario(stage: Stage) -> None:
        if sent:
            stage.receive(sent)
        stage.connection.expire(stage.start + seconds - 1)
        assert (stage.transport.closed, stage.transport.eof) == (False, False)
        before = len(stage.replies)
        stage.connection.expire(asyncio.get_running_loop().time() + seconds + 1)
        assert (stage.transport.closed or stage.transport.eof) is ended
        assert [status for status, _ in stage.replies[before:]] == ([408] if seconds == http.BODY_SECONDS else [])

    staged(scenario)


def test_a_client_that_does_not_read_is_answered_no_more_and_shown_out() -> None:
    async def scenario(stage: Stage) -> None:
        stage.receive(post(b"a"))
        stage.connection.pause_writing()
        assert (stage.transport.paused, stage.transport.closed) == (True, False)
        stage.receive(post(b"b") + post(b"c"))
        assert len(stage.replies) == stage.echo.answered == 1
        stage.connection.resume_writing()
        assert len(stage.replies) == 3
        assert not stage.transport.paused
        stage.connection.pause_writing()
        stage.connection.expire(asyncio.get_running_loop().time() + http.WRITE_SECONDS - 1)
        assert not stage.transport.closed
        stage.connection.expire(asyncio.get_running_loop().time() + http.WRITE_SECONDS + 1)
        assert stage.transport.aborted

    staged(scenario)


def test_a_refusal_is_sent_and_what_still_comes_is_thrown_away_for_a_while() -> None:
    async def scenario(stage: Stage) -> None:
        stage.receive(post(b"a"), post(bytes(MAX_BODY + 1))[:80], bytes(500), post(b"b"))
        assert [status for status, _ in stage.replies] == [200, 413]
        assert (stage.transport.eof, stage.transport.closed) == (True, False)
        stage.connection.expire(asyncio.get_running_loop().time() + http.LINGER_SECONDS + 1)
        assert stage.transport.aborted

    staged(scenario)


def test_a_chunked_body_is_refused_at_the_limit_and_where_it_brings_nothing() -> None:
    """Chunk extensions and trailers are no way around the limits."""
    head = b"POST /now HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    for pieces, expected in (
        ([head, *([b"64\r\n" + bytes(100) + b"\r\n"] * 11)], [413]),
        ([head, b"1;", *([b"x" * 1000] * 40)], [400]),
        ([head, b"1\r\nx\r\n0\r\nt: ", *([b"x" * 1000] * 40)], [400]),
    ):

        async def scenario(stage: Stage, pieces: list[bytes] = pieces, expected: list[int] = expected) -> None:
            stage.receive(*pieces)
            assert [status for status, _ in stage.replies] == expected
            assert stage.echo.answered == 0

        staged(scenario)


def test_so_many_requests_may_wait_and_no_more() -> None:
    later = post(b"", target=b"/later")

    async def scenario(stage: Stage) -> None:
        stage.receive(later * (http.MAX_WAITING + 1))
        assert stage.transport.paused
        stage.receive(later * 3)
        assert stage.replies == []
        await stage.settle()
        statuses = [status for status, _ in stage.replies]
        assert statuses == [200] * (http.MAX_WAITING + 1) + [400]
        assert stage.transport.eof

    staged(scenario)


def test_a_client_that_waits_for_a_word_gets_it_or_the_refusal() -> None:
    async def scenario(stage: Stage) -> None:
        wanted = post(b"abc", b"Expect: 100-continue")
        stage.receive(wanted[:-3])
        assert stage.transport.written == b"HTTP/1.1 100 Continue\r\n\r\n"
        stage.receive(b"abc")
        assert stage.replies[1:] == [(200, b"POST /now abc")]
        stage.receive(post(b"abc", b"Expect: 100-continue", b"x-no: 1")[:-3], b"abc")
        assert [status for status, _ in stage.replies[2:]] == [415]
        assert stage.transport.eof

    staged(scenario)


def test_a_request_that_is_refused_by_its_head_costs_its_body_and_not_the_connection() -> None:
    async def scenario(stage: Stage) -> None:
        refused = post(b"x" * 900, b"x-no: 1")
        stage.receive(refused[:200], refused[200:] + post(b"a"))
        assert stage.replies == [(415, b"no"), (200, b"POST /now a")]

    staged(scenario)


@pytest.mark.parametrize(
    ("head", "closes", "said"),
    [
        (b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", False, b""),
        (b"GET / HTTP/1.1\r\nhost: x\r\nConnection: close\r\n\r\n", True, b"close"),
        (b"GET / HTTP/1.0\r\n\r\n", True, b"close"),
        (b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n", False, b"keep-alive"),
        (b"CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n", False, b""),
    ],
)
def test_the_connection_goes_on_as_the_request_says(head: bytes, said: bytes, *, closes: bool) -> None:
    async def scenario(stage: Stage) -> None:
        stage.receive(head)
        assert [status for status, _ in stage.replies] == [200]
        assert stage.transport.closed is closes
        assert (b"connection: " + said in stage.transport.written) is bool(said)

    staged(scenario)


def test_a_head_request_gets_the_head_alone() -> None:
    async def scenario(stage: Stage) -> None:
        stage.receive(b"HEAD /x HTTP/1.1\r\nhost: x\r\n\r\n")
        head, _, rest = stage.transport.written.partition(b"\r\n\r\n")
        assert rest == b""
        assert b"content-length: 8" in head
        date = next(line for line in head.split(b"\r\n") if line.startswith(b"date: "))
        assert abs(parsedate_to_datetime(date[6:].decode()).timestamp() - time.time()) < 60

    staged(scenario)


def test_half_a_connection_is_enough_for_an_answer() -> None:
    async def scenario(stage: Stage) -> None:
        stage.receive(post(b"a", target=b"/later"), post(b"b", target=b"/later"))
        assert stage.connection.eof_received() is True
        await stage.settle()
        assert [status for status, _ in stage.replies] == [200, 200]
        assert stage.transport.closed

    staged(scenario)


def test_a_drain_ends_idle_connections_and_answers_what_has_begun() -> None:
    async def scenario(stage: Stage) -> None:
        begun = stage.listening.connection()
        transport = Transport()
        begun.connection_made(transport)
        begun.data_received(post(b"abc")[:-1])
        idle, silent = stage.listening.connection(), stage.listening.connection()
        idle.connection_made(quiet := Transport())
        silent.connection_made(unsaid := Transport())
        silent.data_received(post(b"a"))
        stage.receive(post(b"a"))
        stage.listening.drain()
        assert [each.closed for each in (stage.transport, transport, quiet, unsaid)] == [False, False, True, False]
        stage.receive(post(b"the next one was under way"))
        assert stage.transport.written.count(b"connection: close") == 1
        assert b"was under way" in stage.transport.written
        assert stage.transport.closed
        stage.listening.part()
        assert (transport.closed, unsaid.closed) == (False, True)
        begun.data_received(b"c")
        assert b"POST /now abc" in transport.written
        assert b"connection: close" in transport.written
        assert transport.closed
        late = stage.listening.connection()
        late.connection_made(closed := Transport())
        assert closed.closed
        for each in (begun, late, idle, silent, stage.connection):
            each.connection_lost(None)
        assert stage.listening.is_idle

    staged(scenario)


# ---------------------------------------------------------------- on real sockets

ROW = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
BODY = json.dumps({"inputs": [ROW], "outputs": [{"name": "score"}]}).encode()
INFER = b"/v2/models/adder/infer"


@pytest.fixture(scope="module", params=["http", "https"])
def spoken(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Any]]:
    """A way to connect to a server of the adder and of a slow model, in the clear and under TLS."""
    root: Path = tmp_path_factory.mktemp("connection")
    place(root / "models", "adder", "1.0.0", graphs.adder(0.5))
    place(root / "models", "slow", "1.0.0", graphs.slow(1.0, 300))
    options: list[str] = []
    context: ssl.SSLContext | None = None
    if request.param == "https":
        authority = Authority(root / "authority", "authority")
        certificate, key = authority.sign("box")
        options = ["--tls-certificate", str(certificate), "--tls-key", str(key)]
        context = authority.client()
    with serving(root / "models", root / "log", *options) as server:

        def connected() -> Any:  # noqa: ANN401 - a socket, or one under TLS
            plain = socket.create_connection((server.host, server.port), timeout=30)
            return plain if context is None else context.wrap_socket(plain, server_hostname=server.host)

        wait_answered(connected)
        yield connected
        assert server.process.poll() is None
        assert "Traceback" not in server.log.read_text()


def wait_answered(connected: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    ready = b"GET /v2/models/slow/ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    while not exchange(connected, ready).startswith(b"HTTP/1.1 200"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def exchange(connected: Callable[[], Any], *pieces: bytes) -> bytes:
    """Everything that comes back until the server closes."""
    with connected() as connection:
        for piece in pieces:
            connection.sendall(piece)
        received = b""
        while part := connection.recv(65536):
            received += part
    return received


def test_pipelined_requests_are_answered_in_order_though_some_are_slow(spoken: Callable[[], Any]) -> None:
    one = json.dumps({"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [5]}]}).encode()
    slow = post(one, target=b"/v2/models/slow/infer")
    fast, last = post(BODY, target=INFER), post(BODY, b"Connection: close", target=INFER)
    received = exchange(spoken, slow + fast + slow, fast + last)
    answers = [json.loads(part.partition(b"\r\n\r\n")[2]) for part in received.split(b"HTTP/1.1 ")[1:]]
    assert [answer["model_name"] for answer in answers] == ["slow", "adder", "slow", "adder", "adder"]


def test_a_body_in_chunks_and_one_behind_a_word_are_answered(spoken: Callable[[], Any]) -> None:
    in_chunks = chunked([BODY[:10], BODY[10:]]).replace(b"/now", INFER)
    waited = post(BODY, b"Expect: 100-continue", b"Connection: close", target=INFER)
    received = exchange(spoken, in_chunks[:100], in_chunks[100:], waited[: -len(BODY)], BODY)
    assert [part[:3] for part in received.split(b"HTTP/1.1 ")[1:]] == [b"200", b"100", b"200"]
    assert received.count(b"[10.5]") == 2


def test_an_answer_larger_than_every_buffer_arrives_whole(spoken: Callable[[], Any]) -> None:
    """Under load of its own: many rows in, many scores out, several times on one connection, read late."""
    rows = {"name": "x", "shape": [20_000, 4], "datatype": "FP32", "parameters": {"binary_data_size": 320_000}}
    head = json.dumps({"inputs": [rows]}).encode()
    length = b"Inference-Header-Content-Length: %d" % len(head)
    one = post(head + bytes(320_000), length, target=INFER)
    received = exchange(spoken, one, one, one.replace(b"Host: x", b"Host: x\r\nConnection: close"))
    assert received.count(b'"shape":[20000]') == 6
    assert received.endswith(b"]}]}")


def test_a_body_that_is_too_large_is_told_so_however_much_of_it_comes(spoken: Callable[[], Any]) -> None:
    """The answer is there for a client that sends on and only then reads."""
    head = post(b"", target=INFER).replace(b"Content-Length: 0", b"Content-Length: 99999999")
    with spoken() as connection:
        connection.sendall(head)
        connection.sendall(bytes(1_000_000))
        received = connection.recv(65536)
    assert received.startswith(b"HTTP/1.1 413 ")
