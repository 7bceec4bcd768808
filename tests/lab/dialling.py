"""Dials of a plugin's socket as gRPC clients make them, and what became of each."""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path

# RFC 9113 section 3.4: the client's preface, and an empty SETTINGS frame (section 6.5).
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
_SETTINGS = 4


@dataclass(slots=True)
class DialStorm:
    """Threads that dial without pause until told to stop."""

    path: Path
    welcomed: int = 0
    absent: int = 0
    left_hanging: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _threads: list[threading.Thread] = field(default_factory=list)

    def begin(self, threads: int) -> None:
        """Starts that many threads."""
        for _ in range(threads):
            self._threads.append(threading.Thread(target=self._dial_on, daemon=True))
            self._threads[-1].start()

    def end(self) -> None:
        """Waits until the last dial is over."""
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _dial_on(self) -> None:
        while not self._stop.is_set():
            outcome = self._dial()
            with self._lock:
                if outcome == "welcomed":
                    self.welcomed += 1
                elif outcome == "absent":
                    self.absent += 1
                else:
                    self.left_hanging.append(outcome)
            if outcome == "absent":
                self._stop.wait(0.005)

    def _dial(self) -> str:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(30)
            try:
                connection.connect(str(self.path))
            except (FileNotFoundError, ConnectionRefusedError):
                # Argo CD looks for sockets anew at each render, and a refused dial is an error at once.
                return "absent"
            try:
                connection.sendall(_PREFACE)
                head = b""
                while len(head) < 9:
                    piece = connection.recv(9 - len(head))
                    if not piece:
                        return f"closed after {len(head)} bytes"
                    head += piece
            except OSError as error:
                return repr(error)
            return "welcomed" if head[3] == _SETTINGS else f"frame of type {head[3]}"
