"""A socket in front of a plugin's socket: counts what passes, and can die as the plugin behind it dies."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class SocketProxy:
    """Passes connections from ``path`` on to ``target``; once ``limit`` bytes went there, it cuts all and calls ``cut``.

    It is cut as a killed process is: the listening socket refuses while its file stays, connections close.
    """

    path: Path
    target: Path
    limit: int
    cut: Callable[[], None]
    passed: int = 0
    was_cut: threading.Event = field(default_factory=threading.Event)
    _listener: socket.socket | None = None
    _connections: list[socket.socket] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self) -> None:
        """Listens; the file appears only once connections are accepted."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # A socket within the folder itself would be dialled under any name.
        aside = self.path.parent / "proxy"
        aside.mkdir(exist_ok=True)
        (aside / "s").unlink(missing_ok=True)
        listener.bind(str(aside / "s"))
        listener.listen(64)
        (aside / "s").rename(self.path)
        shutil.rmtree(aside)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def close(self) -> None:
        """Ends it and takes its file away."""
        self._cut_connections()
        self.path.unlink(missing_ok=True)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                self._connections += [client, server]
                server.connect(str(self.target))
                threading.Thread(target=self._pump, args=(client, server, True), daemon=True).start()
                threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                sink.sendall(piece)
                if counted:
                    self._count(len(piece))
            sink.shutdown(socket.SHUT_WR)

    def _count(self, size: int) -> None:
        with self._lock:
            before, self.passed = self.passed, self.passed + size
        if before < self.limit <= self.passed:
            if self._listener is not None:
                _close(self._listener)
            self.cut()
            self._cut_connections()
            self.was_cut.set()

    def _cut_connections(self) -> None:
        for connection in [*self._connections, *([self._listener] if self._listener else [])]:
            _close(connection)
        self._connections.clear()


def _close(connection: socket.socket) -> None:
    """A close alone would not wake a thread that waits on it."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
