"""Hours in minutes: steady load at 70 % of what the server can do, while its versions swap and its metrics are scraped.

No request fails, every answer is wholly one version's, and memory stays where it was.

    .venv/bin/python tools/tier.py long -k soak -s    # ten minutes; TRIMTAB_SOAK_SECONDS says otherwise
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.edge import graphs
from tests.edge.devices import ALIGNMENT, Server, activate, place, sample, serving
from trimtab_edge.settings import ModelDescription
from trimtab_kernel.identity import Digest

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = float(os.environ.get("TRIMTAB_SOAK_SECONDS", "600"))
SHARE = 0.7
CONNECTIONS = 4
SCORES = {"1.0.0": 10.5, "1.1.0": 11.5}
BODY = json.dumps({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}).encode()
REQUEST = b"POST /v2/models/adder/infer HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)


@dataclass(slots=True)
class Load:
    """Keep-alive connections, each with one request at a time; every answer is judged."""

    server: Server
    rate: float
    """Requests a second over all connections; infinite: as fast as they are answered."""
    answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def during(self, seconds: float, watch: Callable[[float], None]) -> float:
        """Run for so long, calling ``watch`` with the time on the monotonic clock a few times a second; requests a second."""
        threads = [threading.Thread(target=self._run) for _ in range(CONNECTIONS)]
        begin = time.monotonic()
        for thread in threads:
            thread.start()
        try:
            while (now := time.monotonic()) < begin + seconds and not self.failures:
                watch(now - begin)
                self._stop.wait(0.1)
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(60)
        return self.answers.total() / (time.monotonic() - begin)

    def _run(self) -> None:
        answers: Counter[str] = Counter()
        slowest, pause = 0.0, CONNECTIONS / self.rate
        try:
            with socket.create_connection((self.server.host, self.server.port), timeout=30) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                due = time.monotonic()
                while not self._stop.is_set():
                    sent = time.monotonic()
                    if sent < due:
                        time.sleep(due - sent)
                        sent = time.monotonic()
                    # What was missed on a busy machine is not made up for in a burst.
                    due = max(due + pause, sent)
                    answers[_ask(connection)] += 1
                    slowest = max(slowest, time.monotonic() - sent)
        except Exception as error:
            with self._lock:
                self.failures.append(repr(error))
        with self._lock:
            self.answers += answers
            self.slowest = max(self.slowest, slowest)


def _ask(connection: socket.socket) -> str:
    """One request; the version that answered, rightly."""
    connection.sendall(REQUEST)
    received = b""
    while b"\r\n\r\n" not in received:
        part = connection.recv(65536)
        assert part, "closed by the server"
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
    while len(body) < length:
        body += connection.recv(65536)
    found = json.loads(body)
    version: str = found.get("model_version", "")
    assert head.startswith(b"HTTP/1.1 200 "), body
    assert found["outputs"][0]["data"] == [SCORES[version]], body
    return version


class Watch:
    """Swaps the version, scrapes and notes memory, each at its own pace in seconds."""

    def __init__(self, server: Server, repository: Path, swap: float, scrape: float) -> None:
        self._server, self._repository = server, repository
        self._paces = {self._swap: swap, self._scrape: scrape}
        self._due = dict(self._paces)
        self.swaps = self.scrapes = 0
        self.resident: list[tuple[float, int]] = []

    def __call__(self, at: float) -> None:
        for chore, pace in self._paces.items():
            if at >= self._due[chore]:
                self._due[chore] += pace
                chore(at)

    def _swap(self, at: float) -> None:
        del at
        self.swaps += 1
        version = list(SCORES)[self.swaps % len(SCORES)]
        activate(self._repository, "adder", version, _digest(version))

    def _scrape(self, at: float) -> None:
        self.scrapes += 1
        assert sample(self._server.samples(), "trimtab_inference_failures_total", model="adder", reason="internal") == 0
        pages = int(Path(f"/proc/{self._server.process.pid}/statm").read_text().split()[1])
        self.resident.append((at, pages * os.sysconf("SC_PAGE_SIZE")))

    def growth(self, since: float) -> float:
        """How memory went on after ``since``: median of its last third over the median of its first."""
        settled = [size for at, size in self.resident if at >= since]
        third = len(settled) // 3
        return statistics.median(settled[-third:]) / statistics.median(settled[:third]) - 1


def _content(version: str) -> bytes:
    return graphs.adder(SCORES[version] - 10)


def _digest(version: str) -> Digest:
    return Digest.of(_content(version))


def soak(tmp_path: Path, seconds: float, *, swap: float, scrape: float, limit: float) -> None:
    repository = tmp_path / "models"
    for version in SCORES:
        description = ModelDescription(digest=_digest(version), alignment=ALIGNMENT).to_bytes().decode()
        place(repository, "adder", version, _content(version), description)
    activate(repository, "adder", "1.0.0", _digest("1.0.0"))
    with serving(repository, tmp_path / "serve.log") as server:
        server.wait_ready("adder", "1.0.0")
        closed = Load(server, float("inf"))
        saturation = closed.during(min(5.0, seconds / 5), lambda at: None)
        assert closed.failures == []
        watch, steady = Watch(server, repository, swap, scrape), Load(server, SHARE * saturation)
        rate = steady.during(seconds, watch)
        growth = watch.growth(seconds / 3)
        sys.stdout.write(
            f"\nsoak: {seconds:g} s, {steady.answers.total()} requests, {rate:.0f}/s of {saturation:.0f}/s, "
            f"{watch.swaps} swaps, {watch.scrapes} scrapes, {len(steady.failures)} failures, "
            f"slowest {steady.slowest * 1e3:.0f} ms, memory {watch.resident[-1][1] / 1e6:.1f} MB, growth {growth:+.2%}\n"
        )
        assert steady.failures == []
        assert rate > saturation * SHARE / 4, "so little load says nothing"
        assert min(steady.answers[version] for version in SCORES) > steady.answers.total() / 10
        samples = server.samples()
        for version in SCORES:
            answered = sample(samples, "trimtab_inference_requests_total", model="adder", version=version)
            assert answered == steady.answers[version] + closed.answers[version]
        for reason in ("bad_request", "overloaded", "internal"):
            assert sample(samples, "trimtab_inference_failures_total", model="adder", reason=reason) == 0
        assert growth < limit
        assert server.stop() == 0


def test_a_short_soak_loses_no_request_and_keeps_its_memory(tmp_path: Path) -> None:
    """Its allocators have hardly settled, so memory gets more room than in the long one."""
    soak(tmp_path, 10, swap=1.5, scrape=0.2, limit=0.08)


@pytest.mark.long
@pytest.mark.timeout(SECONDS + 120)
def test_a_soak_at_seventy_percent_loses_no_request_and_keeps_its_memory_within_three_percent(tmp_path: Path) -> None:
    soak(tmp_path, SECONDS, swap=5, scrape=1, limit=0.03)
