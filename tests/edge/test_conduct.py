"""How requests are let in: deadlines, turns, memory, shares, guards, batches, budgets, and the fleet's other endpoint."""

from __future__ import annotations

import contextlib
import json
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.edge import graphs
from tests.edge.devices import Reply, Server, place, sample, serving, wait_until
from trimtab_edge.conduct import Batching, Boundary, Conduct, Range, Typical, read_conduct
from trimtab_edge.serving.batching import Batcher, Durations, can_batch, rows_of
from trimtab_edge.serving.clients import ClientShares
from trimtab_edge.serving.guards import Guard
from trimtab_edge.serving.headroom import ADMIT_FACTOR, Headroom
from trimtab_edge.serving.session import OnnxSession
from trimtab_kernel.problems import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROW = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
ONE = {"name": "x", "shape": [1], "datatype": "FP32", "data": [5]}


def cohorts(description: dict[str, Any]) -> str:
    alignment = {
        "attribute": {"input": "x", "column": 0, "cohorts": {"one": {"value": 1}, "two": {"value": 2}}},
        "outcome": {"output": "label", "positive": 1},
    }
    return json.dumps({"alignment": alignment, **description})


@contextlib.contextmanager
def served(tmp_path: Path, content: bytes, description: object, *options: str) -> Iterator[Server]:
    text = description if isinstance(description, str) else json.dumps(description)
    place(tmp_path / "models", "m", "1.0.0", content, text)
    with serving(tmp_path / "models", tmp_path / "log", *options) as server:
        server.wait_ready("m")
        yield server


# --- deadlines and turns


def test_a_timeout_in_microseconds_ends_a_run_and_frees_its_thread(tmp_path: Path) -> None:
    with served(tmp_path, graphs.slow(1.0, 6000), {}, "--threads", "1") as server:
        started = time.monotonic()
        reply = server.infer("m", ONE, parameters={"timeout": 100_000})
        assert (reply.status, time.monotonic() - started < 1.5) == (504, True)
        assert "deadline" in reply.json["error"]
        again = time.monotonic()
        assert server.infer("m", ONE, parameters={"timeout": 1000}).status == 504
        assert time.monotonic() - again < 1.5
        assert sample(server.samples(), "trimtab_inference_failures_total", model="m", reason="overloaded") == 2


def test_the_servers_default_counts_where_a_request_and_its_model_say_nothing(tmp_path: Path) -> None:
    place(tmp_path / "models", "patient", "1.0.0", graphs.slow(1.0, 300), json.dumps({"limits": {"timeoutMs": 60000}}))
    with served(tmp_path, graphs.slow(1.0, 300), {}, "--timeout", "0.001") as server:
        server.wait_ready("patient")
        assert server.infer("m", ONE).status == 504
        assert server.infer("m", ONE, parameters={"timeout": 60_000_000}).status == 200
        assert server.infer("patient", ONE).status == 200


def test_a_timeout_in_a_header_counts_where_the_request_names_none(tmp_path: Path) -> None:
    """Also on a connection that repeats its head; anything but microseconds is the client's mistake."""
    with served(tmp_path, graphs.slow(1.0, 2000), {}, "--threads", "1") as server:
        path, body = "/v2/models/m/infer", json.dumps({"inputs": [ONE]}).encode()
        for _ in range(3):
            assert server.ask("POST", path, body, {"timeout": "50000"}).status == 504
        patient = json.dumps({"inputs": [ONE], "parameters": {"timeout": 60_000_000}}).encode()
        assert server.ask("POST", path, patient, {"timeout": "1"}).status == 200
        assert server.ask("POST", path, body, {"timeout": "0"}).status == 200
        for wrong in ("soon", "-1", "1.5", "86400000001", "9" * 40):
            reply = server.ask("POST", path, body, {"timeout": wrong})
            assert (reply.status, "timeout" in reply.json["error"]) == (400, True)


@pytest.mark.parametrize("timeout", [-1, "1", 1.5, True, 10**15])
def test_a_timeout_that_is_none_is_the_clients_mistake(tmp_path: Path, timeout: object) -> None:
    from trimtab_edge.serving.failure import RequestError
    from trimtab_edge.serving.json_codec import decode_request

    body = json.dumps({"inputs": [ROW], "parameters": {"timeout": timeout}}).encode()
    with pytest.raises(RequestError, match="timeout"):
        decode_request(body)


def test_grpc_requests_carry_the_same_timeout() -> None:
    pytest.importorskip("grpc", reason="needs the extra edge-grpc")
    from trimtab_edge.serving.failure import RequestError
    from trimtab_edge.serving.grpc import codec
    from trimtab_edge.serving.grpc import open_inference_pb2 as pb

    message = pb.ModelInferRequest(model_name="m")
    assert codec.decode_request(message)[0].timeout is None
    message.parameters["timeout"].int64_param = 250_000
    assert codec.decode_request(message)[0].timeout == 0.25
    message.parameters["timeout"].string_param = "1"
    with pytest.raises(RequestError, match="timeout"):
        codec.decode_request(message)


def test_a_models_own_limit_holds_while_another_model_has_threads(tmp_path: Path) -> None:
    """With two threads and one turn, two requests of the slow model take turns, and the other model is not kept."""
    place(tmp_path / "models", "other", "1.0.0", graphs.slow(2.0, 20))
    with served(tmp_path, graphs.slow(1.0, 1500), {"limits": {"concurrency": 1}}, "--threads", "2") as server:
        server.wait_ready("other")
        with ThreadPoolExecutor(3) as pool:
            slow = [pool.submit(server.infer, "m", ONE) for _ in range(2)]
            assert server.infer("other", ONE).status == 200
            assert not all(one.done() for one in slow)
            assert [one.result(60).status for one in slow] == [200, 200]


# --- memory


def test_a_model_beyond_the_memory_limit_is_refused_and_the_server_lives(tmp_path: Path) -> None:
    place(tmp_path / "models", "m", "1.0.0", graphs.adder(0.5))
    with serving(tmp_path / "models", tmp_path / "log", "--memory-limit", "1000000") as server:
        wait_until(lambda: "E408" in server.readiness("m").body.decode())
        assert server.infer("m", ROW).status == 503
        assert server.ask("GET", "/v2/health/live").status == 200


def kernel(root: Path, *, limit: str, current: int, inactive: int = 0, resident_pages: int = 100) -> Headroom:
    """A made tree of cgroup and proc files."""
    for path, text in {
        "proc/self/cgroup": "0::/kube/pod\n",
        "proc/self/statm": f"1000 {resident_pages} 0 0 0 0 0\n",
        "proc/meminfo": "MemTotal:       1048576 kB\n",
        "cg/kube/memory.max": "max\n",
        "cg/kube/pod/memory.max": f"{limit}\n",
        "cg/kube/pod/memory.current": f"{current}\n",
        "cg/kube/pod/memory.stat": f"anon 1\ninactive_file {inactive}\n",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return Headroom(None, cgroups=root / "cg", proc=root / "proc")


def test_what_is_left_is_the_cgroups_limit_less_what_cannot_be_dropped(tmp_path: Path) -> None:
    room = kernel(tmp_path, limit="1000000", current=500_000, inactive=200_000)
    assert (room.limit, room.left) == (1_000_000, 950_000 - 300_000)
    assert room.refuses_request(650_000 // ADMIT_FACTOR + 1)
    assert not room.refuses_request(650_000 // ADMIT_FACTOR)
    assert room.refuses_load(1)


def test_without_a_limit_of_the_cgroup_the_machines_memory_counts(tmp_path: Path) -> None:
    room = kernel(tmp_path, limit="max", current=0)
    assert room.limit == 2**30
    assert room.refuses_load(1000) == ""
    assert "of 1073741824" in room.refuses_load(2**29)


def test_where_nothing_is_known_nothing_is_refused(tmp_path: Path) -> None:
    room = Headroom(None, cgroups=tmp_path / "none", proc=tmp_path / "none")
    assert (room.limit, room.refuses_load(2**40), room.refuses_request(2**40)) == (None, "", False)


# --- shares


def test_a_client_beyond_its_share_is_told_when_to_come_back(tmp_path: Path) -> None:
    options = ("--client-rate", "1", "--client-burst", "3", "--client-header", "X-Api-Key")
    with served(tmp_path, graphs.adder(0.5), {}, *options) as server:
        body = json.dumps({"inputs": [ROW]}).encode()
        replies = [server.ask("POST", "/v2/models/m/infer", body, {"x-api-key": "a"}) for _ in range(5)]
        other = server.ask("POST", "/v2/models/m/infer", body, {"x-api-key": "b"})
    assert [reply.status for reply in replies[:3]] == [200] * 3
    assert replies[-1].status == 429
    assert int(replies[-1].headers["retry-after"]) == 1
    assert other.status == 200


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 2)), max_size=200))
def test_no_client_gets_more_than_burst_and_rate(asks: list[tuple[int, float]]) -> None:
    shares, now = ClientShares(2, 5, b"s"), 0.0
    got: dict[int, int] = {}
    for client, gap in asks:
        now += gap
        if shares.take(b"%d" % client, now) == 0:
            got[client] = got.get(client, 0) + 1
    assert all(count <= 5 + 2 * now + 1e-6 for count in got.values())


def test_clients_are_forgotten_before_memory_is_lost_and_their_names_are_not_kept() -> None:
    shares = ClientShares(1, 1, b"s", capacity=10)
    for client in range(1000):
        shares.take(b"client-%d" % client, 0)
    assert len(shares) == 10
    assert b"client-999" not in repr(vars(shares)).encode()


# --- guards

GUARDS = {
    "guards": {
        "ranges": [{"input": "x", "column": 1, "low": 0, "high": 100}],
        "boundary": {"output": "score", "at": 10.5, "within": 1},
    }
}


def test_signals_are_counted_and_block_nothing(tmp_path: Path) -> None:
    rows = {"name": "x", "shape": [3, 4], "datatype": "FP32", "data": [1, 2, 3, 4, 1, 200, 0, 0, 2, None, 0, 0]}
    rows["data"] = [1, 2, 3, 4, 1, 200, 0, 0, 2, -1, 0, 0]
    with served(tmp_path, graphs.adder(0.5), cohorts(GUARDS)) as server:
        before = server.samples()
        assert sample(before, "trimtab_guard_rows_total", model="m", signal="out_of_range") == 0
        reply = server.infer("m", rows, outputs=[{"name": "label"}])
        assert reply.status == 200
        assert [output["name"] for output in reply.json["outputs"]] == ["label"]
        after = server.samples()
    assert sample(after, "trimtab_guard_rows_total", model="m", signal="out_of_range") == 2
    assert sample(after, "trimtab_guard_rows_total", model="m", signal="near_boundary") == 1


def test_an_enforced_range_refuses_and_names_the_input(tmp_path: Path) -> None:
    rule = {"input": "x", "column": 1, "low": 0, "high": 1, "enforce": True}
    with served(tmp_path, graphs.adder(0.5), {"guards": {"ranges": [rule]}}) as server:
        reply = server.infer("m", ROW)
        assert reply.status == 400
        assert 'input "x" column 1' in reply.json["error"]
        assert server.infer("m", {**ROW, "data": [9, 1, 9, 9]}).status == 200


@given(st.lists(st.floats(-10, 10, width=32) | st.just(float("nan")), min_size=8, max_size=8))
def test_rows_outside_are_those_with_a_value_outside(values: list[float]) -> None:
    conduct = Conduct(ranges=(Range("x", 0, -1, 1), Range("x", 3, -5, float("inf"))))
    guard = Guard(conduct, OnnxSession(graphs.adder(0.5), "m").signature, "m")
    array = np.array(values, np.float32).reshape(2, 4)
    expected = sum(not (-1 <= row[0] <= 1 and row[3] >= -5) for row in array)
    assert guard.check({"x": array}) == expected


TYPICAL = Typical("x", (1.0, 2.0, 3.0, 4.0), (1.0, 1.0, 2.0, 2.0), 1.5)


@given(st.lists(st.floats(-20, 20, width=32) | st.just(float("nan")), min_size=8, max_size=8))
def test_a_row_far_from_the_typical_ones_is_found_though_each_of_its_values_is_within_its_range(
    values: list[float],
) -> None:
    signature = OnnxSession(graphs.adder(0.5), "m").signature
    array = np.array(values, np.float32).reshape(2, 4)
    expected = 0
    for row in array.tolist():
        squares = [((x - m) / d) ** 2 for x, m, d in zip(row, TYPICAL.means, TYPICAL.deviations, strict=True)]
        distance = math.sqrt(sum(squares) / 4)
        assume(not abs(distance - TYPICAL.within) < 1e-9)
        expected += not distance <= TYPICAL.within
    ranges = tuple(Range("x", column, -20, 20) for column in range(4))
    assert Guard(Conduct(typical=TYPICAL), signature, "m").check({"x": array}) == expected
    if not np.isnan(array).any():
        assert Guard(Conduct(ranges=ranges), signature, "m").check({"x": array}) == 0
        assert Guard(Conduct(ranges=ranges, typical=TYPICAL), signature, "m").check({"x": array}) == expected


def test_a_flood_of_untypical_rows_is_counted_and_answered(tmp_path: Path) -> None:
    typical = {"input": "x", "means": [1, 2, 3, 4], "deviations": [1, 1, 1, 1], "within": 3}
    with served(tmp_path, graphs.adder(0.5), {"guards": {"typical": typical}}) as server:
        assert server.infer("m", ROW).status == 200
        far = {**ROW, "data": [9, 9, 9, 9]}
        assert [server.infer("m", far).status for _ in range(5)] == [200] * 5
        assert sample(server.samples(), "trimtab_guard_rows_total", model="m", signal="out_of_range") == 5


@pytest.mark.parametrize(
    "conduct",
    [
        Conduct(typical=Typical("x", (0.0,) * 5, (1.0,) * 5, 1)),
        Conduct(typical=Typical("z", (0.0,), (1.0,), 1)),
        Conduct(ranges=(Range("y", None, 0, 1),)),
        Conduct(ranges=(Range("x", 4, 0, 1),)),
        Conduct(boundary=Boundary("none", None, 0, 1)),
    ],
)
def test_a_guard_that_does_not_fit_its_model_is_a_problem(conduct: Conduct) -> None:
    with pytest.raises(InputError, match="E407"):
        Guard(conduct, OnnxSession(graphs.adder(0.5), "m").signature, "m")


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"limits": {"concurrency": 0}}, "limits.concurrency"),
        ({"limits": {"timeoutMs": "1"}}, "limits.timeoutMs"),
        ({"limits": {"threads": 1}}, "limits.threads"),
        ({"batching": {"maxSize": 1, "targetMs": 5}}, "batching.maxSize"),
        ({"batching": {"maxSize": 8}}, "batching.targetMs"),
        ({"guards": {"ranges": [{"input": "x"}]}}, "guards.ranges[0]"),
        ({"guards": {"ranges": [{"input": "x", "low": 2, "high": 1}]}}, "guards.ranges[0]"),
        ({"guards": {"ranges": [{"low": 2}]}}, "guards.ranges[0].input"),
        ({"guards": {"typical": {"input": "x", "means": [], "deviations": [1], "within": 1}}}, "guards.typical.means"),
        (
            {"guards": {"typical": {"input": "x", "means": [1], "deviations": [0], "within": 1}}},
            "guards.typical.deviations[0]",
        ),
        (
            {"guards": {"typical": {"input": "x", "means": [1, 2], "deviations": [1], "within": 1}}},
            "guards.typical.deviations",
        ),
        ({"guards": {"boundary": {"output": "y", "at": 0, "within": -1}}}, "guards.boundary.within"),
        ({"guards": []}, "guards"),
    ],
)
def test_a_declaration_that_is_wrong_names_its_field(data: dict[str, object], field: str) -> None:
    with pytest.raises(InputError) as caught:
        read_conduct(data, "m/model.yaml")
    [problem] = caught.value.problems
    assert (problem.code, problem.field) == ("E401", field)


# --- batches


def test_batched_answers_equal_unbatched_ones_and_count_the_same_people(tmp_path: Path) -> None:
    """Requests of 1 to 3 rows from eight threads; rows, decisions and their cohorts are those of each request alone."""
    batching = cohorts({"batching": {"maxSize": 16, "targetMs": 100}})
    place(tmp_path / "models", "alone", "1.0.0", graphs.adder(0.5), cohorts({}))
    generator = np.random.default_rng(7)
    bodies = []
    for _ in range(60):
        rows = int(generator.integers(1, 4))
        values = generator.normal(3, 2, (rows, 4)).astype(np.float32)
        values[:, 0] = generator.integers(1, 3, rows)
        bodies.append({"name": "x", "shape": [rows, 4], "datatype": "FP32", "data": values.ravel().tolist()})
    with served(tmp_path, graphs.adder(0.5), batching, "--threads", "2") as server:
        server.wait_ready("alone")
        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(lambda body: server.infer("m", body), bodies))
        alone = [server.infer("alone", body) for body in bodies]
        samples = server.samples()
    for one, other in zip(together, alone, strict=True):
        assert one.status == other.status == 200
        for got, expected in zip(one.json["outputs"], other.json["outputs"], strict=True):
            assert (got["name"], got["shape"]) == (expected["name"], expected["shape"])
            np.testing.assert_allclose(got["data"], expected["data"], rtol=1e-6)
    runs = sample(samples, "trimtab_inference_batches_total", model="m")
    assert runs is not None
    assert 0 < runs < len(bodies)
    assert sample(samples, "trimtab_inference_batches_total", model="alone") is None
    for cohort in ("one", "two"):
        for outcome in ("positive", "negative"):
            labels = {"version": "1.0.0", "cohort": cohort, "outcome": outcome}
            counted = sample(samples, "trimtab_decisions_total", model="m", **labels)
            assert counted == sample(samples, "trimtab_decisions_total", model="alone", **labels)


def test_one_bad_request_of_a_batch_fails_alone(tmp_path: Path) -> None:
    with served(tmp_path, graphs.picker(), {"batching": {"maxSize": 8, "targetMs": 400}}) as server:
        asked = [{"name": "x", "shape": [1], "datatype": "INT64", "data": [value]} for value in (0, 99, 2)]
        with ThreadPoolExecutor(3) as pool:
            replies: list[Reply] = list(pool.map(lambda one: server.infer("m", one), asked))
    assert [reply.status == 200 for reply in replies] == [True, False, True]
    assert replies[2].json["outputs"][0]["data"] == [3.0]


@given(st.floats(1e-6, 1e-2), st.floats(0, 1e-1), st.lists(st.integers(1, 64), min_size=2, max_size=50, unique=True))
def test_the_line_of_durations_is_found(slope: float, base: float, sizes: list[int]) -> None:
    durations = Durations()
    for size in sizes:
        durations.observe(size, slope * size + base)
    assert durations.expected(32) == pytest.approx(slope * 32 + base, rel=1e-3, abs=1e-5)


def test_a_batch_waits_less_the_longer_runs_take_and_never_where_the_target_is_spent() -> None:
    import asyncio

    async def waited(seconds: float) -> float:
        async def run(feeds: dict[str, Any]) -> tuple[dict[str, Any], float, float]:
            return {"y": feeds["x"]}, 0.0, seconds

        batcher = Batcher(Batching(8, 0.2), run)
        await batcher.infer({"x": np.zeros((1, 1))}, 1)
        started = time.monotonic()
        await batcher.infer({"x": np.zeros((1, 1))}, 1)
        return time.monotonic() - started

    async def story() -> list[float]:
        return [await waited(seconds) for seconds in (0.0, 0.05, 0.5)]

    quick, slower, spent = asyncio.run(story())
    assert 0.05 <= quick <= 0.19
    assert slower < quick
    assert spent < 0.03


def test_a_full_batch_goes_at_once_and_no_batch_is_fuller() -> None:
    import asyncio

    sizes = []

    async def story() -> None:
        async def run(feeds: dict[str, Any]) -> tuple[dict[str, Any], float, float]:
            sizes.append(len(feeds["x"]))
            return {"y": feeds["x"] * 2}, 0.001 * len(feeds["x"]), 0.0

        batcher = Batcher(Batching(4, 10.0), run)
        asks = [batcher.infer({"x": np.full((2, 1), value)}, 2) for value in range(4)]
        answers = await asyncio.wait_for(asyncio.gather(*asks), 5)
        assert [float(answer["y"][0, 0]) for answer, _ in answers] == [0, 2, 4, 6]
        assert [cpu for _, cpu in answers] == pytest.approx([0.002] * 4)

    asyncio.run(story())
    assert sizes == [4, 4]


def test_only_models_with_one_open_first_dimension_are_batched() -> None:
    assert can_batch(OnnxSession(graphs.adder(0.5), "m").signature)
    assert can_batch(OnnxSession(graphs.pair(), "m").signature)
    assert not can_batch(OnnxSession(graphs.slow(1.0, 1), "m").signature)
    assert rows_of({"a": np.zeros((2, 1)), "b": np.zeros((3, 1))}) is None
    assert rows_of({"a": np.zeros((0, 1))}) is None


# --- a missing modality


def test_a_missing_modality_is_named(tmp_path: Path) -> None:
    with served(tmp_path, graphs.pair(), {}) as server:
        reply = server.infer("m", {"name": "a", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]})
    assert reply.status == 400
    assert 'input "b": missing' in reply.json["error"]


# --- budgets and the other endpoint


class Elsewhere:
    """An HTTP server that answers as told, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        self.body = json.dumps(
            {
                "model_name": "m",
                "model_version": "9.9.9",
                "outputs": [
                    {"name": "score", "shape": [1], "datatype": "FP32", "data": [42.0]},
                    {"name": "label", "shape": [1], "datatype": "INT64", "data": [1]},
                ],
            }
        ).encode()
        self.delay = 0.0
        story = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                story.asked.append({"path": self.path, "body": json.loads(body)})
                threading.Event().wait(story.delay)
                with contextlib.suppress(OSError):
                    self.send_response(story.status)
                    for name, value in {"content-length": str(len(story.body)), **story.headers}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(story.body)

            def log_message(self, *arguments: object) -> None:
                """Nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.05,))
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_port}"

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    made = Elsewhere()
    yield made
    made.close()


def offloading(url: str, **rules: object) -> str:
    when = rules.pop("when", [])
    return cohorts({"inference": {**rules, "offload": {"endpoint": url, "jurisdiction": "EU", "when": when}}})


def test_beyond_its_frequency_a_model_refuses_with_429_and_counts_it(tmp_path: Path) -> None:
    with served(tmp_path, graphs.adder(0.5), {"inference": {"maximumPerMinute": 2}}) as server:
        replies = [server.infer("m", ROW) for _ in range(4)]
        samples = server.samples()
    assert [reply.status for reply in replies] == [200, 200, 429, 429]
    assert 1 <= int(replies[2].headers["retry-after"]) <= 61
    assert "frequency" in replies[2].json["error"]
    assert sample(samples, "trimtab_budget_requests_total", model="m", decision="refused") == 2
    assert sample(samples, "trimtab_inference_requests_total", model="m", version="1.0.0") == 2


def test_a_daily_budget_outlives_the_server_however_it_ends(tmp_path: Path) -> None:
    description = {"inference": {"dailyData": 70}}  # 16 bytes in and 12 out each
    with served(tmp_path, graphs.adder(0.5), description) as server:
        assert [server.infer("m", ROW).status for _ in range(2)] == [200, 200]
        server.process.kill()
        server.process.wait(30)
    with served(tmp_path, graphs.adder(0.5), description) as server:
        reply = server.infer("m", ROW)
    assert reply.status == 429
    assert "data" in reply.json["error"]
    assert int(reply.headers["retry-after"]) <= 86_400


def test_constrained_requests_go_to_the_named_endpoint_and_do_not_count_as_the_models(
    tmp_path: Path, elsewhere: Elsewhere
) -> None:
    with served(tmp_path, graphs.adder(0.5), offloading(elsewhere.url, maximumPerMinute=1)) as server:
        first = server.infer("m", ROW, id="a")
        second = server.infer("m", ROW, id="b", outputs=[{"name": "label"}, {"name": "score"}])
        samples = server.samples()
    assert first.json["model_version"] == "1.0.0"
    assert (second.status, second.json["id"], second.json["model_version"]) == (200, "b", "9.9.9")
    assert {output["name"]: output["data"] for output in second.json["outputs"]} == {"score": [42.0], "label": [1]}
    [asked] = elsewhere.asked
    assert asked["path"] == "/v2/models/m/infer"
    assert asked["body"]["inputs"] == [{**ROW, "data": [1.0, 2.0, 3.0, 4.0]}]
    assert sample(samples, "trimtab_budget_requests_total", model="m", decision="offloaded") == 1
    assert sample(samples, "trimtab_inference_requests_total", model="m", version="1.0.0") == 1


@pytest.mark.parametrize(
    ("rules", "why"),
    [({"maximumPerMinute": 1, "when": ["cpu"]}, "frequency"), ({"dailyData": 28}, "data")],
    ids=["not for this reason", "more data would not help"],
)
def test_nobody_else_is_asked_where_that_was_not_allowed(
    tmp_path: Path, elsewhere: Elsewhere, rules: dict[str, object], why: str
) -> None:
    with served(tmp_path, graphs.adder(0.5), offloading(elsewhere.url, **rules)) as server:
        assert server.infer("m", ROW).status == 200
        reply = server.infer("m", ROW)
    assert (reply.status, elsewhere.asked) == (429, [])
    assert why in reply.json["error"]


def misbehave(story: Elsewhere, how: str) -> None:
    if how == "redirect":
        story.status, story.headers = 307, {"location": f"{story.url}/elsewhere"}
    elif how == "error":
        story.status = 500
    elif how == "no JSON":
        story.body = b"<html>"
    elif how == "wrong output":
        story.body = b'{"outputs": [{"name": "score", "shape": [1], "datatype": "FP32", "data": [1]}]}'
    elif how == "wrong type":
        story.body = story.body.replace(b"INT64", b"INT32")
    elif how == "too large":
        story.body += b" " * 5000
    elif how == "late":
        story.delay = 1.0


@pytest.mark.parametrize("how", ["redirect", "error", "no JSON", "wrong output", "wrong type", "too large", "late"])
def test_an_endpoint_that_misbehaves_costs_one_try_and_the_request_is_refused(
    tmp_path: Path, elsewhere: Elsewhere, how: str
) -> None:
    misbehave(elsewhere, how)
    description = offloading(elsewhere.url, maximumPerMinute=1)
    with served(tmp_path, graphs.adder(0.5), description, "--max-body-bytes", "4000") as server:
        assert server.infer("m", ROW).status == 200
        replies = [server.infer("m", ROW, parameters={"timeout": 300_000}) for _ in range(3)]
        samples = server.samples()
    assert [reply.status for reply in replies] == [429] * 3
    assert len(elsewhere.asked) == 1
    assert sample(samples, "trimtab_budget_requests_total", model="m", decision="refused") == 3
    assert sample(samples, "trimtab_budget_requests_total", model="m", decision="offloaded") == 0
