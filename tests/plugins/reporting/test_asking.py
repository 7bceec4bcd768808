"""Agents are asked: real ones are understood, whatever else answers there costs a bounded time and a line."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler

import pytest

from tests.rigs.http_server import BoundedServer
from trimtab_edge.telemetry.exposition import MetricsListener, UpdateCollector, metrics_text, registry_of
from trimtab_edge.telemetry.updates import UpdateCounts
from trimtab_plugins.reporting.asking import AgentAsker
from trimtab_plugins.reporting.cluster import Agent
from trimtab_plugins.reporting.exposition import agent_report
from trimtab_plugins.reporting.status import AgentReport, Device, ModelReport


def counts_of_an_agent() -> UpdateCounts:
    counts = UpdateCounts()
    counts.document(valid=True, at=1_800_000_000.0)
    counts.fetched('odd "name"\\', "1.0.0", 10)
    counts.stands('odd "name"\\', active="1.0.0", desired="2.0.0", quarantined=1)
    counts.stands("empty", active=None, desired=None, quarantined=0)
    return counts


UNDERSTOOD = AgentReport(
    valid=True,
    models={'odd "name"\\': ModelReport("2.0.0", "1.0.0", 1), "empty": ModelReport()},
)


class Hostile(BaseHTTPRequestHandler):
    """Answers as its path's port says; the server's ``kind`` decides."""

    kind = ""

    def do_GET(self) -> None:
        match self.kind:
            case "redirects":
                self.send_response(302)
                self.send_header("Location", "http://127.0.0.1:1/metrics")
                self.end_headers()
            case "is something else":
                self._body(b"<html>hello</html>")
            case "is broken":
                self._body(b"trimtab_agent_document_valid{model= 1\n")
            case "is binary":
                self._body(b"\xff\xfe\x00")
            case "is huge":
                self._body(b"x" * (3 << 20))
            case "has a long label":
                self._body(b'trimtab_agent_active{model="%s",version="1"} 1\n' % (b"m" * 300))
            case "trickles":
                self.send_response(200)
                self.send_header("Content-Length", "100000")
                self.end_headers()
                for _ in range(1_000):
                    self.wfile.write(b"#")
                    self.wfile.flush()
                    time.sleep(0.02)
            case "cuts off":
                self.send_response(200)
                self.send_header("Content-Length", "100000")
                self.end_headers()
                self.close_connection = True

    def _body(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Not said."""


@pytest.fixture
def asker() -> Iterator[AgentAsker]:
    with closing(AgentAsker()) as made:
        yield made


def agent(port: int | None, silence: str = "") -> Agent:
    return Agent("n", "g", "node", None if port is None else ("127.0.0.1", port), silence)


def test_a_real_agents_metrics_are_understood() -> None:
    assert agent_report(metrics_text(registry_of(UpdateCollector(counts_of_an_agent())))) == UNDERSTOOD


def test_a_real_listener_is_asked_and_a_pod_that_does_not_run_is_not(asker: AgentAsker) -> None:
    listener = MetricsListener(registry_of(UpdateCollector(counts_of_an_agent())), "127.0.0.1", 0)
    with closing(listener):
        found = asker.ask([agent(listener.port), agent(None, "its pod is Pending"), agent(listener.port)])
    assert found == [Device("node", UNDERSTOOD), Device("node", None, "its pod is Pending"), Device("node", UNDERSTOOD)]


@pytest.mark.parametrize(
    ("kind", "said"),
    {
        "redirects": "status 302 instead of metrics",
        "is something else": "no agent of Trimtab answers there",
        "is broken": "no metrics in text format",
        "is binary": "no metrics in text format",
        "is huge": "more than 1048576 bytes",
        "has a long label": "a label of more than 256 characters",
        "trickles": "no whole answer within 6 s",
        "cuts off": "IncompleteRead",
    }.items(),
)
def test_what_is_no_agent_is_silent_with_a_reason(asker: AgentAsker, kind: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr("trimtab_plugins.reporting.asking._WHOLE_SECONDS", 0.3 if kind == "trickles" else 6.0)
    handler = type("Kind", (Hostile,), {"kind": kind})
    with BoundedServer(handler, "hostile agent").running() as address:
        [found] = asker.ask([agent(int(address.rpartition(":")[2]))])
    assert found.report is None
    assert said.replace("within 6", "within 0.3") in found.silence
