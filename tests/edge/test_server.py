"""The server as a process: its lines, its ports, its limits, and how it ends."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.edge import graphs
from tests.edge.devices import COMMAND, Reply, Server, place, sample, samples_of, serving, wait_until

ROW = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
ONE = {"name": "x", "shape": [1], "datatype": "FP32", "data": [5]}
LONG, LONGER = 1000, 4000
"""Rounds of the slow model: long enough to be caught in the middle, and long enough for a swap meanwhile."""


class Background:
    """Requests made by threads of their own, whose replies are collected."""

    def __init__(self, server: Server, count: int) -> None:
        self.replies: list[Reply] = []
        self._threads = [threading.Thread(target=self._ask, args=(server,)) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _ask(self, server: Server) -> None:
        self.replies.append(server.infer("slow", ONE))

    def join(self) -> list[Reply]:
        for thread in self._threads:
            thread.join(60)
        return self.replies


def cpu_seconds(server: Server) -> float:
    """CPU time of the server's process so far (proc(5), fields 14 and 15 of stat)."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_busy(server: Server) -> None:
    """Until the server is at work on something long."""
    start = cpu_seconds(server)
    wait_until(lambda: cpu_seconds(server) > start + 0.05)


def test_sigterm_finishes_what_is_in_flight_and_ends_with_0(tmp_path: Path) -> None:
    place(tmp_path / "models", "slow", "1.0.0", graphs.slow(1.0, LONG))
    with serving(tmp_path / "models", tmp_path / "log") as server:
        server.wait_ready("slow")
        background = Background(server, 1)
        wait_busy(server)
        assert server.stop() == 0
        [reply] = background.join()
        assert (reply.status, reply.json["outputs"][0]["data"]) == (200, [6.0])
        with pytest.raises(ConnectionRefusedError):
            server.ask("GET", "/v2/health/live")


def test_a_request_in_flight_ends_on_the_version_that_it_began_with(tmp_path: Path) -> None:
    place(tmp_path / "models", "slow", "1.0.0", graphs.slow(1.0, LONGER))
    with serving(tmp_path / "models", tmp_path / "log") as server:
        server.wait_ready("slow")
        background = Background(server, 1)
        wait_busy(server)
        place(tmp_path / "models", "slow", "2.0.0", graphs.slow(2.0, 1))
        wait_until(lambda: server.readiness("slow").json["version"] == "2.0.0")
        assert background.replies == []
        assert server.infer("slow", ONE).json["outputs"][0]["data"] == [7.0]
        [reply] = background.join()
    assert reply.status == 200
    assert (reply.json["model_version"], reply.json["outputs"][0]["data"]) == ("1.0.0", [6.0])


def test_a_full_queue_says_503_and_when_to_come_back(tmp_path: Path) -> None:
    """One runs, one waits, the others are told so at once; whoever was let in is answered."""
    place(tmp_path / "models", "slow", "1.0.0", graphs.slow(1.0, LONG))
    with serving(tmp_path / "models", tmp_path / "log", "--threads", "1", "--queue", "1") as server:
        server.wait_ready("slow")
        replies = Background(server, 6).join()
        samples = server.samples()
    statuses = sorted(reply.status for reply in replies)
    assert statuses == [200, 200, 503, 503, 503, 503]
    refused = next(reply for reply in replies if reply.status == 503)
    assert refused.headers["retry-after"] == "1"
    assert "try again" in refused.json["error"]
    assert sample(samples, "trimtab_inference_failures_total", model="slow", reason="overloaded") == 4
    assert sample(samples, "trimtab_inference_requests_total", model="slow", version="1.0.0") == 2


def test_the_event_loop_answers_while_a_long_request_runs(tmp_path: Path) -> None:
    place(tmp_path / "models", "slow", "1.0.0", graphs.slow(1.0, LONG))
    place(tmp_path / "models", "adder", "1.0.0", graphs.adder(0.5))
    with serving(tmp_path / "models", tmp_path / "log") as server:
        server.wait_ready("slow")
        server.wait_ready("adder")
        background = Background(server, 1)
        wait_busy(server)
        assert server.infer("adder", ROW).status == 200
        assert server.ask("GET", "/v2/health/live").status == 200
        assert background.replies == []
        background.join()


def test_cpu_time_of_long_requests_is_counted_for_the_thread_that_ran_them(tmp_path: Path) -> None:
    place(tmp_path / "models", "slow", "1.0.0", graphs.slow(1.0, LONG))
    with serving(tmp_path / "models", tmp_path / "log") as server:
        server.wait_ready("slow")
        before = cpu_seconds(server)
        for _ in range(3):
            server.infer("slow", ONE)
        spent = cpu_seconds(server) - before
        samples = server.samples()
    counted = sample(samples, "trimtab_inference_cpu_seconds_total", model="slow", version="1.0.0")
    squared = sample(samples, "trimtab_inference_cpu_squared_seconds_total", model="slow", version="1.0.0")
    assert counted is not None
    assert squared is not None
    assert 0.5 * spent < counted < spent + 0.05
    assert counted**2 / 3 - 1e-9 <= squared <= counted**2


def test_large_tensors_cost_no_page_faults_once_the_server_is_warm(tmp_path: Path) -> None:
    """Memory of a 602 kB tensor is used again; faulting it in anew would cost more CPU than everything else."""
    place(tmp_path / "models", "same", "1.0.0", graphs.identity("FP32"))
    tensor = {"name": "x", "shape": [1, 150528], "datatype": "FP32", "parameters": {"binary_data_size": 602112}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    body, headers = head + bytes(602112), {"inference-header-content-length": str(len(head))}

    def faults(server: Server) -> int:
        return int(Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()[7])

    with serving(tmp_path / "models", tmp_path / "log") as server:
        server.wait_ready("same")
        for _ in range(100):
            assert server.ask("POST", "/v2/models/same/infer", body, headers).status == 200
        before = faults(server)
        for _ in range(50):
            assert server.ask("POST", "/v2/models/same/infer", body, headers).body.endswith(bytes(602112))
        assert (faults(server) - before) / 50 < 100


def test_metrics_may_have_a_port_of_their_own(tmp_path: Path) -> None:
    place(tmp_path / "models", "adder", "1.0.0", graphs.adder(0.5))
    with serving(tmp_path / "models", tmp_path / "log", "--metrics-port", "0") as server:
        server.wait_ready("adder")
        assert server.ask("GET", "/metrics").status == 404
        assert server.metrics_port is not None
        own = Server(server.process, server.host, server.metrics_port, server.log)
        assert samples_of(own.ask("GET", "/metrics").body.decode())
        assert own.ask("GET", "/v2/health/live").status == 404
        assert own.ask("POST", "/metrics", b"").status == 405
        assert server.stop() == 0


def test_an_empty_repository_is_ready_and_a_model_that_arrives_is_served(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    with serving(tmp_path / "models", tmp_path / "log") as server:
        wait_until(lambda: server.ask("GET", "/v2/health/ready").status == 200)
        assert server.infer("adder", ROW).status == 404
        place(tmp_path / "models", "adder", "1.0.0", graphs.adder(0.5))
        server.wait_ready("adder")
        assert server.infer("adder", ROW).status == 200


def test_a_model_that_does_not_load_is_not_ready_and_says_why(tmp_path: Path) -> None:
    place(tmp_path / "models", "adder", "1.0.0", graphs.adder(0.5))
    place(tmp_path / "models", "broken", "1.0.0", b"not a model")
    with serving(tmp_path / "models", tmp_path / "log") as server:
        server.wait_ready("adder")
        wait_until(lambda: server.readiness("broken").json.get("state") == "FAILED")
        ready = server.readiness("broken", "1.0.0")
        assert ready.status == 503
        assert "E402" in ready.json["reason"]
        assert server.ask("GET", "/v2/health/ready").status == 503
        reply = server.infer("broken", ROW)
        assert (reply.status, reply.headers["retry-after"]) == (503, "1")
        assert "E402" in server.log.read_text()


def test_a_broken_successor_leaves_the_server_ready_and_shows_in_its_own_readiness(tmp_path: Path) -> None:
    place(tmp_path / "models", "adder", "1.0.0", graphs.adder(0.5))
    with serving(tmp_path / "models", tmp_path / "log") as server:
        server.wait_ready("adder")
        place(tmp_path / "models", "adder", "2.0.0", b"not a model")
        wait_until(lambda: server.readiness("adder", "2.0.0").json.get("state") == "FAILED")
        assert server.ask("GET", "/v2/health/ready").status == 200
        assert server.readiness("adder").json["version"] == "1.0.0"
        assert server.infer("adder", ROW).json["model_version"] == "1.0.0"
        assert "1.0.0 keeps answering" in server.log.read_text()


def test_no_request_content_gets_into_the_log(tmp_path: Path) -> None:
    """Not from good requests, not from bad ones, not from ones on which the model itself fails."""
    place(tmp_path / "models", "picker", "1.0.0", graphs.picker())
    place(tmp_path / "models", "words", "1.0.0", graphs.identity("BYTES"))
    with serving(tmp_path / "models", tmp_path / "log") as server:
        server.wait_ready("words")
        server.wait_ready("picker")
        server.infer("words", {"name": "x", "shape": [1, 1], "datatype": "BYTES", "data": ["needle-1"]}, id="needle-2")
        server.infer("words", {"name": "needle-3", "shape": [1, 1], "datatype": "BYTES", "data": ["needle-4"]})
        server.infer("picker", {"name": "x", "shape": [1], "datatype": "INT64", "data": [424242]})
        server.ask("POST", "/v2/models/words/infer", b'{"needle-5"')
        server.ask("GET", "/needle-6?needle-7", headers={"needle-8": "needle-9"})
        assert server.stop() == 0
    log = (tmp_path / "log").read_text()
    assert "needle" not in log
    assert "424242" not in log
    assert "words 1.0.0 answers" in log


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_a_port_that_is_taken_is_an_outside_failure(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = run("serve", "--model-repository", str(tmp_path), "--http-port", str(port))
    assert result.returncode == 3
    assert f"cannot listen on 127.0.0.1 port {port}" in result.stderr
    assert result.stdout == ""


def test_a_repository_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    result = run("serve", "--model-repository", str(tmp_path / "none"))
    assert result.returncode == 1
    assert "--model-repository: E102" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [["--http-port", "99999"], ["--threads", "0"], ["--drain", "-1"], ["--drain", "nan"], ["--queue", "1.5"]],
)
def test_wrong_usage_ends_with_64(tmp_path: Path, arguments: list[str]) -> None:
    result = run("serve", "--model-repository", str(tmp_path), *arguments)
    assert result.returncode == 64
    assert "expected" in result.stderr


@pytest.mark.parametrize("command", ["serve", "agent"])
def test_help_shows_examples(command: str) -> None:
    result = run(command, "--help")
    assert result.returncode == 0
    assert f"  trimtab-edge {command} --" in result.stdout


def test_an_ipv6_address_is_served_and_written_in_brackets(tmp_path: Path) -> None:
    if not socket.has_ipv6:
        pytest.fail("this Python has no IPv6")
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return  # no IPv6 loopback on this machine: there is nothing to serve on
    with subprocess.Popen(
        [*COMMAND, "serve", "--model-repository", str(tmp_path), "--http-port", "0", "--host", "::1"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            line = process.stdout.readline().strip()
            assert line.startswith("listening http://[::1]:")
            connection = http.client.HTTPConnection("::1", int(line.rpartition(":")[2]), timeout=10)
            connection.request("GET", "/v2/health/live")
            assert json.loads(connection.getresponse().read()) == {"live": True}
            connection.close()
        finally:
            process.terminate()
        assert process.wait(30) == 0


def test_idle_costs_next_to_nothing(tmp_path: Path) -> None:
    """Two looks at the disk a tenth of a second apart are cheap: well below 5 % of a core even on a busy machine."""
    place(tmp_path / "models", "adder", "1.0.0", graphs.adder(0.5))
    with serving(tmp_path / "models", tmp_path / "log") as server:
        server.wait_ready("adder")
        before, started = cpu_seconds(server), time.monotonic()
        time.sleep(2)
        share: Any = (cpu_seconds(server) - before) / (time.monotonic() - started)
    assert share < 0.05
