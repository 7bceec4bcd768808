"""Versions are swapped back and forth under load: no request fails, and every answer is wholly one version's."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.edge import graphs
from tests.edge.agents import agent_of
from tests.edge.devices import ALIGNMENT, Fleet, Server, sample, serving

if TYPE_CHECKING:
    from pathlib import Path

REQUESTS = 10_000
SWAPS = 20
CONNECTIONS = 4
SCORES = {"1.0.0": 10.5, "1.1.0": 11.5}
BODY = json.dumps({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}).encode()
HEADERS = {"content-type": "application/json"}


class Load:
    """Keep-alive connections that ask without a pause until told to stop; every answer is judged."""

    def __init__(self, server: Server) -> None:
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(server,)) for _ in range(CONNECTIONS)]
        for thread in self._threads:
            thread.start()

    def _run(self, server: Server) -> None:
        answers: Counter[str] = Counter()
        connection = http.client.HTTPConnection(server.host, server.port, timeout=30)
        try:
            connection.connect()
            socket = connection.sock
            while not self._stop.is_set():
                connection.request("POST", "/v2/models/adder/infer", BODY, HEADERS)
                response = connection.getresponse()
                found = json.loads(response.read())
                version = found.get("model_version", "")
                assert (response.status, found["outputs"][0]["data"]) == (200, [SCORES[version]]), found
                answers[version] += 1
            # One connection all the way: a reset behind http.client's automatic reconnection would be a failure.
            assert connection.sock is socket
        except Exception as error:
            with self._lock:
                self.failures.append(repr(error))
        finally:
            connection.close()
            with self._lock:
                self.answers += answers

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)


@pytest.mark.timeout(180)
def test_no_request_of_ten_thousand_fails_while_the_agent_swaps_versions_back_and_forth(tmp_path: Path) -> None:
    """The whole path: desired document, agent, probation against the running server, active.json, swap."""
    fleet = Fleet(tmp_path / "fleet")
    versions = [fleet.publish(version, graphs.adder(score - 10)) for version, score in SCORES.items()]
    fleet.ask("adder", versions[0], alignment=ALIGNMENT)
    (tmp_path / "models").mkdir()
    with serving(tmp_path / "models", tmp_path / "log") as server:
        agent = agent_of(tmp_path, fleet, serve_url=server.url)
        agent.start()
        agent.look()
        server.wait_ready("adder", "1.0.0")
        load = Load(server)
        swaps, counted = 0, 0.0
        deadline = time.monotonic() + 120
        while (swaps < SWAPS or counted < REQUESTS) and not load.failures:
            assert time.monotonic() < deadline, f"{swaps} swaps and {counted:.0f} requests in 120 s"
            swaps += 1
            fleet.ask("adder", versions[swaps % 2], alignment=ALIGNMENT)
            [standing] = agent.look().standings
            assert standing.progress.value == "active", standing
            counted = sum(
                value for (name, _), value in server.samples().items() if name == "trimtab_inference_requests_total"
            )
        load.stop()
        samples = server.samples()
    assert load.failures == []
    total = sum(load.answers.values())
    assert total >= REQUESTS
    assert min(load.answers[version] for version in SCORES) > total / 10
    for version in SCORES:
        assert (
            sample(samples, "trimtab_inference_requests_total", model="adder", version=version) == load.answers[version]
        )
        name = "trimtab_decisions_total"
        decided = sample(samples, name, model="adder", version=version, cohort="one", outcome="positive")
        assert decided == load.answers[version]
    for reason in ("bad_request", "overloaded", "internal"):
        assert sample(samples, "trimtab_inference_failures_total", model="adder", reason=reason) == 0
