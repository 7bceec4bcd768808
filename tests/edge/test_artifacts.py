"""Fetching by digest, from directories and from real HTTP servers that misbehave in every way we could think of."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trimtab_edge.artifacts.download import Downloader, Limits
from trimtab_edge.artifacts.places import FilePlace, HttpPlace, NoPlace, places
from trimtab_edge.lifecycle.ports import InterruptedCommand
from trimtab_kernel.identity import Digest
from trimtab_kernel.problems import OutsideError, TrustError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONTENT = os.urandom(700_000)
DIGEST = Digest.of(CONTENT)
QUICK = Limits(largest=2_000_000, spare=0, connect=2, read=2, attempts=3, first_wait=0.01)


@dataclass(frozen=True, slots=True)
class Release:
    """What is to be fetched."""

    digest: Digest = DIGEST
    size: int = len(CONTENT)
    uri: str = ""


class Handler(BaseHTTPRequestHandler):
    """Answers as the test's script says; keeps what it was asked."""

    protocol_version = "HTTP/1.1"
    server: Site

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("range")))
        script = self.server.script
        (script.pop(0) if len(script) > 1 else script[0])(self)

    def log_message(self, format: str, *arguments: object) -> None:
        """Silent."""

    def whole(self, content: bytes = CONTENT, *, length: int | None = None, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)
        if length is not None:
            self.close_connection = True

    def ranged(self, content: bytes = CONTENT, *, cut: int | None = None) -> None:
        """Honours Range; hangs up after ``cut`` bytes."""
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("range") or "")
        start = int(match[1]) if match else 0
        self.send_response(206 if match else 200)
        if match:
            self.send_header("content-range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("content-length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][:cut])
        if cut is not None:
            self.close_connection = True

    def plain(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", "0")
        self.end_headers()


class Site(ThreadingHTTPServer):
    """A loopback server; the last entry of the script answers all that is left."""

    daemon_threads = True

    def __init__(self, *script: Callable[[Handler], None]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script = list(script)
        self.asked: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def site(*script: Callable[[Handler], None]) -> Iterator[Site]:
    server = Site(*script)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


@dataclass(slots=True)
class Target:
    """Where bytes are to go, and how many came in."""

    path: Path
    received: list[int] = field(default_factory=list)

    def fetch(
        self,
        store: str | None,
        release: Release = Release(),
        limits: Limits = QUICK,
        keep_going: Callable[[], bool] = lambda: True,
    ) -> None:
        Downloader(store, limits).fetch(release, self.path, self.received.append, keep_going)

    @property
    def part(self) -> Path:
        return self.path.with_name(f"{self.path.name}.part")


@pytest.fixture
def target(tmp_path: Path) -> Target:
    (tmp_path / "incoming").mkdir()
    return Target(tmp_path / "incoming" / DIGEST.hex)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "store" / DIGEST.path
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    return tmp_path / "store"


# ---------------------------------------------------------------- places


def test_the_store_comes_first_then_the_uri() -> None:
    assert places("/srv/store", DIGEST, "https://cdn.example.com/m.onnx") == (
        FilePlace(Path(f"/srv/store/sha256/{DIGEST.hex}")),
        HttpPlace("https://cdn.example.com/m.onnx"),
    )
    assert places("http://mirror:81/a/", DIGEST, "") == (HttpPlace(f"http://mirror:81/a/sha256/{DIGEST.hex}"),)
    assert places(None, DIGEST, "s3://bucket/m.onnx") == (NoPlace("s3"),)
    assert places(None, DIGEST, "") == ()


@pytest.mark.parametrize("uri", ["http://:80/x", "http://[x/y", "http://h:99999999/x", "ftp://h/x", "://"])
def test_an_odd_uri_is_no_place_and_no_crash(uri: str) -> None:
    [place] = places(None, DIGEST, uri)
    assert isinstance(place, NoPlace)


ODD = st.text(st.sampled_from(list("abc:/@[]%.?#\\ \x00\n\u00e9\uff0e\ud800-_~0127")), max_size=25)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.sampled_from(
        ["http://", "https://", "http://127.0.0.1:9", "http://[::1]:9/", "http://127.0.0.1:", "file:", ""]
    ),
    rest=ODD,
)
def test_no_uri_makes_fetching_raise_anything_else_than_its_own_errors(
    target: Target, monkeypatch: pytest.MonkeyPatch, start: str, rest: str
) -> None:
    """The URI comes from a desired document. Nothing listens, and no name is looked up outside."""

    def look_up(host: str, *arguments: object, **options: object) -> object:
        host.encode("idna")
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    limits = Limits(spare=0, connect=0.2, read=0.2, attempts=1)
    with pytest.raises((OutsideError, TrustError)):
        target.fetch(None, Release(uri=start + rest), limits)


def test_user_password_and_query_of_a_url_are_never_shown() -> None:
    assert str(HttpPlace("https://user:secret@host:8443/path?token=secret#secret")) == "https://host:8443/path"


# ---------------------------------------------------------------- what works


def test_from_a_directory(target: Target, store: Path) -> None:
    target.fetch(str(store))
    assert target.path.read_bytes() == CONTENT
    assert sum(target.received) == len(CONTENT)
    assert not target.part.exists()


def test_from_a_server_by_digest(target: Target) -> None:
    with site(Handler.whole) as server:
        target.fetch(f"{server.url}/mirror")
    assert target.path.read_bytes() == CONTENT
    assert server.asked == [(f"/mirror/sha256/{DIGEST.hex}", None)]


def test_from_the_uri_where_the_store_has_nothing(target: Target, tmp_path: Path) -> None:
    with site(Handler.whole) as server:
        target.fetch(str(tmp_path), Release(uri=f"{server.url}/m.onnx"))
    assert target.path.read_bytes() == CONTENT


def test_from_a_file_uri(target: Target, store: Path) -> None:
    target.fetch(None, Release(uri=(store / DIGEST.path).as_uri()))
    assert target.path.read_bytes() == CONTENT


def test_a_redirect_is_followed(target: Target) -> None:
    with site(lambda handler: handler.plain(302, location="/there"), Handler.whole) as server:
        target.fetch(None, Release(uri=f"{server.url}/here"))
    assert [path for path, _ in server.asked] == ["/here", "/there"]
    assert target.path.read_bytes() == CONTENT


def test_a_size_that_is_not_declared_is_judged_by_the_digest_alone(target: Target) -> None:
    with site(Handler.whole) as server:
        target.fetch(server.url, Release(size=0))
    assert target.path.read_bytes() == CONTENT


def test_an_empty_artifact_is_an_artifact(target: Target, tmp_path: Path) -> None:
    digest = Digest.of(b"")
    path = tmp_path / "store" / digest.path
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    target.fetch(str(tmp_path / "store"), Release(digest, 0))
    assert target.path.read_bytes() == b""


def test_a_cut_is_resumed_where_it_happened(target: Target) -> None:
    with site(lambda handler: handler.ranged(cut=300_000), Handler.ranged) as server:
        target.fetch(server.url)
    assert [asked for _, asked in server.asked] == [None, "bytes=300000-"]
    assert target.path.read_bytes() == CONTENT
    assert sum(target.received) == len(CONTENT)


def test_a_cut_is_resumed_after_a_restart(target: Target) -> None:
    target.part.write_bytes(CONTENT[:123_456])
    with site(Handler.ranged) as server:
        target.fetch(server.url)
    assert [asked for _, asked in server.asked] == ["bytes=123456-"]
    assert sum(target.received) == len(CONTENT) - 123_456
    assert target.path.read_bytes() == CONTENT


def test_a_download_that_was_complete_but_not_renamed_is_not_fetched_again(target: Target) -> None:
    target.part.write_bytes(CONTENT)
    with site(Handler.whole) as server:
        target.fetch(server.url)
    assert server.asked == []
    assert target.path.read_bytes() == CONTENT


def test_a_server_without_ranges_sends_the_whole_and_that_is_fine(target: Target) -> None:
    target.part.write_bytes(b"x" * 1000)
    with site(Handler.whole) as server:
        target.fetch(server.url)
    assert target.path.read_bytes() == CONTENT


def test_a_start_that_is_of_other_bytes_is_thrown_away(target: Target) -> None:
    """A torn write, say. It takes one more request, not a verdict against the server."""
    target.part.write_bytes(b"x" * 200_000)
    with site(Handler.ranged) as server:
        target.fetch(server.url)
    assert [asked for _, asked in server.asked] == ["bytes=200000-", None]
    assert target.path.read_bytes() == CONTENT


def test_a_start_that_is_longer_than_the_whole_is_thrown_away(target: Target) -> None:
    target.part.write_bytes(CONTENT + b"more")
    with site(Handler.whole) as server:
        target.fetch(server.url)
    assert target.path.read_bytes() == CONTENT


def test_a_range_that_the_server_refuses_begins_again(target: Target) -> None:
    target.part.write_bytes(CONTENT[:1000])
    with site(lambda handler: handler.plain(416), Handler.whole) as server:
        target.fetch(server.url)
    assert [asked for _, asked in server.asked] == ["bytes=1000-", None]
    assert target.path.read_bytes() == CONTENT


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_a_server_in_trouble_is_asked_again(target: Target, status: int) -> None:
    with site(lambda handler: handler.plain(status, retry_after="0"), Handler.whole) as server:
        target.fetch(server.url)
    assert len(server.asked) == 2
    assert target.path.read_bytes() == CONTENT


def test_what_retry_after_asks_for_is_waited(target: Target) -> None:
    with site(lambda handler: handler.plain(503, retry_after="1"), Handler.whole) as server:
        started = time.monotonic()
        target.fetch(server.url)
    assert time.monotonic() - started >= 1


def test_a_mirror_with_wrong_bytes_does_not_stand_in_the_way_of_the_origin(target: Target, store: Path) -> None:
    (store / DIGEST.path).write_bytes(b"y" * len(CONTENT))
    with site(Handler.whole) as server:
        target.fetch(str(store), Release(uri=f"{server.url}/m.onnx"))
    assert target.path.read_bytes() == CONTENT


# ---------------------------------------------------------------- what is not to be trusted


def refused(target: Target, store: str | None, release: Release = Release(), limits: Limits = QUICK) -> TrustError:
    with pytest.raises(TrustError) as raised:
        target.fetch(store, release, limits)
    assert not target.path.exists()
    assert not target.part.exists()
    return raised.value


def test_wrong_bytes_of_the_right_size_are_refused(target: Target) -> None:
    wrong = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    with site(lambda handler: handler.whole(wrong)) as server:
        error = refused(target, server.url)
    assert error.code == "E301"
    assert hashlib.sha256(wrong).hexdigest() in error.reason
    assert DIGEST.hex in error.reason
    assert len(server.asked) == 1


def test_wrong_bytes_in_a_directory_are_refused(target: Target, store: Path) -> None:
    (store / DIGEST.path).write_bytes(b"y" * len(CONTENT))
    assert refused(target, str(store)).code == "E301"


def test_an_announced_size_that_is_wrong_is_refused_before_the_first_byte(target: Target) -> None:
    with site(lambda handler: handler.whole(CONTENT + b"more")) as server:
        assert refused(target, server.url).code == "E302"
    assert target.received == []


def endless(handler: Handler) -> None:
    """Never says how much, never stops."""
    handler.send_response(200)
    handler.send_header("connection", "close")
    handler.end_headers()
    handler.close_connection = True
    try:
        while True:
            handler.wfile.write(b"x" * 65536)
    except OSError:
        pass


@pytest.mark.parametrize("size", [len(CONTENT), 0], ids=["declared", "not declared"])
def test_endless_data_ends_at_the_limit(target: Target, size: int) -> None:
    with site(endless) as server:
        assert refused(target, server.url, Release(size=size)).code == "E302"
    assert sum(target.received) <= (size or QUICK.largest) + 2 * 256 * 1024


def test_an_artifact_beyond_the_devices_limit_is_refused_unasked(target: Target) -> None:
    with site(Handler.whole) as server:
        assert refused(target, server.url, Release(size=QUICK.largest + 1)).code == "E303"
    assert server.asked == []


# ---------------------------------------------------------------- what may work later


def later(target: Target, store: str | None, release: Release = Release(), limits: Limits = QUICK) -> str:
    with pytest.raises(OutsideError) as raised:
        target.fetch(store, release, limits)
    assert not target.path.exists()
    return raised.value.reason


def test_a_server_that_always_hangs_up_is_given_up_for_now_and_its_bytes_are_kept(target: Target) -> None:
    with site(lambda handler: handler.ranged(cut=1000)) as server:
        reason = later(target, server.url)
    assert len(server.asked) == QUICK.attempts
    assert target.part.stat().st_size == QUICK.attempts * 1000
    assert server.url in reason


def test_a_truncated_answer_that_claims_to_be_whole_is_not_taken(target: Target) -> None:
    def short(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("connection", "close")
        handler.end_headers()
        handler.wfile.write(CONTENT[:5000])
        handler.close_connection = True

    with site(short) as server:
        assert f"expected {len(CONTENT)}" in later(target, server.url)


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_what_is_not_there_is_not_asked_for_again_at_once(target: Target, status: int) -> None:
    with site(lambda handler: handler.plain(status)) as server:
        assert f"status {status}" in later(target, server.url)
    assert len(server.asked) == 1


def test_nobody_listens(target: Target) -> None:
    with site(Handler.whole) as server:
        url = server.url
    assert url in later(target, url)


def test_no_place_at_all(target: Target) -> None:
    assert "no uri" in later(target, None)
    assert "s3" in later(target, None, Release(uri="s3://bucket/m.onnx"))


def test_a_redirect_loop_ends(target: Target) -> None:
    with site(lambda handler: handler.plain(302, location="/again")) as server:
        later(target, server.url)
    assert len(server.asked) <= 6 * QUICK.attempts


def test_a_redirect_out_of_http_is_not_followed(target: Target, store: Path) -> None:
    with site(lambda handler: handler.plain(302, location=(store / DIGEST.path).as_uri())) as server:
        later(target, server.url)


def test_encoded_content_is_not_taken(target: Target) -> None:
    """A small body could unpack to a huge one; and the digest is of the bytes as they are."""

    def encoded(handler: Handler) -> None:
        handler.plain(200, content_encoding="gzip")

    with site(encoded) as server:
        assert "encodes" in later(target, server.url)


def test_a_range_other_than_asked_for_is_not_joined(target: Target) -> None:
    target.part.write_bytes(CONTENT[:1000])

    def other(handler: Handler) -> None:
        handler.send_response(206)
        handler.send_header("content-range", f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}")
        handler.send_header("content-length", str(len(CONTENT)))
        handler.end_headers()
        handler.wfile.write(CONTENT)

    with site(other) as server:
        assert "another range" in later(target, server.url)


def trickle(handler: Handler) -> None:
    """A byte now and then: never a timeout, never an end."""
    handler.send_response(200)
    handler.send_header("content-length", str(len(CONTENT)))
    handler.end_headers()
    try:
        for byte in CONTENT:
            handler.wfile.write(bytes([byte]))
            time.sleep(0.02)
    except OSError:
        pass
    handler.close_connection = True


def test_a_trickle_is_cut_off(target: Target) -> None:
    limits = Limits(largest=2_000_000, spare=0, read=2, attempts=1, least_rate=1000, patience=0.3)
    with site(trickle) as server:
        started = time.monotonic()
        assert "too slow" in later(target, server.url, limits=limits)
        assert time.monotonic() - started < 5


def test_silence_is_cut_off(target: Target) -> None:
    done = threading.Event()
    limits = Limits(largest=2_000_000, spare=0, read=0.3, attempts=1)

    def silent(handler: Handler) -> None:
        done.wait(10)
        handler.close_connection = True

    with site(silent) as server:
        assert "timeout" in later(target, server.url, limits=limits)
        done.set()


def test_a_directory_in_the_place_of_a_file_is_nothing(target: Target, tmp_path: Path) -> None:
    (tmp_path / "store" / DIGEST.path).mkdir(parents=True)
    later(target, str(tmp_path / "store"))


def test_a_pipe_in_the_place_of_a_file_does_not_block(target: Target, tmp_path: Path) -> None:
    path = tmp_path / "store" / DIGEST.path
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    assert "not a regular file" in later(target, str(tmp_path / "store"))


def test_a_disk_without_room_is_seen_before_the_first_byte(target: Target) -> None:
    limits = Limits(largest=2**62, spare=0)
    with site(Handler.whole) as server:
        assert "disk too full" in later(target, server.url, Release(size=2**60), limits)
    assert server.asked == []


# ---------------------------------------------------------------- interruption


def test_a_download_is_given_up_when_something_newer_is_wanted_and_goes_on_later(target: Target) -> None:
    with site(Handler.ranged) as server:
        with pytest.raises(InterruptedCommand):
            target.fetch(server.url, keep_going=lambda: sum(target.received) < 100_000)
        there = target.part.stat().st_size
        assert there >= 100_000
        target.fetch(server.url)
    assert server.asked[-1][1] == f"bytes={there}-"
    assert target.path.read_bytes() == CONTENT


def test_a_wait_between_two_tries_is_given_up_as_well(target: Target) -> None:
    limits = Limits(largest=2_000_000, spare=0, attempts=3, first_wait=30)
    with site(lambda handler: handler.plain(503, retry_after="60")) as server:
        started = time.monotonic()
        with pytest.raises(InterruptedCommand):
            target.fetch(server.url, limits=limits, keep_going=lambda: not server.asked)
    assert time.monotonic() - started < 10
