"""V2 over gRPC as a process: deadlines, limits, drain, and what happens without the optional packages."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent import futures
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.edge import graphs
from tests.edge.devices import Server, place, sample, serving, wait_until
from trimtab_edge.serving import http
from trimtab_edge.serving.failure import Fault
from trimtab_edge.serving.grpc import open_inference_pb2 as pb
from trimtab_edge.serving.grpc import service

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
LONG = 1000
"""Rounds of the slow model: long enough to be caught in the middle."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    repository = tmp_path_factory.mktemp("models")
    place(repository, "slow", "1.0.0", graphs.slow(1.0, LONG))
    place(repository, "adder", "1.0.0", graphs.adder(0.5))
    log = tmp_path_factory.mktemp("log") / "serve.log"
    options = ("--threads", "1", "--queue", "1", "--max-body-bytes", "100000", "--grpc-port", "0")
    with serving(repository, log, *options) as running:
        running.wait_ready("slow")
        running.wait_ready("adder")
        yield running
        assert running.stop() == 0
        assert "Traceback" not in log.read_text()


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.grpc_address) as made:
        yield made


def begin(channel: grpc.Channel, rpc: str, sent: bytes, seconds: float = 30.0) -> Any:  # noqa: ANN401 - grpc.Future with a code
    call: Any = channel.unary_unary(f"/inference.GRPCInferenceService/{rpc}")
    return call.future(sent, timeout=seconds)


def ended(future: Any) -> str:  # noqa: ANN401 - see above
    """The name of the status that a call ended with."""
    future.exception()
    name: str = future.code().name
    return name


def asking(model: str, array: np.ndarray[Any, Any]) -> bytes:
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=array.shape)
    return pb.ModelInferRequest(
        model_name=model, inputs=[tensor], raw_input_contents=[array.tobytes()]
    ).SerializeToString()


ONE = asking("slow", np.array([5], np.float32))
ROW = asking("adder", np.array([[1, 2, 3, 4]], np.float32))


def answered(server: Server, model: str) -> float:
    return sample(server.samples(), "trimtab_inference_requests_total", model=model, version="1.0.0") or 0


def test_a_request_whose_deadline_passes_in_the_queue_is_never_run(server: Server, channel: grpc.Channel) -> None:
    before = answered(server, "slow")
    first = begin(channel, "ModelInfer", ONE)
    hurried = begin(channel, "ModelInfer", ONE, seconds=0.05)
    assert ended(hurried) == "DEADLINE_EXCEEDED"
    assert ended(first) == "OK"
    last = begin(channel, "ModelInfer", ONE)
    assert ended(last) == "OK"
    assert answered(server, "slow") == before + 2


def test_a_full_queue_is_unavailable_and_says_when_to_come_back(server: Server, channel: grpc.Channel) -> None:
    calls = [begin(channel, "ModelInfer", ONE) for _ in range(6)]
    assert sorted(map(ended, calls)) == ["OK"] * 2 + ["UNAVAILABLE"] * 4
    refused = next(call for call in calls if ended(call) == "UNAVAILABLE")
    assert dict(refused.trailing_metadata())["grpc-retry-pushback-ms"] == "1000"


def test_bytes_of_messages_count_as_those_of_bodies_do(server: Server, channel: grpc.Channel) -> None:
    def moved(direction: str) -> float:
        labels = {"model": "adder", "version": "1.0.0", "direction": direction}
        return sample(server.samples(), "trimtab_inference_bytes_total", **labels) or 0

    before = moved("in"), moved("out")
    call = begin(channel, "ModelInfer", ROW)
    assert ended(call) == "OK"
    assert (moved("in") - before[0], moved("out") - before[1]) == (len(ROW), len(call.result()))


def test_both_transports_are_one_server(server: Server, channel: grpc.Channel) -> None:
    before = answered(server, "adder")
    assert ended(begin(channel, "ModelInfer", ROW)) == "OK"
    row = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
    assert server.infer("adder", row).status == 200
    assert answered(server, "adder") == before + 2


def test_a_message_beyond_the_limit_is_refused_and_the_connection_lives(server: Server, channel: grpc.Channel) -> None:
    large = asking("adder", np.zeros((10_000, 4), np.float32))
    assert ended(begin(channel, "ModelInfer", large)) == "RESOURCE_EXHAUSTED"
    assert ended(begin(channel, "ModelInfer", ROW)) == "OK"


def test_a_client_that_gives_up_leaves_nothing_behind(server: Server, channel: grpc.Channel) -> None:
    for _ in range(5):
        begin(channel, "ModelInfer", ONE).cancel()
    wait_until(lambda: ended(begin(channel, "ModelInfer", ONE)) == "OK")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_change_of_a_good_message_makes_the_server_fail(
    server: Server, channel: grpc.Channel, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(ROW)), label="at")
    gone = data.draw(st.integers(0, 8), label="gone")
    noise = data.draw(st.binary(max_size=8), label="noise")
    assert ended(begin(channel, "ModelInfer", ROW[:at] + noise + ROW[at + gone :])) in (
        "OK",
        "INVALID_ARGUMENT",
        "NOT_FOUND",
    )


def test_sigterm_finishes_what_is_in_flight(tmp_path: Path) -> None:
    place(tmp_path / "models", "slow", "1.0.0", graphs.slow(1.0, LONG))
    with serving(tmp_path / "models", tmp_path / "log", "--grpc-port", "0") as running:
        running.wait_ready("slow")
        with grpc.insecure_channel(running.grpc_address) as channel:
            # A first answer: the connection stands, so the next request is there before the signal.
            assert ended(begin(channel, "ServerLive", b"")) == "OK"
            call = begin(channel, "ModelInfer", ONE)
            with futures.ThreadPoolExecutor(1) as pool:
                time.sleep(0.1)  # the request is on its way; there is no event to wait for
                stopped = pool.submit(running.stop)
                assert ended(call) == "OK"
                assert stopped.result() == 0
        response = pb.ModelInferResponse.FromString(call.result())
        assert np.frombuffer(response.raw_output_contents[0], np.float32).tolist() == [6.0]


def run(code: str, tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", f"import sys; {code}; from trimtab_edge.cli import main; sys.exit(main())"]
    arguments = ["serve", "--model-repository", str(tmp_path), "--http-port", "0", *options]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_without_the_optional_packages_it_says_what_to_install(tmp_path: Path) -> None:
    done = run("sys.modules['grpc'] = None", tmp_path, "--grpc-port", "0")
    assert (done.returncode, done.stdout) == (3, "")
    assert "pip install 'trimtab[edge-grpc]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_named(tmp_path: Path, server: Server) -> None:
    taken = server.grpc_address.rpartition(":")[2]
    done = run("pass", tmp_path, "--grpc-port", taken)
    assert done.returncode == 3
    assert f"port {taken} for gRPC" in done.stderr


def test_without_a_grpc_port_nothing_of_grpc_is_loaded(tmp_path: Path, server: Server) -> None:
    """It would cost a small box memory for nothing."""
    assert "cygrpc" in Path(f"/proc/{server.process.pid}/maps").read_text()
    (tmp_path / "models").mkdir()
    with serving(tmp_path / "models", tmp_path / "log") as plain:
        maps = Path(f"/proc/{plain.process.pid}/maps").read_text()
        assert "onnxruntime" in maps
        assert "cygrpc" not in maps
        assert "google" not in maps


def test_every_fault_has_a_status_in_both_transports() -> None:
    assert service.STATUS.keys() == set(Fault)
    assert http._STATUS.keys() == set(Fault)


def test_the_stubs_are_what_protoc_makes_of_the_proto(tmp_path: Path) -> None:
    subprocess.run(["sh", "tools/stubs", str(tmp_path)], cwd=ROOT, check=True, timeout=60)
    made = sorted(path for path in (tmp_path / "edge_runtime").rglob("*") if path.is_file())
    assert [path.name for path in made] == ["open_inference_pb2.py", "open_inference_pb2.pyi"]
    for path in made:
        assert path.read_text() == (ROOT / path.relative_to(tmp_path)).read_text()
