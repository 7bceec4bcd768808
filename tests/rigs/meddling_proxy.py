"""A proxy between a server of archives and its consumers, that flips a bit in what it passes on while it is told to."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import urllib3


class MeddlingProxy:
    """A context; serves at ``address`` (host:port) what ``target`` (host:port) serves, changed where ``meddle`` is set."""

    def __init__(self) -> None:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                proxy._pass_on(self)

            def log_message(self, format: str, *arguments: object) -> None:
                """A line for each request would bury what matters."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="proxy", daemon=True)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self.target = ""
        self.meddle = False

    def _pass_on(self, request: BaseHTTPRequestHandler) -> None:
        try:
            answer = urllib3.request("GET", f"http://{self.target}{request.path}", retries=False, timeout=30)
            status, content = answer.status, answer.data
        except urllib3.exceptions.HTTPError:
            status, content = 502, b""
        if self.meddle and status == 200:
            content = content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]
        request.send_response(status)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)
