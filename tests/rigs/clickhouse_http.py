"""ClickHouse's HTTP interface over its engine in this process (chdb), as far as ibis and clickhouse-connect use it.

What answers is ClickHouse itself; this only carries its bytes: a query in the body or as a part of a form, tables that are
sent along ("external data") as further parts, the answer in the format that the query names. Run it by itself, in the
environment of ``tools/peers clickhouse``; it prints ``listening PORT`` and ends when its stdin does.
"""

from __future__ import annotations

import email.parser
import email.policy
import re
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import chdb

_TABLE = "CREATE TABLE {name} ENGINE=Memory AS SELECT * FROM file('{file}', '{form}', '{structure}')"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class _Engine:
    """One ClickHouse in memory, one query at a time. It belongs to the thread that made it."""

    def __init__(self) -> None:
        self._connection = chdb.connect(":memory:")

    def answer(self, query: str, tables: dict[str, tuple[str, str, bytes]]) -> bytes:
        """The bytes of the answer; ``tables`` are there for this query alone: name to (structure, format, content)."""
        try:
            for name, (structure, form, content) in tables.items():
                assert _NAME.fullmatch(name), name
                with tempfile.NamedTemporaryFile(suffix=".part") as part:
                    part.write(content)
                    part.flush()
                    self._run(_TABLE.format(name=name, file=part.name, form=form, structure=structure))
            return self._run(query)
        finally:
            for name in tables:
                self._run(f"DROP TABLE IF EXISTS {name}")

    def _run(self, query: str) -> bytes:
        return bytes(self._connection.query(query, "TabSeparated").bytes() or b"")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    engine: _Engine

    def do_GET(self) -> None:
        self._respond(b"")

    def do_POST(self) -> None:
        self._respond(self.rfile.read(int(self.headers.get("Content-Length", "0"))))

    def _respond(self, body: bytes) -> None:
        asked = {key: found[-1] for key, found in parse_qs(urlsplit(self.path).query).items()}
        try:
            query, tables = self._asked(asked, body)
            found, status = self.engine.answer(query, tables), 200
        except RuntimeError as error:  # what chdb raises for a query that ClickHouse refuses
            found, status = str(error).encode(), 500
        self.send_response(status)
        self.send_header("Content-Length", str(len(found)))
        self.send_header("X-ClickHouse-Timezone", "UTC")
        self.end_headers()
        self.wfile.write(found)

    def _asked(self, asked: dict[str, str], body: bytes) -> tuple[str, dict[str, tuple[str, str, bytes]]]:
        kind = self.headers.get("Content-Type", "")
        if not kind.startswith("multipart/form-data"):
            return "\n".join(filter(None, (asked.get("query", ""), body.decode()))), {}
        parser = email.parser.BytesParser(policy=email.policy.HTTP)
        form = parser.parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
        fields: dict[str, bytes] = {}
        for part in form.iter_parts():
            name = part.get_param("name", header="content-disposition")
            content = part.get_payload(decode=True)
            fields[str(name)] = content if isinstance(content, bytes) else b""
        query = asked.get("query") or fields.pop("query", b"").decode()
        tables = {}
        for name, content in fields.items():
            if f"{name}_structure" in asked:
                tables[name] = (asked[f"{name}_structure"], asked.get(f"{name}_format", "TabSeparated"), content)
        return query, tables

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: stderr is for what goes wrong."""


def main(statements: list[str]) -> None:
    """Serves until stdin ends; ``statements`` are run first."""
    _Handler.engine = _Engine()
    for statement in statements:
        _Handler.engine.answer(statement, {})
    server = HTTPServer(("127.0.0.1", 0), _Handler)

    def end() -> None:
        sys.stdin.read()
        server.shutdown()

    ending = threading.Thread(target=end)
    ending.start()
    sys.stdout.write(f"listening {server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()
    server.server_close()
    ending.join()


if __name__ == "__main__":
    main([Path(each).read_text("utf-8") for each in sys.argv[1:]])
