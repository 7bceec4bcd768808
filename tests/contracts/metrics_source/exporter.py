"""A small exporter: a process that shows on /metrics what a test last PUT there. Prints its address once it listens.

``GET /scrapes`` answers how often the page of now was read. ``@NOW-46`` on the page becomes the time 46 seconds before the request, in milliseconds.
"""

from __future__ import annotations

import http.server
import re
import sys
import time

BODY = [b""]
SCRAPES = [0]


class Handler(http.server.BaseHTTPRequestHandler):
    """GET shows the exposition, or how often it was shown; PUT replaces it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/scrapes":
            self._answer(b"%d" % SCRAPES[0])
            return
        SCRAPES[0] += 1
        now = time.time()
        self._answer(re.sub(rb"@NOW-([0-9]+)", lambda match: b"%d" % ((now - int(match[1])) * 1000), BODY[0]))

    def do_PUT(self) -> None:
        BODY[0] = self.rfile.read(int(self.headers["Content-Length"]))
        SCRAPES[0] = 0
        self._answer(b"")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Silent."""


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    sys.stdout.write(f"127.0.0.1:{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()
