"""Fetching from a source, and serving to consumers, over real sockets."""

from __future__ import annotations

import hashlib
import http.client
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plugins.flux.crash import NEW
from tests.plugins.flux.rigs import SourceServer, source_server
from trimtab_kernel.problems import OutsideError, TrustError
from trimtab_plugins.flux.fetching import ArchiveFetcher, FetchLimits
from trimtab_plugins.flux.metrics import ControllerMetrics
from trimtab_plugins.flux.server import ArchiveApplication, HttpServer, observation_application
from trimtab_plugins.flux.storage import ArchiveStore, archive_path

CONTENT = b"an archive" * 1000
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


@pytest.fixture
def source() -> Iterator[SourceServer]:
    with source_server() as made:
        made.archives["/a.tar.gz"] = CONTENT
        yield made


def fetcher(pauses: list[float], **limits: int) -> ArchiveFetcher:
    return ArchiveFetcher(FetchLimits(**limits), pauses.append)


def test_an_archive_is_fetched_and_checked_with_each_digest_of_flux(source: SourceServer) -> None:
    for name in ("sha256", "sha384", "sha512"):
        assert (
            fetcher([]).fetch(f"{source.url}/a.tar.gz", f"{name}:{hashlib.new(name, CONTENT).hexdigest()}") == CONTENT
        )


def test_404_and_5xx_are_tried_again_with_pauses_that_grow(source: SourceServer) -> None:
    source.answers = [(404, b""), (500, b"x"), (503, b"")]
    pauses: list[float] = []
    assert fetcher(pauses).fetch(f"{source.url}/a.tar.gz", DIGEST) == CONTENT
    assert pauses == [0.5, 1.0, 2.0]


@pytest.mark.parametrize("status", [301, 400, 401, 403])
def test_other_answers_are_final(source: SourceServer, status: int) -> None:
    source.answers = [(status, b"")]
    with pytest.raises(OutsideError, match=f"it answers {status}, expected 200"):
        fetcher([]).fetch(f"{source.url}/a.tar.gz", DIGEST)
    assert len(source.requests) == 1


def test_attempts_are_bounded_and_no_answer_is_told_the_same_way_each_time(source: SourceServer) -> None:
    source.answers = [(503, b"")] * 10
    with pytest.raises(OutsideError, match="it answers 503; tried 3 times"):
        fetcher([], attempts=3).fetch(f"{source.url}/a.tar.gz", DIGEST)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/a.tar.gz"
        texts = set()
        for _ in range(2):
            with pytest.raises(OutsideError, match="tried 2 times") as caught:
                fetcher([], attempts=2).fetch(url, DIGEST)
            texts.add(str(caught.value))
        assert len(texts) == 1


def test_an_archive_beyond_the_limit_is_not_read_to_its_end(source: SourceServer) -> None:
    with pytest.raises(OutsideError, match=r"A401 .* is larger than 500 bytes"):
        fetcher([], size=500).fetch(f"{source.url}/a.tar.gz", DIGEST)


@pytest.mark.parametrize(
    "digest", ["", "sha256", "md5:" + "0" * 32, "blake3:" + "0" * 64, "sha256:" + "0" * 64, "sha256:XY"]
)
def test_bytes_without_the_digest_that_was_named_are_refused(source: SourceServer, digest: str) -> None:
    with pytest.raises(TrustError, match="A402"):
        fetcher([]).fetch(f"{source.url}/a.tar.gz", digest)


def test_only_http_is_fetched(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(CONTENT)
    with pytest.raises(OutsideError, match="expected an http or https URL"):
        fetcher([]).fetch(f"file://{tmp_path}/a.tar.gz", DIGEST)


# ---------------------------------------------------------------- serving


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[HttpServer, list[int]]]:
    store = ArchiveStore(tmp_path)
    store.open(0)
    store.put("ns", "name", NEW, 0)
    statuses: list[int] = []
    server = HttpServer(ArchiveApplication(store.read, statuses.append), "127.0.0.1", 0, "test")
    server.start()
    try:
        yield server, statuses
    finally:
        server.stop()


def ask(server: HttpServer, method: str, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(*server.address, timeout=20)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


PATH = "/" + archive_path("ns", "name", NEW.content)


def test_an_archive_is_served_whole_with_its_length(served: tuple[HttpServer, list[int]]) -> None:
    server, statuses = served
    status, headers, body = ask(server, "GET", PATH)
    assert (status, body) == (200, NEW.archive)
    assert headers["content-length"] == str(len(NEW.archive))
    assert headers["content-type"] == "application/gzip"
    status, headers, body = ask(server, "HEAD", PATH)
    assert (status, headers["content-length"], body) == (200, str(len(NEW.archive)), b"")
    assert ask(server, "GET", PATH, Range="bytes=0-3")[::2] == (200, NEW.archive)
    assert statuses == [200, 200, 200]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/externalartifact/ns/name/"),
        ("GET", "/externalartifact/ns"),
        ("GET", f"/{PATH}"),
        ("GET", "/externalartifact/ns/name/../name/" + PATH[-71:]),
        ("GET", "/externalartifact/ns/%2e%2e/ns/name/" + PATH[-71:]),
        ("GET", "/" + PATH[1:].replace("/", "%5c")),
        ("GET", PATH + "%00"),
        ("GET", PATH + "/"),
        ("POST", PATH),
        ("DELETE", PATH),
        ("OPTIONS", "*"),
        ("HEAD", "/"),
    ],
)
def test_everything_else_is_404_and_lists_nothing(served: tuple[HttpServer, list[int]], method: str, path: str) -> None:
    server, _ = served
    status, _, body = ask(server, method, path)
    assert status == 404
    assert body in {b"not found\n", b""}


def test_health_readiness_and_metrics() -> None:
    reasons = ["not yet", ""]
    metrics = ControllerMetrics()
    metrics.published.inc(3)
    server = HttpServer(
        observation_application(lambda: reasons[1], lambda: reasons[0], metrics.text), "127.0.0.1", 0, "test"
    )
    server.start()
    try:
        assert ask(server, "GET", "/healthz")[::2] == (200, b"ok\n")
        assert ask(server, "GET", "/readyz")[::2] == (503, b"not yet\n")
        reasons[0] = ""
        assert ask(server, "GET", "/readyz")[::2] == (200, b"ok\n")
        reasons[1] = "ended: worker"
        assert ask(server, "GET", "/healthz")[::2] == (503, b"ended: worker\n")
        status, headers, body = ask(server, "GET", "/metrics")
        assert (status, headers["content-type"].split(";")[0]) == (200, "text/plain")
        assert b"trimtab_flux_published_total 3.0" in body
    finally:
        server.stop()


def test_an_address_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OutsideError, match=f"cannot listen on 127.0.0.1:{port}"):
            HttpServer(
                observation_application(lambda: "", lambda: "", ControllerMetrics().text), "127.0.0.1", port, "test"
            )
