"""A TCP proxy whose line can be cut and be down for a while: what stands between a client and its server."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self


class CuttingProxy:
    """A context; passes connections to ``port`` (loopback) on to ``target`` (loopback) while the line is up."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._up = True
        self._thread = threading.Thread(target=self._accept, name="cutting-proxy", daemon=True)
        self.port: int = self._listener.getsockname()[1]
        self.accepted = 0

    def cut(self) -> None:
        """Every connection ends at once, and none is taken until :meth:`mend`."""
        with self._lock:
            self._up = False
            for each in self._open:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """The line is up again."""
        with self._lock:
            self._up = True

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                up = self._up
                if up:
                    self.accepted += 1
            if not up:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self._target))
            with self._lock:
                self._open |= {near, far}
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while piece := one.recv(65536):
                other.sendall(piece)
        for each in (one, other):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        with self._lock:
            ended = one not in self._open
            self._open -= {one, other}
        if ended:  # the thread of the other direction has ended as well
            one.close()
            other.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        self._thread.join(timeout=10)
