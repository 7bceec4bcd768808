"""The built-in source against targets that misbehave, and a targets file that changes under it."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_bot.metrics import targets as targets_module
from trimtab_bot.metrics.scrape import MAX_BODY, MAX_LINES, ScrapeError, ScrapeSource, _observations
from trimtab_bot.metrics.series import SeriesStore
from trimtab_bot.metrics.targets import Target, TargetsError, parse_targets
from trimtab_kernel.freshness import Fresh, Stale
from trimtab_kernel.problems import OutsideError
from trimtab_kernel.rules import REQUESTS, Query, Reading, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOW = 1_800_000_000.0
QUERY = Query(REQUESTS, Window.MINUTE)
NAME = REQUESTS.metric.name


class Device:
    """A listener on loopback; each connection gets the bytes, or the treatment, that a test set."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.requests: list[bytes] = []
        self.handle: Callable[[socket.socket], None] = lambda _: None
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while not self.stopped.is_set():
            with contextlib.suppress(OSError):
                connection, _ = self.listener.accept()
                with connection:
                    connection.settimeout(5)
                    self.requests.append(connection.recv(65536))
                    self.handle(connection)

    def says(self, body: bytes, head: str = "") -> None:
        content = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode() + body
        self.handle = lambda connection: connection.sendall(content)

    def shows(self, value: str, **labels: str) -> None:
        named = ",".join(f'{name}="{text}"' for name, text in {"model": "m", "version": "1.0.0", **labels}.items())
        self.says(f"{NAME}{{{named}}} {value}\n".encode())

    def close(self) -> None:
        self.stopped.set()
        with contextlib.suppress(OSError):
            socket.create_connection(self.listener.getsockname(), timeout=1).close()
        self.thread.join(5)
        self.listener.close()


@pytest.fixture
def device() -> Iterator[Device]:
    one = Device()
    try:
        yield one
    finally:
        one.close()


class Rounds:
    """A source whose rounds a test makes itself, with a clock that it sets."""

    def __init__(self, file: Path, **options: Any) -> None:  # noqa: ANN401 - passed on
        self.now = NOW
        self.file = file
        settings = {"longest": Window.MINUTE, "freshness_limit": 30, "interval": 5, **options}
        self.source = ScrapeSource(file, clock=lambda: self.now, **settings)

    def aim(self, *addresses: str, **labels: str) -> None:
        self.file.write_text(
            json.dumps([{"targets": list(addresses), "labels": {"device_group": "g", **labels}}]), "utf-8"
        )

    def play(self, device: Device, /, *values: str, **labels: str) -> Reading:
        """A round for each value of the counter, and what is known after the last one."""
        for value in values:
            device.shows(value, **labels)
            self.round()
        return self.source.read(QUERY)

    def round(self, after: float = 10) -> Reading:
        self.now += after
        self.source.scrape_once()
        return self.source.read(QUERY)


@pytest.fixture
def rounds(tmp_path: Path) -> Iterator[Rounds]:
    one = Rounds(tmp_path / "targets.json", timeout=2.0)
    try:
        yield one
    finally:
        one.source.close()


def test_rounds_make_an_increase(rounds: Rounds, device: Device) -> None:
    rounds.aim(device.address, device="d")
    (sample,) = rounds.play(device, "100", "110", "120").samples
    assert sample.labels == {"model": "m", "version": "1.0.0", "device_group": "g"}
    assert sample.value == pytest.approx(20 * 25 / 20)
    assert sample.freshness == Fresh(rounds.now)
    assert rounds.source.down == {}
    assert b"GET /metrics HTTP/1.1\r\n" in device.requests[0]


def test_before_the_first_round_there_is_no_answer(rounds: Rounds) -> None:
    with pytest.raises(OutsideError, match="no round has ended yet") as caught:
        rounds.source.read(QUERY)
    assert caught.value.retry_after == 5


def test_without_a_targets_file_there_is_no_answer(rounds: Rounds) -> None:
    rounds.source.scrape_once()
    with pytest.raises(OutsideError, match="cannot read it: no such file or directory"):
        rounds.source.read(QUERY)


def test_no_targets_is_an_answer_without_samples(rounds: Rounds) -> None:
    rounds.aim()
    assert rounds.round() == Reading((), rounds.now)


def test_a_targets_file_that_breaks_leaves_the_old_one_in_force_with_a_warning(rounds: Rounds, device: Device) -> None:
    rounds.aim(device.address)
    rounds.play(device, "100", "110")
    rounds.file.write_text("[{", "utf-8")
    device.shows("120")
    reading = rounds.round()
    assert reading.samples[0].freshness == Fresh(rounds.now)
    assert reading.warnings == ("the targets file cannot be used, an older one is in force: expected JSON",)
    rounds.aim(device.address)
    assert rounds.round().warnings == ()


def test_a_target_that_leaves_the_file_is_asked_no_more_and_becomes_stale(rounds: Rounds, device: Device) -> None:
    rounds.aim(device.address)
    last = rounds.play(device, "100", "110").at
    rounds.aim()
    asked = len(device.requests)
    reading = rounds.round(31)
    assert len(device.requests) == asked
    assert reading.samples[0].freshness == Stale(last)
    assert reading.samples[0].value > 0


def test_a_device_cannot_name_its_own_group_or_device(rounds: Rounds, device: Device) -> None:
    rounds.aim(device.address, device="d1")
    reading = rounds.play(device, "100", "110", device_group="other", device="d2", instance="elsewhere")
    assert [sample.labels["device_group"] for sample in reading.samples] == ["g"]


def test_the_file_may_name_another_path(rounds: Rounds, device: Device) -> None:
    rounds.aim(device.address, __metrics_path__="/agent/metrics", __meta_x="y")
    device.shows("1")
    rounds.round()
    assert device.requests[0].startswith(b"GET /agent/metrics ")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", "status 500"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", "status 302"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", "the answer ends too early"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", "the connection broke off"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx", "compressed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\xff\xfe\x00", "the answer is not UTF-8"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "the connection broke off"),
        (b"", "the connection broke off"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000, "the connection broke off"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", "the connection broke off"),
    ],
)
def test_a_target_that_gives_no_answer_is_down_with_a_reason(
    rounds: Rounds, device: Device, content: bytes, reason: str
) -> None:
    rounds.aim(device.address)
    device.handle = lambda connection: connection.sendall(content)
    reading = rounds.round()
    assert not reading.samples
    assert reason in rounds.source.down[device.address]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html><body>It works!</body></html>", "not in Prometheus' text format"),
        (f'{NAME}{{model="m}} 1\n'.encode(), "not in Prometheus' text format"),
        (f"{NAME} one\n".encode(), "not in Prometheus' text format"),
        (b"a 1\n" * (MAX_LINES + 1), f"more than {MAX_LINES} lines"),
        (b"a" * (MAX_BODY + 1), f"the answer is larger than {MAX_BODY // 1024} KiB"),
        (f'{NAME}{{model="{"x" * 1025}"}} 1\n'.encode(), "a label is longer than 1024 characters"),
    ],
)
def test_a_page_that_is_no_exposition_is_refused_whole(
    rounds: Rounds, device: Device, body: bytes, reason: str
) -> None:
    rounds.aim(device.address)
    device.says(f'{NAME}{{model="m",version="1.0.0"}} 1\n'.encode() + body)
    rounds.round()
    assert reason in rounds.source.down[device.address]
    device.shows("5")
    rounds.round()
    assert rounds.source.down == {}


marks = ["{", "}", '"', "\\", ",", "=", "#", " ", "\n", "\t", "-", "é", "\x00"]
words = [NAME, "1", "1" * 400, "+Inf", "NaN", "e9", "le", "_bucket", "_created", 'model="m"']
comments = ["# TYPE ", "# HELP ", " counter", " histogram", "# EOF"]
pieces = st.sampled_from([*marks, *words, *comments])


@given(st.lists(pieces, max_size=30).map("".join))
def test_no_page_of_a_device_crashes_the_reader(page: str) -> None:
    target = Target("127.0.0.1", 1, "/metrics", secure=False, labels=())
    with contextlib.suppress(ScrapeError):
        store = SeriesStore(60)
        store.observe("t", NOW, _observations(page, target))
        store.read(QUERY, NOW, 30)


def test_nobody_listening_is_down(rounds: Rounds) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    rounds.aim(address)
    rounds.round()
    assert rounds.source.down == {address: "connection refused"}


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_target_that_trickles_holds_up_no_other(tmp_path: Path, device: Device, version: str) -> None:
    """Each byte comes within the timeout of a read, and the page never ends."""

    def trickle(connection: socket.socket) -> None:
        connection.sendall(f"HTTP/{version} 200 OK\r\nContent-Length: 1000\r\n\r\n".encode())
        with contextlib.suppress(OSError):
            for _ in range(100):
                connection.sendall(b"#")
                time.sleep(0.05)

    quick = Device()
    slow_rounds = Rounds(tmp_path / "targets.json", timeout=0.4)
    try:
        device.handle = trickle
        slow_rounds.aim(device.address, quick.address)
        started = time.monotonic()
        reading = slow_rounds.play(quick, "100", "110")
        assert time.monotonic() - started < 4
        assert len(reading.samples) == 1
        assert list(slow_rounds.source.down) == [device.address]
        assert slow_rounds.source.down[device.address]
    finally:
        slow_rounds.source.close()
        quick.close()


def test_the_thread_makes_rounds_by_itself_and_ends(tmp_path: Path, device: Device) -> None:
    file = tmp_path / "targets.json"
    file.write_text(json.dumps([{"targets": [device.address], "labels": {"device_group": "g"}}]), "utf-8")
    device.shows("100")
    with ScrapeSource(file, longest=Window.MINUTE, freshness_limit=30, interval=0.05) as source:
        assert source.await_round(3)
        device.shows("110")
        assert source.await_round(2)
        (sample,) = source.read(QUERY).samples
        assert sample.value >= 10
    with pytest.raises(OutsideError, match="it was closed, or its thread ended"):
        source.read(QUERY)
    assert not [thread for thread in threading.enumerate() if thread.name == "scrape-rounds"]


def test_a_window_longer_than_what_is_kept_is_refused(rounds: Rounds) -> None:
    rounds.aim()
    rounds.round()
    with pytest.raises(ValueError, match="window of at most 60 s, got 5m"):
        rounds.source.read(Query(REQUESTS, Window.MINUTES_5))


@pytest.mark.parametrize("options", [{"interval": 0}, {"interval": -1}, {"timeout": 0}])
def test_an_interval_that_is_none_is_refused(tmp_path: Path, options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected a positive interval and timeout"):
        Rounds(tmp_path / "targets.json", **options)


# ---------------------------------------------------------------- the targets file


def test_the_file_of_prometheus_is_read() -> None:
    entries = [
        {"targets": ["10.0.0.7:9464", "edge.local:80"], "labels": {"device_group": "g", "device": "", "__x": "y"}},
        {"targets": ["[fd00::1]:9464"], "labels": {"__scheme__": "https", "__metrics_path__": "/m?x=1"}},
        {"targets": ["10.0.0.7:9464"], "labels": {"device_group": "g"}},
    ]
    found = parse_targets(json.dumps(entries).encode())
    group = (("device_group", "g"),)
    assert found == (
        Target("10.0.0.7", 9464, "/metrics", secure=False, labels=group),
        Target("edge.local", 80, "/metrics", secure=False, labels=group),
        Target("fd00::1", 9464, "/m?x=1", secure=True, labels=()),
    )
    assert found[2].address == "[fd00::1]:9464"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "expected JSON"),
        (b"[" * 100_000, "expected JSON"),
        (b"\xff", "expected JSON"),
        (b"{}", "expected a list of objects"),
        (b"[7]", "entry 0: expected an object"),
        (b'[{"targets": "a:1"}]', "entry 0: expected a list of targets"),
        (b'[{"targets": [7]}]', 'entry 0: expected an address such as 10.0.0.7:9464, got "7"'),
        (b'[{"targets": ["host"]}]', 'got "host"'),
        (b'[{"targets": ["host:0"]}]', 'got "host:0"'),
        (b'[{"targets": ["host:65536"]}]', 'got "host:65536"'),
        (b'[{"targets": ["user@host:1"]}]', 'got "user@host:1"'),
        (b'[{"targets": ["host:1/x"]}]', 'got "host:1/x"'),
        (b'[{"targets": ["a:1"], "labels": []}]', "expected labels as an object"),
        (b'[{"targets": ["a:1"], "labels": {"a b": "c"}}]', 'expected a label name, got "a b"'),
        (b'[{"targets": ["a:1"], "labels": {"a": 1}}]', "expected text for label a"),
        (b'[{"targets": ["a:1"], "labels": {"__metrics_path__": "x"}}]', "expected a path"),
        (b'[{"targets": ["a:1"], "labels": {"__metrics_path__": "/a\\r\\nHost: b"}}]', "expected a path"),
        (b'[{"targets": ["a:1"], "labels": {"__scheme__": "file"}}]', "expected http or https"),
        (b'[{"targets": ["a:1"], "labels": {"a": "b"}}, {"targets": ["a:1"]}]', "two sets of labels"),
    ],
)
def test_a_file_that_is_none_is_refused_with_the_place(content: bytes, reason: str) -> None:
    with pytest.raises(TargetsError) as caught:
        parse_targets(content)
    assert reason in str(caught.value)


def test_a_file_for_a_large_fleet_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    many = json.dumps([{"targets": [f"h{i}:1" for i in range(501)]}]).encode()
    with pytest.raises(TargetsError, match="at most 500 targets, got 501; use Prometheus for so many"):
        parse_targets(many)
    monkeypatch.setattr(targets_module, "MAX_BYTES", 10)
    with pytest.raises(TargetsError, match="expected at most 10 bytes"):
        parse_targets(many)
