"""Threads that wait in ``accept`` on a socket that was closed under them.

Closing a socket wakes nobody who waits on it. Such a thread holds no descriptor any more, only its number; when the number
belongs to another listener and the wait is begun anew (a signal, a stop of the whole machine), it takes connections away
from that one, and a test far from the culprit hangs.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from types import FrameType


def waiting_on_closed_sockets() -> list[str]:
    """Names of the threads that do so now."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return sorted(names.get(ident, str(ident)) for ident, frame in sys._current_frames().items() if _waits(frame))


def all_woken(seconds: float) -> list[str]:
    """What is still left after up to ``seconds``, in which threads may come to their ends."""
    end = time.monotonic() + seconds
    while (left := waiting_on_closed_sockets()) and time.monotonic() < end:
        time.sleep(0.01)
    return left


def _waits(frame: FrameType) -> bool:
    if frame.f_code is not socket.socket.accept.__code__:
        return False
    waited = frame.f_locals.get("self")
    return isinstance(waited, socket.socket) and waited.fileno() == -1
