"""An endpoint that speaks OpenAI's chat protocol, for the unmodified client: it answers what a test tells it to."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

Answer: TypeAlias = str | int
"""The text of an answer, or a status."""


@dataclass
class Endpoint:
    """``reply`` gets the request's body; ``delay`` is in seconds."""

    reply: Callable[[dict[str, Any]], Answer] = lambda _: 500
    delay: float = 0.0
    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    endpoint: Endpoint

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.endpoint.requests.append({**body, "_key": self.headers.get("Authorization", "")})
        answer = self.endpoint.reply(body)
        time.sleep(self.endpoint.delay)
        status = answer if isinstance(answer, int) else 200
        content: dict[str, Any] = {"error": {"message": "no", "type": "server_error"}}
        if isinstance(answer, str):
            message = {"role": "assistant", "content": answer}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            content = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
        raw = json.dumps(content).encode()
        with contextlib.suppress(ConnectionError):
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

    def log_message(self, *_: object) -> None:
        """Silent."""


@contextlib.contextmanager
def openai_endpoint() -> Iterator[Endpoint]:
    """A running endpoint."""
    endpoint = Endpoint()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"endpoint": endpoint}))
    server.daemon_threads = True
    endpoint.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
