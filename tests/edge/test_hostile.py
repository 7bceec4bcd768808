"""Hostile clients: 4xx, never 5xx; no crash, no content echoed into logs, nothing held for ever."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.edge import graphs
from tests.edge.devices import Server, place, serving
from trimtab_edge.serving.connection import MAX_HEADER_BYTES, MAX_HEADERS
from trimtab_edge.serving.failure import Fault, RequestError
from trimtab_edge.serving.json_codec import decode_request

if TYPE_CHECKING:
    from collections.abc import Iterator

GOOD: dict[str, Any] = {
    "id": "1",
    "inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}],
    "outputs": [{"name": "label"}],
}
BODY = json.dumps(GOOD).encode()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    repository = tmp_path_factory.mktemp("models")
    place(repository, "adder", "1.0.0", graphs.adder(0.5))
    with serving(repository, tmp_path_factory.mktemp("log") / "serve.log") as running:
        running.wait_ready("adder")
        yield running
        # Whatever was sent: it is the same process, it still answers rightly, and it ends as it should.
        assert running.process.poll() is None
        assert running.infer("adder", *GOOD["inputs"]).json["outputs"][0]["data"] == [10.5]
        assert "Traceback" not in running.log.read_text()
        assert running.stop() == 0


def talk(server: Server, data: bytes, *, finish: bool = True) -> bytes:
    """Send raw bytes; everything that comes back until the server closes or nothing more is due."""
    with socket.create_connection((server.host, server.port), timeout=10) as connection:
        try:
            connection.sendall(data)
            if finish:
                connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it hung up while we were still talking; what it said before that can still be read
        received = b""
        while True:
            try:
                part = connection.recv(65536)
            except ConnectionResetError:
                return received
            if not part:
                return received
            received += part


def post(body: bytes, *headers: bytes, length: int | None = None) -> bytes:
    lines = [b"POST /v2/models/adder/infer HTTP/1.1", b"host: x", b"connection: close", *headers]
    lines.append(b"content-length: %d" % (len(body) if length is None else length))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def status(reply: bytes) -> int:
    return int(reply.split(b" ", 2)[1])


def resident(server: Server) -> int:
    """Resident memory in bytes."""
    fields = Path(f"/proc/{server.process.pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


MALFORMED = {
    "no HTTP": b"hello\r\n\r\n",
    "TLS hello": bytes.fromhex("16030100c8010000c40303") + bytes(200),
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "NUL in the path": b"GET /v2\0 HTTP/1.1\r\nhost: x\r\n\r\n",
    "high bytes in the path": b"GET /v2/models/\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
    "bad header": b"GET /v2 HTTP/1.1\r\nho st: x\r\n\r\n",
    "negative length": b"POST /v2/models/adder/infer HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\nhello",
    "length is no number": b"POST /v2/models/adder/infer HTTP/1.1\r\nhost: x\r\ncontent-length: five\r\n\r\nhello",
    "length overflows": b"POST /v2/models/adder/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999999\r\n\r\n",
    "two lengths": b"POST /v2/models/adder/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
    "length and chunks": b"POST /v2/models/adder/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "bad chunk": b"POST /v2/models/adder/infer HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "header of a megabyte": b"GET /v2 HTTP/1.1\r\nx: " + b"a" * (1 << 20) + b"\r\n\r\n",
    "too many headers": b"GET /v2 HTTP/1.1\r\n" + b"".join(b"x%d: y\r\n" % n for n in range(MAX_HEADERS + 1)) + b"\r\n",
    "headers too large": b"GET /v2 HTTP/1.1\r\n"
    + b"".join(b"x%d: %b\r\n" % (n, b"y" * 1000) for n in range(20))
    + b"\r\n",
    "URL of a megabyte": b"GET /" + b"a" * (1 << 20) + b" HTTP/1.1\r\nhost: x\r\n\r\n",
    "asterisk": b"OPTIONS * HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    "tunnel": b"CONNECT example.com:443 HTTP/1.1\r\nhost: x\r\n\r\n",
    "websocket": b"GET /v2 HTTP/1.1\r\nhost: x\r\nconnection: upgrade, close\r\nupgrade: websocket\r\nsec-websocket-key: eA==\r\nsec-websocket-version: 13\r\n\r\n",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_no_proper_http_is_refused_or_ignored_never_a_server_error(server: Server, data: bytes) -> None:
    reply = talk(server, data)
    assert reply == b"" or status(reply) < 500, reply[:200]


SHOWN = b'{"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}'
INFER = b"/v2/models/adder/infer"
AS_WRITTEN = {
    "no host": (b"GET /v2 HTTP/1.1\r\nconnection: close\r\n\r\n", [400]),
    "two hosts": (b"GET /v2 HTTP/1.1\r\nhost: x\r\nhost: y\r\nconnection: close\r\n\r\n", [400]),
    "0.9": (b"GET /v2\r\n\r\n", [400]),
    "1.0 without a host": (b"GET /v2 HTTP/1.0\r\n\r\n", [200]),
    "1.0 that stays": (b"GET /v2 HTTP/1.0\r\nconnection: keep-alive\r\n\r\nGET /v2 HTTP/1.0\r\n\r\n", [200, 200]),
    "absolute form": (b"GET http://x:80/v2/models/adder?a=b HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", [200]),
    "escaped name": (b"GET /v2/models/%61dder HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", [200]),
    "escaped slash": (b"GET /v2/models/adder%2fready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", [404]),
    "chunks, an extension, a trailer, and more behind": (
        b"POST " + INFER + b" HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5;a=b\r\n" + SHOWN[:5]
        + b"\r\n%x\r\n" % len(SHOWN[5:]) + SHOWN[5:] + b"\r\n0\r\nx: y\r\n\r\n"
        + b"GET /v2 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        [200, 200],
    ),
    "a word before the body": (
        b"POST " + INFER + b" HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
        % len(SHOWN) + SHOWN,
        [100, 200],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("data", "statuses"), AS_WRITTEN.values(), ids=AS_WRITTEN.keys())
def test_http_as_its_standard_has_it(server: Server, data: bytes, statuses: list[int]) -> None:
    reply = talk(server, data)
    assert [int(part[:3]) for part in reply.split(b"HTTP/1.1 ")[1:]] == statuses, reply


def test_a_malformed_head_gets_a_json_error(server: Server) -> None:
    head, _, body = talk(server, MALFORMED["bad header"]).partition(b"\r\n\r\n")
    assert b"400 Bad Request" in head
    assert json.loads(body)["error"]


def test_a_body_shorter_than_its_length_is_no_request(server: Server) -> None:
    assert talk(server, post(BODY, length=len(BODY) + 10)) == b""


def test_a_body_longer_than_its_length_is_cut_there(server: Server) -> None:
    assert status(talk(server, post(BODY, length=len(BODY) - 10))) == 400


def test_a_client_that_hangs_up_in_the_middle_leaves_nothing_behind(server: Server) -> None:
    for cut in range(0, len(post(BODY)), 9):
        with socket.create_connection((server.host, server.port), timeout=10) as connection:
            connection.sendall(post(BODY)[:cut])


def test_a_claim_of_a_huge_body_is_refused_before_it_is_sent(server: Server) -> None:
    reply = talk(server, post(b"", length=10**12), finish=False)
    assert status(reply) == 413


def test_a_huge_body_in_chunks_is_refused_on_the_way_and_not_kept(server: Server) -> None:
    """64 MiB are offered to a server that takes 32; its memory does not grow by what it refused."""
    before = resident(server)
    head = b"POST /v2/models/adder/infer HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    with socket.create_connection((server.host, server.port), timeout=30) as connection:
        connection.sendall(head)
        reply = b""
        try:
            for _ in range(64):
                connection.sendall(chunk)
            reply = connection.recv(65536)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it hung up while we were still talking, as it should
    assert reply == b"" or status(reply) == 413
    assert resident(server) < before + 80 * 1024 * 1024


def test_many_values_for_a_small_shape_are_refused(server: Server) -> None:
    row = {**GOOD["inputs"][0], "data": [0.5] * 1_000_000}
    assert server.infer("adder", row).status == 400


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    """A good one, a bad one, and one that asks to close: three answers, in that order."""
    keep = post(BODY).replace(b"connection: close\r\n", b"")
    bad = post(b"[").replace(b"connection: close\r\n", b"")
    reply = talk(server, keep + bad + post(BODY), finish=False)
    assert [int(part[:3]) for part in reply.split(b"HTTP/1.1 ")[1:]] == [200, 400, 200]


# Values that a hostile client may put anywhere.
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(["FP32", "INT64", "BYTES", "BOOL", "x", "label", -1, 2**31, 2**63, 10**30, 1e308, "\0"]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


def places_of(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place within a JSON value."""
    found = [path]
    if isinstance(value, dict):
        found += [place for key, item in value.items() for place in places_of(item, (*path, key))]
    elif isinstance(value, list):
        found += [place for index, item in enumerate(value) for place in places_of(item, (*path, index))]
    return found


def replaced(value: Any, path: tuple[Any, ...], new: object) -> Any:  # noqa: ANN401 - any JSON
    if not path:
        return new
    copy = list(value) if isinstance(value, list) else dict(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def refusal(body: bytes) -> RequestError | None:
    """How the decoder refuses ``body``; None for a request. Any other exception fails the test."""
    try:
        decode_request(body)
    except RequestError as error:
        return error
    return None


@given(path=st.sampled_from(places_of(GOOD)), value=VALUES)
def test_any_value_at_any_place_is_a_request_or_a_clear_refusal(path: tuple[Any, ...], value: object) -> None:
    """The decoder alone, many times: it gives a request or blames the client, and raises nothing else."""
    error = refusal(json.dumps(replaced(GOOD, path, value)).encode())
    assert error is None or (error.fault is Fault.INVALID and error.message.isprintable())


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_a_clear_refusal(data: bytes) -> None:
    error = refusal(data)
    assert error is None or error.fault is Fault.INVALID


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(places_of(GOOD)), value=VALUES)
def test_no_change_of_a_good_request_makes_the_server_fail(
    server: Server, path: tuple[Any, ...], value: object
) -> None:
    body = json.dumps(replaced(GOOD, path, value)).encode()
    reply = server.ask("POST", "/v2/models/adder/infer", body)
    assert reply.status in (200, 400), reply.body
    assert ("error" in reply.json) is (reply.status == 400)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, len(post(BODY))), noise=st.binary(max_size=30))
def test_noise_anywhere_in_a_request_does_not_make_the_server_fail(server: Server, cut: int, noise: bytes) -> None:
    good = post(BODY)
    reply = talk(server, good[:cut] + noise + good[cut:])
    assert reply == b"" or status(reply) < 500, reply[:200]


def test_a_header_block_in_small_pieces_is_cut_off_at_its_limit(server: Server) -> None:
    with socket.create_connection((server.host, server.port), timeout=10) as connection:
        connection.sendall(b"GET /v2 HTTP/1.1\r\nx: ")
        sent = 0
        try:
            while sent < 4 * MAX_HEADER_BYTES:
                sent += connection.send(b"a" * 1024)
            reply = connection.recv(1000)
        except (BrokenPipeError, ConnectionResetError):
            return
        assert reply == b"" or status(reply) == 400
