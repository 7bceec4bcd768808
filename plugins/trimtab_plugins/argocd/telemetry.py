"""Metrics of the plugin server, and the one line that it logs for each call."""

from __future__ import annotations

import json
import re
import sys
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import make_wsgi_app

from trimtab_kernel.problems import OutsideError, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.simple_server import WSGIServer

_PLAIN = re.compile(r"[\w./:@+-]+", re.ASCII)
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_BYTES = tuple(1024 * 4**power for power in range(10))  # 1 KiB to 256 MiB
_FILES = (1, 10, 100, 1000, 10_000, 100_000)


@dataclass(slots=True)
class Outcome:
    """What one call came to."""

    call: str
    app: str = ""
    folder: str = ""
    group: str = ""
    revision: str = ""
    status: str = "OK"
    codes: tuple[str, ...] = ()
    archive_bytes: int = 0
    entries: int = 0
    files: int = 0
    objects: int = 0
    cached: bool | None = None
    answer: float = 0.0
    """Seconds from the last byte in to the response."""
    stages: dict[str, float] = field(default_factory=dict)
    slowest: str = ""


class Telemetry:
    """The metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        made: dict[str, Any] = {"registry": self.registry}
        self._calls = Counter("trimtab_cmp_calls", "Calls by status.", ["call", "status"], **made)
        self._problems = Counter("trimtab_cmp_problems", "Calls that a problem kept from an answer.", ["code"], **made)
        self._open = Gauge("trimtab_cmp_calls_in_flight", "Calls that are being answered.", **made)
        self._answer = Histogram(
            "trimtab_cmp_answer_seconds", "From the last byte in to the response.", ["call"], buckets=_SECONDS, **made
        )
        self._stage = Histogram(
            "trimtab_cmp_stage_seconds", "Seconds of a call by stage.", ["stage"], buckets=_SECONDS, **made
        )
        self._archive = Histogram(
            "trimtab_cmp_archive_bytes", "Size of the archives as they come.", buckets=_BYTES, **made
        )
        self._files = Histogram("trimtab_cmp_files", "Manifests that were read.", buckets=_FILES, **made)
        self._cache = Counter("trimtab_cmp_fleets", "Fleets asked for: open already or not.", ["cache"], **made)
        ProcessCollector(registry=self.registry)

    def begin(self) -> None:
        """A call has come."""
        self._open.inc()

    def end(self, outcome: Outcome) -> None:
        """A call is answered, whatever with: count it and log its line."""
        self._open.dec()
        self._calls.labels(outcome.call, outcome.status).inc()
        for code in outcome.codes:
            self._problems.labels(code).inc()
        self._answer.labels(outcome.call).observe(outcome.answer)
        for stage, seconds in outcome.stages.items():
            self._stage.labels(stage).observe(seconds)
        self._archive.observe(outcome.archive_bytes)
        if outcome.files:
            self._files.observe(outcome.files)
        if outcome.cached is not None:
            self._cache.labels("hit" if outcome.cached else "miss").inc()
        print(log_line(outcome), file=sys.stderr, flush=True)  # noqa: T201 - the log of a server is its stderr


def log_line(outcome: Outcome) -> str:
    """One line of ``key=value``; what a caller chose is cut, and quoted where it is not plain."""
    pairs: list[tuple[str, str]] = [
        ("call", outcome.call),
        ("status", outcome.status),
        ("app", outcome.app),
        ("path", outcome.folder),
        ("group", outcome.group),
        ("revision", outcome.revision[:12]),
        ("code", ",".join(outcome.codes)),
        ("bytes", str(outcome.archive_bytes)),
        ("entries", str(outcome.entries)),
        ("files", str(outcome.files)),
        ("objects", str(outcome.objects)),
    ]
    if outcome.cached is not None:
        pairs.append(("cached", "yes" if outcome.cached else "no"))
    pairs += [(stage, f"{seconds:.3f}") for stage, seconds in outcome.stages.items()]
    pairs.append(("answered_after", f"{outcome.answer:.4f}"))
    if outcome.slowest:
        pairs.append(("slowest", outcome.slowest))
    return " ".join(f"{key}={_value(value)}" for key, value in pairs if value)


def _value(text: str) -> str:
    shown = printable(text, 200)
    return shown if _PLAIN.fullmatch(shown) else json.dumps(shown, ensure_ascii=False)


class MetricsServer:
    """``/metrics`` and ``/healthz`` over HTTP, from a thread. Raises OutsideError where the address cannot be had."""

    def __init__(self, host: str, port: int, registry: CollectorRegistry, healthy: Callable[[], bool]) -> None:
        """``healthy``: whether calls can come in; ``/healthz`` says 200 or 503."""
        metrics = make_wsgi_app(registry)

        def application(environ: dict[str, Any], start: Any) -> Iterable[bytes]:  # noqa: ANN401 - as WSGI has it
            if environ.get("PATH_INFO") == "/metrics":
                found: Iterable[bytes] = metrics(environ, start)
                return found
            if environ.get("PATH_INFO") != "/healthz":
                start("404 Not Found", [("Content-Type", "text/plain")])
                return [b"/metrics or /healthz\n"]
            status, body = ("200 OK", b"serving\n") if healthy() else ("503 Service Unavailable", b"no socket\n")
            start(status, [("Content-Type", "text/plain")])
            return [body]

        try:
            self._server: WSGIServer = make_server(host, port, application, handler_class=_Quiet)
        except OSError as error:
            raise OutsideError(f"cannot listen on {host} port {port} for metrics: {error.strerror}") from error
        self.port: int = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class _Quiet(WSGIRequestHandler):
    timeout = 10  # seconds for a client to say what it wants

    def log_message(self, format: str, *args: object) -> None:
        """Scrapes are not for the log."""
