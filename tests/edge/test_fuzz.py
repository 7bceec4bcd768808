"""Thousands of hostile requests against a server that really runs, over HTTP and gRPC.

However many: no crash, no 5xx for what is the client's fault, memory within bounds, and right answers afterwards.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings

from tests.edge import graphs, hostility
from tests.edge.devices import ALIGNMENT, Server, place, serving
from trimtab_edge.settings import ModelDescription
from trimtab_kernel.problems import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

DESCRIPTION = ModelDescription(alignment=ALIGNMENT).to_bytes().decode()
MIB = 1024 * 1024
GROWTH = 48 * MIB
"""What the server may grow by after its first requests: allocators keep some of what was let go."""
BODY_LIMIT = 4 * MIB
FEW = 250
"""Of each transport, in the ordinary tier."""
HTTP_REQUESTS, GRPC_REQUESTS = 14_000, 6_000
FAMILY = 4
"""Requests sent for each one that Hypothesis draws: drawing costs more than sending."""
SLOW = 20
"""Slow clients of each kind."""
BLAME = {
    "OK", "INVALID_ARGUMENT", "NOT_FOUND", "RESOURCE_EXHAUSTED", "PERMISSION_DENIED", "FAILED_PRECONDITION",
    "UNIMPLEMENTED",
}  # fmt: skip
"""How a hostile call may end: nothing of it says that the server is at fault."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server of every model that a hostile request names; whatever was sent, it answers rightly at the end."""
    repository = tmp_path / "models"
    place(repository, "adder", "1.0.0", graphs.adder(0.5), DESCRIPTION)
    place(repository, "pair", "1.0.0", graphs.pair())
    place(repository, "picker", "1.0.0", graphs.picker())
    for name, datatype in (("texts", "BYTES"), ("halves", "FP16"), ("flags", "BOOL")):
        place(repository, name, "1.0.0", graphs.identity(datatype))
    options = ("--grpc-port", "0", "--no-model-control", "--max-body-bytes", str(BODY_LIMIT))
    with serving(repository, tmp_path / "serve.log", *options) as running:
        for model in hostility.SOUND:
            running.wait_ready(model)
        check_sound(running)
        yield running
        assert running.process.poll() is None, running.log.read_text()
        check_sound(running)
        for (name, labels), value in running.samples().items():
            if name == "trimtab_inference_failures_total" and ("reason", "internal") in labels:
                assert value == 0, labels
        assert running.stop() == 0
        log = running.log.read_text()
        assert "Traceback" not in log
        assert "failed:" not in log


def check_sound(server: Server) -> None:
    """Every model answers a sound request."""
    for model, document in hostility.SOUND.items():
        reply = server.ask("POST", f"/v2/models/{model}/infer", json.dumps(document).encode())
        assert reply.status == 200, (model, reply.body)
    assert server.infer("adder", hostility.ROW).json["outputs"][0]["data"] == [10.5]


def resident(server: Server) -> int:
    """Resident memory in bytes."""
    return int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Client:
    """A keep-alive connection that takes another where the server closes it."""

    def __init__(self, server: Server) -> None:
        self._address = (server.host, server.port)
        self._socket: socket.socket | None = None
        self._left = b""
        self.sent = 0

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket, self._left = None, b""

    def _connected(self) -> socket.socket:
        if self._socket is None:
            self._socket = socket.create_connection(self._address, timeout=30)
        return self._socket

    def judge(self, request: hostility.Request) -> None:
        """Send it, and hold what comes back against what a client may be told."""
        self.sent += 1
        if request.framed:
            status, headers, body = self._exchange(request)
            check_reply(request, status, headers, body)
        else:
            for status in self._spill(request.content):
                assert status < 500 or status in (503, 504), request.content[:300]

    def _exchange(self, request: hostility.Request) -> tuple[int, dict[str, str], bytes]:
        connection = self._connected()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(request.content)
        head, _, rest = self._until(b"\r\n\r\n", request).partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (text.partition(":") for text in lines)}
        length = 0 if request.head else int(headers["content-length"])
        while len(rest) < length:
            part = connection.recv(65536)
            assert part, "the response ends early"
            rest += part
        self._left = rest[length:]
        assert self._left == b"", "more than the response"
        if headers.get("connection") == "close":
            self.close()
        return int(line.split(" ")[1]), headers, rest[:length]

    def _until(self, mark: bytes, request: hostility.Request) -> bytes:
        received = self._left
        while mark not in received:
            part = self._connected().recv(65536)
            assert part, f"closed without an answer to {request.content[:300]!r}"
            received += part
        return received

    def _spill(self, content: bytes) -> list[int]:
        """Bytes on a connection of their own; the statuses of what comes back until the server closes."""
        received = b""
        with socket.create_connection(self._address, timeout=30) as connection:
            # It may hang up while this side still talks; what it said before can still be read.
            with contextlib.suppress(OSError):
                connection.sendall(content)
                connection.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                while part := connection.recv(65536):
                    received += part
        return [int(piece[:3]) for piece in received.split(b"HTTP/1.1 ")[1:]]


def check_reply(request: hostility.Request, status: int, headers: dict[str, str], body: bytes) -> None:
    """A refusal blames the client in JSON; "too busy" and "too late" only where an explanation or a timeout was asked."""
    shown = (status, body[:300], request.content[:400])
    busy = status == 503 and b"/explain" in request.content[:100] and "retry-after" in headers
    late = status == 504 and (b"timeout" in request.content or b"deadline_ms" in request.content)
    assert 200 <= status < 500 or busy or late, shown
    if status >= 400 and not request.head:
        message = json.loads(body)["error"]
        assert message, shown
        assert printable(message, len(message)) == message, shown


def hostile_http(server: Server, requests: int) -> None:
    client, floor = Client(server), 0

    @settings(max_examples=-(-requests // FAMILY), database=None, suppress_health_check=list(HealthCheck))
    @given(hostility.HTTP)
    def holds(request: hostility.Request) -> None:
        nonlocal floor
        try:
            for cousin in hostility.family(request, FAMILY):
                client.judge(cousin)
        except BaseException:
            client.close()
            raise
        if not floor and client.sent >= requests // 5:
            floor = resident(server)

    try:
        holds()
    finally:
        client.close()
    assert client.sent >= requests
    assert resident(server) < floor + GROWTH


def hostile_grpc(server: Server, requests: int) -> None:
    sent = floor = 0
    with grpc.insecure_channel(server.grpc_address) as channel:

        @settings(max_examples=-(-requests // FAMILY), database=None, suppress_health_check=list(HealthCheck))
        @given(hostility.calls())
        def holds(call: tuple[str, bytes]) -> None:
            nonlocal sent, floor
            name, content = call
            stub: Any = channel.unary_unary(f"/inference.GRPCInferenceService/{name}")
            family = [content]
            while len(family) < FAMILY:
                family.append(hostility.twisted(family[-1]))
            for future, cousin in [(stub.future(cousin, timeout=30), cousin) for cousin in family]:
                future.exception()
                code = future.code().name
                late = code == "DEADLINE_EXCEEDED" and b"timeout" in cousin
                assert code in BLAME or late, (name, cousin, future.details())
                sent += 1
            if not floor and sent >= requests // 5:
                floor = resident(server)

        holds()
    assert sent >= requests
    assert resident(server) < floor + GROWTH


def noise_on_the_grpc_port(server: Server) -> None:
    """What is no HTTP/2, or breaks off within it, on the port of gRPC."""
    host, _, port = server.grpc_address.rpartition(":")
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    settings_frame = bytes(3) + b"\x04" + bytes(5)
    frames = [bytes([255, 255, 255, kind, 0xFF]) + b"\x7f\xff\xff\xff" + bytes(64) for kind in range(12)]
    for content in (b"", b"GET / HTTP/1.1\r\n\r\n", preface, bytes(1000), b"\xff" * 1000):
        for frame in (b"", *frames):
            with socket.create_connection((host, int(port)), timeout=10) as connection, contextlib.suppress(OSError):
                connection.sendall(content + settings_frame + frame)


@contextlib.contextmanager
def slow_clients(server: Server) -> Iterator[list[socket.socket]]:
    """Connections that begin a request and say no more."""
    whole = hostility.framed("POST", "/v2/models/adder/infer", json.dumps(hostility.SOUND["adder"]).encode()).content
    head = whole.index(b"\r\n\r\n") + 4
    with contextlib.ExitStack() as stack:
        slow = []
        for cut in (0, 1, head - 1, head, head + 1, len(whole) - 1) * SLOW:
            connection = stack.enter_context(socket.create_connection((server.host, server.port), timeout=60))
            connection.sendall(whole[:cut])
            slow.append(connection)
        yield slow


def test_hostile_requests_over_http_are_the_clients_fault_and_cost_nothing(server: Server) -> None:
    """With slow clients beside them, which never keep a sound request from its answer."""
    with slow_clients(server):
        hostile_http(server, FEW)
        check_sound(server)


def test_hostile_messages_over_grpc_are_the_clients_fault_and_cost_nothing(server: Server) -> None:
    noise_on_the_grpc_port(server)
    hostile_grpc(server, FEW)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_same_holds_of_twenty_thousand(server: Server) -> None:
    """And slow clients are shown out, wherever in their request they stopped."""
    with slow_clients(server) as slow:
        hostile_http(server, HTTP_REQUESTS)
        for connection in slow:
            reply = connection.recv(1000)
            assert reply == b"" or reply.startswith(b"HTTP/1.1 408 "), reply
    noise_on_the_grpc_port(server)
    hostile_grpc(server, GRPC_REQUESTS)
