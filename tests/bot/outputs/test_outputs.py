"""Receivers hear of every incident once, of its end too, and of what they missed while they did not answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.bot.store.samples import incident
from trimtab_bot.outputs.delivery import SECONDS_BETWEEN, Outputs, Receivers
from trimtab_bot.outputs.events import alert, page
from trimtab_bot.records import Incident, IncidentPhase
from trimtab_bot.store.sql import SqlStore

START = 1_800_000_000.0


class Receiver:
    """Both receivers on one address: keeps what it is sent; ``status`` is what it answers."""

    def __init__(self) -> None:
        self.status = 202
        self.got: list[tuple[str, Any]] = []
        self.url = ""

    def pages(self) -> list[str]:
        return [body["event_action"] for path, body in self.got if path == "/v2/enqueue"]


@contextmanager
def receiver() -> Iterator[Receiver]:
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if made.status < 300:
                made.got.append((self.path, body))
            self.send_response(made.status)
            self.send_header("Location", f"{made.url}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join(30)
        server.server_close()


class Desk:
    """The outputs over a store, a clock in hand."""

    def __init__(self, path: Path, to: Receiver) -> None:
        self.now = START
        self.store = SqlStore.open(path)
        receivers = Receivers(f"{to.url}/v2/enqueue", "R0UTING-KEY", to.url)
        self.outputs = Outputs(self.store, receivers, lambda: self.now)

    def put(self, **changes: object) -> None:
        made: Incident = replace(incident(), **{"detected_at": START, **changes})  # type: ignore[arg-type]  # real fields
        with self.store.transaction() as work:
            work.put_incident(made)


@pytest.fixture
def both(tmp_path: Path) -> Iterator[tuple[Desk, Receiver]]:
    with receiver() as to:
        desk = Desk(tmp_path / "bot.db", to)
        yield desk, to
        desk.outputs.close()
        desk.store.close()


def test_an_incident_is_paged_once_called_for_help_once_and_resolved(both: tuple[Desk, Receiver]) -> None:
    desk, to = both
    desk.put()
    for _ in range(3):
        assert desk.outputs.step() == ""
    assert to.pages() == ["trigger"]
    desk.put(escalated_at=START + 5, escalated_because="nobody decided")
    for _ in range(2):
        desk.outputs.step()
    desk.put(phase=IncidentPhase.CLOSED, closed_at=START + 9)
    for _ in range(2):
        desk.outputs.step()
    assert to.pages() == ["trigger", "trigger", "resolve"]
    pages = [body for path, body in to.got if path == "/v2/enqueue"]
    assert {body["dedup_key"] for body in pages} == {"trimtab/i-1"}
    assert {body["routing_key"] for body in pages} == {"R0UTING-KEY"}
    assert [body.get("payload", {}).get("severity") for body in pages] == ["error", "critical", None]
    assert "nobody decided" in pages[1]["payload"]["summary"]


@pytest.mark.parametrize("status", [500, 429, 400, 302])
def test_what_was_not_taken_is_sent_until_it_is_in_order(both: tuple[Desk, Receiver], status: int) -> None:
    """By the next process as well; a redirect is not followed, as it would take the key along."""
    desk, to = both
    to.status = status
    desk.put()
    assert f"answers {status}" in desk.outputs.step()
    desk.put(phase=IncidentPhase.CLOSED, closed_at=START + 9)
    desk.outputs.step()
    assert to.got == []
    to.status = 202
    again = Outputs(desk.store, Receivers(f"{to.url}/v2/enqueue", "R0UTING-KEY"), lambda: desk.now)
    assert again.step() == ""
    again.close()
    assert to.pages() == ["trigger", "resolve"]


def test_the_key_is_never_in_the_store(both: tuple[Desk, Receiver]) -> None:
    desk, to = both
    to.status = 500
    desk.put()
    desk.outputs.step()
    with desk.store.reading() as view:
        assert "R0UTING" not in view.pending_notices()[0].body


def test_alertmanager_is_told_every_minute_and_of_the_end(both: tuple[Desk, Receiver]) -> None:
    desk, to = both
    desk.put()

    def alerts() -> list[dict[str, Any]]:
        return [each for path, body in to.got if path == "/api/v2/alerts" for each in body]

    desk.outputs.step()
    desk.now += SECONDS_BETWEEN / 2
    desk.outputs.step()
    assert len(alerts()) == 1
    desk.now += SECONDS_BETWEEN / 2
    desk.outputs.step()
    assert len(alerts()) == 2
    assert alerts()[1]["endsAt"] > alerts()[0]["endsAt"]
    desk.put(phase=IncidentPhase.CLOSED, closed_at=desk.now)
    for _ in range(2):
        desk.outputs.step()
        desk.now += SECONDS_BETWEEN
    assert len(alerts()) == 3
    assert alerts()[2]["labels"] == alerts()[0]["labels"]
    assert alerts()[2]["endsAt"] < alerts()[1]["endsAt"]


def test_what_is_silenced_pages_nobody_until_the_silence_ends() -> None:
    silenced = incident(silenced_until=START + 60)
    assert page(silenced, START) is None
    assert page(silenced, START + 60) is not None


def test_what_was_over_long_ago_is_told_to_nobody(both: tuple[Desk, Receiver]) -> None:
    desk, to = both
    desk.put(phase=IncidentPhase.CLOSED, closed_at=START - 86400)
    assert desk.outputs.step() == ""
    assert to.got == []


def test_labels_of_an_alert_do_not_change_while_it_lasts() -> None:
    """Alertmanager takes another label for another alert."""
    first, later = incident(), incident(summary="other", escalated_because="x", phase=IncidentPhase.WATCHING)
    assert alert(first, START)["labels"] == alert(later, START + 500)["labels"]
