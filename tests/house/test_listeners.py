"""The guard that every module of tests ends with (tests/conftest.py) sees what it is there for."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

from tests.listeners import all_woken, waiting_on_closed_sockets


def _closed_under_a_waiting_thread() -> bool:
    """Leaves a thread in accept, asks the guard, and wakes the thread by the connection that it still can take."""
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()

    def accept() -> None:
        with contextlib.suppress(OSError):
            listener.accept()[0].close()

    thread = threading.Thread(target=accept, name="left-behind", daemon=True)
    thread.start()
    time.sleep(0.05)
    listener.close()
    seen = waiting_on_closed_sockets()
    with contextlib.suppress(OSError):
        socket.create_connection(address, timeout=30).close()
    thread.join(30)
    assert not thread.is_alive()
    return "left-behind" in seen


def test_a_thread_left_in_accept_is_named_and_then_forgotten() -> None:
    # A thread that is slow to get there finds its socket closed and ends by itself.
    assert any(_closed_under_a_waiting_thread() for _ in range(50))
    assert all_woken(30) == []
