"""An HTTP server of a test's own that always ends: no connection, no thread and no wait of it outlives the rig."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECONDS = 30.0
"""What a client may let us wait for its next bytes."""


class BoundedServer(ThreadingHTTPServer):
    """Knows its connections, so that those that are kept alive can be ended with it."""

    daemon_threads = False
    block_on_close = True
    request_queue_size = 64

    def __init__(self, handler: type[BaseHTTPRequestHandler], name: str) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        # A caller who goes away between select and accept must not leave us waiting in accept.
        self.socket.settimeout(SECONDS)
        self._name = name
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()

    def get_request(self) -> tuple[socket.socket, str]:
        connection, address = super().get_request()
        connection.settimeout(SECONDS)
        with self._guard:
            self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        with self._guard:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is ordinary."""

    @contextlib.contextmanager
    def running(self) -> Iterator[str]:
        """Serves, as long as the block lasts, at the address that it gives."""
        thread = threading.Thread(target=self.serve_forever, args=(0.05,), name=self._name)
        thread.start()
        try:
            yield f"127.0.0.1:{self.server_address[1]}"
        finally:
            self.shutdown()
            thread.join(SECONDS)
            with self._guard:
                left = list(self._open)
            for connection in left:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self.server_close()  # waits for the threads, whose connections are gone
