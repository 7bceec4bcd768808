"""Whatever goes wrong between us and a Prometheus: an error with its reason, never a number that was not measured."""

from __future__ import annotations

import contextlib
import email.utils
import http.server
import json
import socket
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import responses

from trimtab_bot.metrics.prometheus import LOOKBACK, PrometheusSource, parse_endpoint
from trimtab_config.rules.recording import MARKER, rules_digest
from trimtab_kernel.freshness import Fresh, Stale
from trimtab_kernel.problems import OutsideError
from trimtab_kernel.rules import DECISIONS, DEVICES_READY, REQUESTS, Query, Reading, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOW = 1_800_000_000.0
URL = "http://prometheus.test:9090"
API = f"{URL}/api/v1/query"
LABELS = {"model": "triage", "version": "1.0.0", "device_group": "kiosks"}


def answer(*series: tuple[dict[str, str], str], **more: Any) -> dict[str, Any]:  # noqa: ANN401 - passed on
    result = [{"metric": labels, "value": [NOW, value]} for labels, value in series]
    return {"status": "success", "data": {"resultType": "vector", "result": result}, **more}


MARKERS = answer(
    ({"__name__": MARKER, "window": "now", "digest": rules_digest(None)}, "1"),
    ({"__name__": MARKER, "window": "5m", "digest": rules_digest(Window.MINUTES_5)}, "1"),
)


class Fake:
    """Answers by `responses`: markers as they should be; values and newest times as a test says."""

    def __init__(self, mocked: responses.RequestsMock) -> None:
        self.mocked = mocked
        self.slept: list[float] = []
        self.now = NOW
        self.values: Any = answer((LABELS, "120"))
        self.newest: Any = answer((LABELS, str(NOW - 2)))
        self.markers: Any = MARKERS
        self.faults: list[Callable[[], tuple[int, dict[str, str], str | bytes]]] = []
        self.expressions: list[str] = []
        mocked.add_callback(responses.GET, API, callback=self.respond)

    def respond(self, request: requests.PreparedRequest) -> tuple[int, dict[str, str], str | bytes]:
        expression = parse_qs(urlsplit(str(request.url)).query)["query"][0]
        self.expressions.append(expression)
        if expression == MARKER:
            body = self.markers
        elif expression.startswith("last_over_time("):
            body = self.newest
        else:
            if self.faults:
                return self.faults.pop(0)()
            body = self.values
        return 200, {"Content-Type": "application/json"}, body if isinstance(body, str | bytes) else json.dumps(body)

    def source(self, **options: Any) -> PrometheusSource:  # noqa: ANN401 - passed on
        options = {"freshness_limit": 30.0, "clock": lambda: self.now, "sleep": self.slept.append, **options}
        return PrometheusSource(URL, **options)

    def read(self, **options: Any) -> Reading:  # noqa: ANN401 - passed on
        source = self.source(**options)
        try:
            return source.read(Query(REQUESTS, Window.MINUTES_5))
        finally:
            source.close()

    def status(self, code: int, body: str = "", **headers: str) -> None:
        self.faults.append(lambda: (code, headers, body))


@pytest.fixture
def fake() -> Iterator[Fake]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mocked:
        yield Fake(mocked)


def refused(fake: Fake, **options: Any) -> OutsideError:  # noqa: ANN401 - passed on
    with pytest.raises(OutsideError) as caught:
        fake.read(**options)
    assert str(caught.value).startswith(f"prometheus at {URL}: ")
    assert "\n" not in str(caught.value)
    return caught.value


def test_an_answer_becomes_a_reading(fake: Fake) -> None:
    reading = fake.read()
    (sample,) = reading.samples
    assert (sample.labels, sample.value, sample.n, sample.freshness) == (LABELS, 120.0, 120, Fresh(NOW - 2))
    assert (reading.at, reading.warnings, reading.dropped, reading.infos) == (NOW, (), (), ())
    assert fake.expressions == [
        MARKER,
        "trimtab:requests:increase5m",
        "last_over_time(trimtab:requests:newest[300s])",
    ]


# ---------------------------------------------------------------- try again


def test_too_many_requests_waits_as_long_as_it_was_told_and_tries_again(fake: Fake) -> None:
    fake.status(429, **{"Retry-After": "7"})
    assert fake.read().samples[0].value == 120
    assert fake.slept == [7.0]


def test_retry_after_may_be_a_date(fake: Fake) -> None:
    fake.status(503, **{"Retry-After": email.utils.formatdate(NOW + 11, usegmt=True)})
    assert fake.read().samples
    assert fake.slept == [11.0]


def test_a_pause_longer_than_our_patience_is_handed_to_the_caller(fake: Fake) -> None:
    fake.status(429, **{"Retry-After": "3600"})
    error = refused(fake)
    assert error.retry_after == 3600
    assert fake.slept == []
    assert "status 429" in str(error)


@pytest.mark.parametrize("text", ["-5", "soon", "1e3", "9" * 40, "Wed, 99 Foo 2026 00:00:00 GMT", ""])
def test_a_pause_that_is_none_is_not_believed(fake: Fake, text: str) -> None:
    fake.status(429, **{"Retry-After": text})
    assert fake.read().samples
    assert fake.slept == [0.5]


def test_a_date_in_the_past_means_now(fake: Fake) -> None:
    fake.status(429, **{"Retry-After": email.utils.formatdate(NOW - 100, usegmt=True)})
    assert fake.read().samples
    assert fake.slept == [0.0]


@pytest.mark.parametrize("code", [500, 502, 503, 504])
def test_a_gateway_that_stumbles_once_is_forgiven(fake: Fake, code: int) -> None:
    fake.status(code, "<html>bad gateway</html>")
    assert fake.read().samples[0].value == 120
    assert fake.slept == [0.5]


def test_a_gateway_that_stays_down_is_an_error_after_three_tries(fake: Fake) -> None:
    for _ in range(10):
        fake.status(502, "<html>bad gateway</html>")
    error = refused(fake)
    assert "status 502" in str(error)
    assert error.retry_after is None
    assert fake.slept == [0.5, 1.0]
    assert len(fake.faults) == 7


def test_the_package_does_not_retry_beside_us(fake: Fake) -> None:
    """Nine requests for three tries would be two retry rules stacked on each other."""
    for _ in range(20):
        fake.status(503)
    refused(fake)
    assert fake.expressions.count("trimtab:requests:increase5m") == 3


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (requests.exceptions.ReadTimeout("x"), "no complete answer within 10 s"),
        (requests.exceptions.ConnectTimeout("x"), "no complete answer within 10 s"),
        (requests.exceptions.ConnectionError("http://user:secret@host"), "no connection, or it broke off"),
        (requests.exceptions.ChunkedEncodingError("x"), "no connection, or it broke off"),
    ],
)
def test_a_broken_connection_is_tried_again_and_then_an_error(fake: Fake, fault: Exception, reason: str) -> None:
    def fail() -> tuple[int, dict[str, str], str | bytes]:
        raise fault

    fake.faults = [fail]
    assert fake.read().samples
    fake.faults = [fail] * 3
    error = refused(fake)
    assert reason in str(error)
    assert "secret" not in str(error)


def test_a_certificate_that_is_not_trusted_is_not_tried_again(fake: Fake) -> None:
    def fail() -> tuple[int, dict[str, str], str | bytes]:
        raise requests.exceptions.SSLError("self-signed")

    fake.faults = [fail] * 3
    assert "its certificate is not trusted; name the file of its issuer" in str(refused(fake))
    assert fake.slept == []


# ---------------------------------------------------------------- answers that are none


FULL = json.dumps(answer((LABELS, "120")))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (FULL[: len(FULL) // 2], "the answer is not JSON, or ends too early"),
        ("", "the answer is not JSON, or ends too early"),
        ("[" * 100_000, "the answer is not JSON, or ends too early"),
        (b"\xff\xfe\x00", "the answer is not JSON, or ends too early"),
        ('{"status":"success","data":{"resultType":"vector","result":[]}}}', "the answer is not JSON"),
        ("[]", "the answer is not a JSON object"),
        ("{}", 'the answer has no "status": "success" with "data"'),
        ('{"status":"success"}', 'the answer has no "status": "success" with "data"'),
        (json.dumps(answer() | {"status": "partial"}), 'the answer has no "status": "success" with "data"'),
        (
            json.dumps({"status": "success", "data": {"resultType": "matrix", "result": []}}),
            'expected a result of type vector, got "matrix"',
        ),
        (
            json.dumps({"status": "success", "data": {"resultType": "scalar", "result": [NOW, "1"]}}),
            'expected a result of type vector, got "scalar"',
        ),
        (json.dumps({"status": "success", "data": {"resultType": "vector", "result": {}}}), "the result is not a list"),
        (json.dumps({"status": "success", "data": {"resultType": "vector"}}), "the result is not a list"),
        (json.dumps(answer((LABELS, "1")) | {"data": {"resultType": "vector", "result": [7]}}), "result 0 is not an"),
        (
            json.dumps({"status": "success", "data": {"resultType": "vector", "result": [{"value": [1, "1"]}]}}),
            "result 0 has no labels",
        ),
        (
            json.dumps(
                {
                    "status": "success",
                    "data": {"resultType": "vector", "result": [{"metric": {"model": 1}, "value": [1, "1"]}]},
                }
            ),
            "result 0 has no labels",
        ),
        (
            json.dumps(
                {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1, 1]}]}}
            ),
            "result 0 has no pair of time and value",
        ),
        (json.dumps(answer((LABELS, "1_000"))), 'result 0 has the value "1_000", expected a number'),
        (json.dumps(answer((LABELS, "0x10"))), 'result 0 has the value "0x10", expected a number'),
        (json.dumps(answer((LABELS, ""))), 'result 0 has the value "", expected a number'),
    ],
)
def test_an_answer_that_is_none_is_an_error_with_its_reason(fake: Fake, body: str | bytes, reason: str) -> None:
    fake.values = body
    assert reason in str(refused(fake))


def test_a_page_instead_of_an_answer_asks_whether_the_url_is_right(fake: Fake) -> None:
    fake.faults = [lambda: (200, {"Content-Type": "text/html; charset=utf-8"}, "<html>Sign in</html>")]
    assert "is the URL the root of Prometheus' HTTP API?" in str(refused(fake))


def test_an_error_of_prometheus_is_told_on_one_line_and_cut(fake: Fake) -> None:
    body = {"status": "error", "errorType": "execution", "error": "too many samples\n\x1b[31m" + "x" * 5000}
    fake.status(422, json.dumps(body))
    error = refused(fake)
    assert "status 422, execution: too many samples\\u000a\\u001b[31m" in str(error)
    assert len(str(error)) < 500
    assert fake.slept == []


def test_an_error_with_status_200_is_an_error_too(fake: Fake) -> None:
    fake.values = {"status": "error", "errorType": "timeout", "error": "query timed out"}
    assert "the query failed: timeout: query timed out" in str(refused(fake))


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (400, "status 400"),
        (401, "it refuses us (401); check the credentials"),
        (403, "it refuses us (403); check the credentials"),
        (404, "it has no query API there (404)"),
        (418, "status 418"),
    ],
)
def test_a_refusal_is_not_tried_again(fake: Fake, code: int, reason: str) -> None:
    fake.status(code, "no")
    assert reason in str(refused(fake))
    assert fake.slept == []


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(fake: Fake, code: int) -> None:
    elsewhere = fake.mocked.get("http://elsewhere.test/", json=answer((LABELS, "1")))
    fake.status(code, Location="http://elsewhere.test/?token=secret")
    error = refused(fake)
    assert f"it redirects elsewhere ({code}), which is not followed" in str(error)
    assert "secret" not in str(error)
    assert elsewhere.call_count == 0


def test_a_huge_answer_is_not_read_to_its_end(fake: Fake) -> None:
    fake.values = answer(*((LABELS | {"model": f"m{i}"}, "1") for i in range(2000)))
    assert "the answer is larger than 64 KiB" in str(refused(fake, max_bytes=64 * 1024))
    assert fake.slept == []
    assert len(fake.read().samples) == 2000


def test_a_compressed_answer_was_not_asked_for(fake: Fake) -> None:
    fake.status(200, "x", **{"Content-Encoding": "gzip"})
    assert "the answer is compressed, which was not asked for" in str(refused(fake))


def test_the_answer_before_is_never_taken_for_the_one_that_failed(fake: Fake) -> None:
    source = fake.source()
    query = Query(REQUESTS, Window.MINUTES_5)
    assert source.read(query).samples

    def fail() -> tuple[int, dict[str, str], str | bytes]:
        raise requests.exceptions.ConnectionError

    fake.faults = [fail] * 3
    with pytest.raises(OutsideError):
        source.read(query)


# ---------------------------------------------------------------- incomplete answers


def test_warnings_and_infos_are_kept(fake: Fake) -> None:
    fake.values = answer((LABELS, "120"), warnings=["partial response: store 2 is down"], infos=["metric might not be"])
    fake.newest = answer((LABELS, str(NOW)), warnings=["another\none"])
    reading = fake.read()
    assert reading.warnings == ("another\\u000aone", "partial response: store 2 is down")
    assert reading.infos == ("metric might not be",)
    assert reading.samples


@pytest.mark.parametrize("warnings", ["text", 7, {"a": 1}])
def test_warnings_of_another_shape_are_a_warning(fake: Fake, warnings: object) -> None:
    fake.values = answer((LABELS, "120"), warnings=warnings)
    assert fake.read().warnings == ("warnings that are not a list",)


def test_a_flood_of_warnings_is_cut(fake: Fake) -> None:
    fake.values = answer((LABELS, "120"), warnings=["x" * 10_000] + [f"w{i}" for i in range(10_000)])
    warnings = fake.read().warnings
    assert len(warnings) == 11
    assert max(len(warning) for warning in warnings) < 310
    assert "and 9991 more warnings" in warnings


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "Inf", "1e999"])
def test_a_value_that_is_not_finite_is_dropped_by_name(fake: Fake, value: str) -> None:
    other = LABELS | {"version": "2.0.0"}
    fake.values = answer((LABELS, value), (other, "5"))
    reading = fake.read()
    assert [sample.labels for sample in reading.samples] == [other]
    (dropped,) = reading.dropped
    assert (dropped.labels, dropped.reason) == (LABELS, "trimtab_inference_requests_total is not a finite number")


@pytest.mark.parametrize(
    ("name", "reason"),
    [("x" * 1025, "label model is longer than 1024 characters"), ("a\ud800b", "label model is not valid Unicode")],
)
def test_a_label_that_cannot_be_used_is_dropped(fake: Fake, name: str, reason: str) -> None:
    fake.values = answer((LABELS | {"model": name}, "5"))
    reading = fake.read()
    assert not reading.samples
    (dropped,) = reading.dropped
    assert dropped.reason == reason
    dropped.labels["model"].encode()
    assert len(dropped.labels["model"]) < 100


def test_no_series_is_an_empty_reading_and_no_zero(fake: Fake) -> None:
    fake.values = answer()
    reading = fake.read()
    assert (reading.samples, reading.dropped, reading.warnings) == ((), (), ())


def test_labels_that_other_stores_add_are_left_out_and_missing_ones_are_empty(fake: Fake) -> None:
    fake.values = answer(({"__name__": "x", "model": "triage", "cluster": "a", "replica": "0"}, "5"))
    (sample,) = fake.read().samples
    assert sample.labels == {"model": "triage", "version": "", "device_group": ""}


def test_two_replicas_are_not_added_up(fake: Fake) -> None:
    fake.values = answer((LABELS | {"replica": "0"}, "5"), (LABELS | {"replica": "1"}, "7"))
    reading = fake.read()
    assert [sample.value for sample in reading.samples] == [7.0]
    (warning,) = reading.warnings
    assert "replicas without deduplication" in warning


# ---------------------------------------------------------------- freshness and rules


@pytest.mark.parametrize(
    ("newest", "freshness"),
    [
        (str(NOW - 30), Fresh(NOW - 30)),
        (str(NOW - 31), Stale(NOW - 31)),
        (str(NOW + 31), Stale(NOW + 31)),
        ("NaN", Stale(NOW - LOOKBACK)),
        (None, Stale(NOW - LOOKBACK)),
    ],
)
def test_freshness_is_that_of_the_newest_sample(fake: Fake, newest: str | None, freshness: object) -> None:
    fake.newest = answer() if newest is None else answer((LABELS, newest))
    assert fake.read().samples[0].freshness == freshness


@pytest.mark.parametrize(
    ("markers", "reason"),
    [
        (answer(), "the recording rules of window now are missing"),
        (
            answer(({"window": "now", "digest": rules_digest(None)}, "1")),
            "the recording rules of window 5m are missing; load what 'trimtab rules --window 5m' prints",
        ),
        (
            answer(({"window": "now", "digest": "0" * 16}, "1")),
            "the recording rules of window now are not of this version",
        ),
    ],
)
def test_rules_that_are_missing_or_others_are_an_error(fake: Fake, markers: object, reason: str) -> None:
    fake.markers = markers
    assert reason in str(refused(fake))


def test_the_rules_are_looked_for_again_after_a_minute(fake: Fake) -> None:
    source = fake.source()
    query = Query(REQUESTS, Window.MINUTES_5)
    for _ in range(3):
        source.read(query)
    assert fake.expressions.count(MARKER) == 1
    fake.now += 61
    fake.markers = answer()
    with pytest.raises(OutsideError, match="rules of window now are missing"):
        source.read(query)


def test_a_rule_about_now_needs_no_rules_of_a_window(fake: Fake) -> None:
    fake.markers = answer(({"window": "now", "digest": rules_digest(None)}, "1"))
    fake.values = answer((LABELS, "3"))
    reading = fake.source().read(Query(DEVICES_READY, Window.HOUR))
    assert [sample.n for sample in reading.samples] == [3]


# ---------------------------------------------------------------- what is sent


def test_a_query_is_built_of_our_own_names_and_quoted_values(fake: Fake) -> None:
    fake.values = answer()
    match = (("model", 'a"} or b{c="\\\n\t\x00'), ("cohort", "ü"))
    fake.source().read(Query(DECISIONS, Window.MINUTES_5, match))
    selector = r'{model="a\"} or b{c=\"\\\n\x09\x00", cohort="ü"}'
    assert fake.expressions[1:] == [
        f"trimtab:decisions:increase5m{selector}",
        f"last_over_time(trimtab:decisions:newest{selector}[300s])",
    ]


@pytest.mark.parametrize("match", [(("device", "d"),), (("model", "a"), ("model", "b")), (("model", "\ud800"),)])
def test_what_cannot_be_asked_is_never_sent(fake: Fake, match: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(ValueError, match=r"keeps|once|surrogates"):
        fake.source().read(Query(REQUESTS, Window.MINUTES_5, match))
    assert "trimtab:requests:increase5m" not in fake.expressions


def test_credentials_of_the_url_are_sent_and_never_shown() -> None:
    url = "https://bot:p%40ss@prometheus.test/base/"
    with responses.RequestsMock() as mocked:
        mocked.get("https://prometheus.test/base/api/v1/query", status=401)
        source = PrometheusSource(url, freshness_limit=30, clock=lambda: NOW)
        assert source.name == "prometheus at https://prometheus.test/base"
        with pytest.raises(OutsideError) as caught:
            source.read(Query(REQUESTS, Window.MINUTES_5))
        sent = mocked.calls[0].request.headers
    assert sent["Authorization"] == requests.auth._basic_auth_str("bot", "p@ss")
    assert sent["Accept-Encoding"] == "identity"
    assert "p@ss" not in repr(caught.value)
    assert "p%40ss" not in repr(caught.value)


def test_a_token_is_read_anew_for_every_question(fake: Fake, tmp_path: Path) -> None:
    file = tmp_path / "token"
    source = fake.source(bearer_token_file=file)
    for token in ("first", "second"):
        file.write_text(f"{token}\n", "utf-8")
        source.read(Query(REQUESTS, Window.MINUTES_5))
        assert fake.mocked.calls[-1].request.headers["Authorization"] == f"Bearer {token}"
    file.write_text("", "utf-8")
    with pytest.raises(OutsideError, match="expected one line with a token"):
        source.read(Query(REQUESTS, Window.MINUTES_5))
    file.unlink()
    with pytest.raises(OutsideError, match="cannot read the token file"):
        source.read(Query(REQUESTS, Window.MINUTES_5))


def test_the_environment_does_not_send_the_fleets_figures_through_a_proxy(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("machine prometheus.test login a password b\n", "utf-8")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("http_proxy", "http://proxy.test:3128")
    fake.read()
    assert all("Authorization" not in call.request.headers for call in fake.mocked.calls)
    assert all(not call.request.req_kwargs["proxies"] for call in fake.mocked.calls)  # type: ignore[attr-defined] # responses adds it


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:9090", ("http://127.0.0.1:9090", None)),
        ("http://[::1]:9090/", ("http://[::1]:9090", None)),
        ("https://u:p@host/prom//", ("https://host/prom", ("u", "p"))),
        ("https://u@host", ("https://host", ("u", ""))),
    ],
)
def test_a_url_is_taken_apart(url: str, expected: tuple[str, tuple[str, str] | None]) -> None:
    endpoint = parse_endpoint(url)
    assert (endpoint.url, endpoint.auth) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host:9090",
        "ftp://host",
        "http://",
        "http://h:x",
        "http://h?q",
        "http://h/#f",
        "http://u:se cret@h",
        "http://[::1",
    ],
)
def test_a_url_that_is_none_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        parse_endpoint(url)
    assert "se cret" not in str(caught.value)


# ---------------------------------------------------------------- real sockets


@contextlib.contextmanager
def server(handle: Callable[[socket.socket], None]) -> Iterator[str]:
    """A listener on loopback that treats every connection as a test says."""
    listener = socket.create_server(("127.0.0.1", 0))
    stopped = threading.Event()

    def serve() -> None:
        while not stopped.is_set():
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(5)
                    if not stopped.is_set():
                        connection.recv(65536)
                        handle(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    host, port = listener.getsockname()
    try:
        yield f"http://{host}:{port}"
    finally:
        stopped.set()
        with contextlib.suppress(OSError):
            socket.create_connection((host, port), timeout=1).close()
        thread.join(10)
        listener.close()


def failing(url: str, **options: Any) -> tuple[str, float]:  # noqa: ANN401 - passed on
    source = PrometheusSource(url, freshness_limit=30, attempts=1, **options)
    started = time.monotonic()
    with pytest.raises(OutsideError) as caught:
        source.read(Query(REQUESTS, Window.MINUTES_5))
    source.close()
    return str(caught.value), time.monotonic() - started


def test_a_server_that_says_nothing_costs_one_timeout() -> None:
    with server(lambda _: time.sleep(1)) as url:
        reason, seconds = failing(url, timeout=0.3)
    assert "no complete answer within 0.3 s" in reason
    assert seconds < 5


def test_a_trickle_of_bytes_cannot_outlast_the_timeout() -> None:
    def trickle(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        with contextlib.suppress(OSError):
            for _ in range(40):
                connection.sendall(b" ")
                time.sleep(0.05)

    with server(trickle) as url:
        reason, seconds = failing(url, timeout=0.4)
    assert "no complete answer within 0.4 s" in reason
    assert seconds < 1.8


@pytest.mark.parametrize("head", ["Content-Length: 1000\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n5\r\n{{{{"])
def test_a_connection_that_breaks_off_is_no_answer(head: str) -> None:
    with server(lambda connection: connection.sendall(f"HTTP/1.1 200 OK\r\n{head}".encode())) as url:
        reason, _ = failing(url)
    assert "no connection, or it broke off" in reason


def test_nobody_listening_is_no_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    reason, _ = failing(f"http://127.0.0.1:{port}", timeout=1)
    assert "no connection, or it broke off" in reason


def test_a_chunked_answer_is_read_whole() -> None:
    """As Prometheus sends large ones."""
    series = answer(*((LABELS | {"model": f"m{i}"}, "1") for i in range(3000)))

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = json.dumps(MARKERS if "loaded" in self.path else series).encode()
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for start in range(0, len(body), 1000):
                chunk = body[start : start + 1000]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            self.wfile.write(b"0\r\n\r\n")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        web.daemon_threads = True
        source = PrometheusSource(f"http://127.0.0.1:{web.server_address[1]}", freshness_limit=30, clock=lambda: NOW)
        assert len(source.read(Query(REQUESTS, Window.MINUTES_5)).samples) == 3000
        source.close()
        web.shutdown()
        thread.join(10)
