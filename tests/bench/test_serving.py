"""The serving bench counts what it says: percentiles, framing, process trees, budgets; its models answer as onnxruntime does."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.loads import Connection, Load, ServerFailedError, closed_loop, paced, parse_head, percentile, request_bytes
from bench.process_trees import ProcessTree, members, parse_stat
from bench.serving import PLANS, Figures, verdicts
from bench.serving_models import binary_body, json_body, perceptron, picture, tiny
from bench.serving_stands import STANDS, check_answer


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_half_of_all_values_are_at_most_the_median(values: list[float]) -> None:
    found = percentile(values, 0.5)
    if len(values) < 2:
        assert found is None
        return
    assert found in values
    assert sum(value <= found for value in values) >= len(values) / 2
    assert sum(value < found for value in values) < len(values) / 2


def test_a_percentile_that_no_value_lies_beyond_is_not_given() -> None:
    assert percentile([], 0.5) is None
    assert percentile(list(range(1, 1001)), 0.999) == 999
    assert percentile(list(range(1, 1000)), 0.999) is None
    assert percentile(list(range(100, 0, -1)), 0.99) == 99


@pytest.mark.parametrize(
    ("head", "status", "length"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 12", 200, 12),
        (b"HTTP/1.1 503 Service Unavailable\r\ncontent-length:0", 503, 0),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3", 200, None),
        (b"HTTP/1.1 204", 204, 0),
    ],
)
def test_a_head_says_how_its_body_ends(head: bytes, status: int, length: int | None) -> None:
    found = parse_head(head)
    assert (found.status, found.length) == (status, length)


@pytest.mark.parametrize("head", [b"", b"hello", b"HTTP/1.1 x", b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999"])
def test_a_head_that_cannot_be_framed_is_refused(head: bytes) -> None:
    with pytest.raises(ServerFailedError):
        parse_head(head)


class Canned:
    """A real socket at loopback that answers each request on each connection with the same bytes, in pieces."""

    def __init__(self, response: bytes) -> None:
        self.asked = 0
        self._response = response
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        with accepted:
            while accepted.recv(65_536):
                self.asked += 1
                for at in range(0, len(self._response), 7):
                    accepted.sendall(self._response[at : at + 7])

    def close(self) -> None:
        # Closing alone wakes nobody who waits in accept, and who waits there on a number that another listener then gets
        # may be given that listener's connections.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n",
    ],
)
def test_a_body_is_read_whole_and_the_next_one_after_it(response: bytes) -> None:
    server = Canned(response)
    try:
        with Connection(server.port) as connection:
            request = request_bytes(server.port, "/x", b"")
            assert [connection.exchange(request) for _ in range(3)] == [(200, b"hello world")] * 3
    finally:
        server.close()


def test_a_load_ends_at_its_number_of_requests() -> None:
    server = Canned(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    try:
        with Connection(server.port) as one, Connection(server.port) as other:
            load = closed_loop([one, other], request_bytes(server.port, "/", b""), 50, 30.0)
        assert len(load.latencies) == server.asked == 50
        assert sum(load.latencies) <= 2 * load.seconds
    finally:
        server.close()


def test_a_load_ends_at_its_time() -> None:
    server = Canned(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    try:
        with Connection(server.port) as connection:
            load = closed_loop([connection], request_bytes(server.port, "/", b""), 10**9, 0.2)
        assert 0.2 <= load.seconds < 5
    finally:
        server.close()


def test_a_paced_load_keeps_its_rate() -> None:
    server = Canned(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    try:
        with Connection(server.port) as connection:
            load = paced(connection, request_bytes(server.port, "/", b""), 50.0, 0.4)
        assert len(load.latencies) == server.asked == 20
        assert load.seconds >= 0.4
    finally:
        server.close()


@pytest.mark.parametrize("response", [b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno", b"not http\r\n\r\n"])
def test_a_load_does_not_count_failures_as_requests(response: bytes) -> None:
    server = Canned(response)
    try:
        with Connection(server.port) as connection, pytest.raises(ServerFailedError):
            closed_loop([connection], request_bytes(server.port, "/", b""), 10, 5.0)
    finally:
        server.close()


def test_the_name_of_a_process_may_look_like_the_end_of_its_field() -> None:
    assert parse_stat("12 (a) S 99) (b)) S 7 8 9 0 -1") == (7, 9)


def test_a_tree_is_the_descendants_and_the_session() -> None:
    stats = {10: (1, 10), 11: (10, 10), 12: (11, 12), 13: (1, 10), 14: (1, 14), 15: (14, 14)}
    assert members(10, stats) == (10, 11, 12, 13)


def test_cpu_of_children_counts_and_none_outlives_the_tree(tmp_path: Path) -> None:
    child = "import time; t = time.process_time()\nwhile time.process_time() - t < 0.2: pass\nprint('done', flush=True)\ntime.sleep(60)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    tree = ProcessTree([sys.executable, "-c", code], os.environ, tmp_path, tmp_path / "log")
    try:
        deadline = time.monotonic() + 30
        while "done" not in (tmp_path / "log").read_text() and time.monotonic() < deadline:
            time.sleep(0.02)
        pids = tree.pids()
        assert len(pids) == 2
        assert 0.2 <= tree.cpu() < 20
        memory = tree.memory()
        assert memory.processes == 2
        assert 0 < memory.proportional <= memory.resident
    finally:
        tree.stop()
    states = [
        path.read_text().rpartition(")")[2].split()[0] for pid in pids if (path := Path(f"/proc/{pid}/stat")).exists()
    ]
    assert set(states) <= {"Z"}
    assert tree.last_words() == "done"


def test_models_are_equal_in_every_run_and_of_the_size_that_is_said() -> None:
    for build in (tiny, picture, perceptron):
        assert build().content == build().content
    assert 11.5e6 < len(perceptron().content) < 12.5e6
    assert picture().example.nbytes == 602_112


def test_both_encodings_carry_the_same_tensor() -> None:
    model = picture()
    body, length = binary_body(model)
    said = json.loads(json_body(model))["inputs"][0]
    head = json.loads(body[:length])["inputs"][0]
    assert head["shape"] == said["shape"] == [1, 3, 224, 224]
    assert np.array_equal(np.frombuffer(body[length:], "<f4"), np.array(said["data"], np.float32))


def test_an_answer_is_checked_to_its_numbers() -> None:
    check_answer(b'{"outputs": [{"data": [0.5, 100.001]}]}', [0.5, 100.0])
    for wrong in (b'{"outputs": [{"data": [0.5]}]}', b'{"outputs": [{"data": [0.5, 101]}]}', b"{}", b"no", b"[]"):
        with pytest.raises(ServerFailedError):
            check_answer(wrong, [0.5, 100.0])


def test_figures_are_per_request() -> None:
    figures = Figures()
    figures.add(Load([0.1] * 50, 2.0), 0.5)
    figures.add(Load([], 2.0), 0.5)
    assert (figures.cpu, figures.rates, figures.busy) == ([10_000.0], [25.0], [25.0])


def test_budgets_are_judged_on_medians() -> None:
    def figures(*cpu: float) -> Figures:
        return Figures(cpu=list(cpu), resident=[100.0], busy=[1.9])

    titles = {stand.key: stand.title for stand in STANDS}
    trimtab, inside, default = titles["trimtab"], titles["mlserver"], titles["mlserver-default"]
    table = {trimtab: figures(100, 90, 5000), inside: figures(510, 500, 400), default: figures(999)}
    assert median(table[trimtab].cpu) == 100
    judged = [text.partition(" ")[0] for text in verdicts("tiny", table)]
    assert judged == ["within", "BEYOND", "within"]
    assert verdicts("picture-binary", table)[0].startswith("within")
    assert verdicts("paced", table)[0].startswith("within")
    assert verdicts("tiny", {inside: figures(500)}) == []


def test_every_load_has_an_end() -> None:
    assert all(plan.most <= 100_000 and plan.connections <= 64 for plan in PLANS)
