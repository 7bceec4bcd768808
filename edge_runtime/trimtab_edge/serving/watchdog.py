"""Ends a run on the event loop's own thread that takes longer than anybody expected.

How long a model takes may depend on the values that it is given (a loop, the length of a text), which no experience with
requests of the same size tells. While such a run holds the event loop nobody else is answered, so another thread looks on:
it sleeps while nothing is asked, and costs a request well below a microsecond otherwise.
"""

from __future__ import annotations

import threading

from trimtab_edge.serving.session import Cancellation

LIMIT = 0.25
"""Seconds that a run may hold the event loop, at least; twice as many at most, unless one node of its graph takes longer."""
_QUIET = 4
"""Looks without a run until the thread sleeps."""


class Watchdog:
    """Used by the event loop, around one run at a time. Its thread begins with the first run."""

    def __init__(self, limit: float = LIMIT) -> None:
        """``limit``: see :data:`LIMIT`."""
        self._limit = limit
        self._stop = Cancellation()
        self._runs = 0
        self._running = False
        self._resting = True
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self) -> Cancellation:
        """A run begins; the thread asks it to end where it takes too long."""
        self._runs += 1
        self._running = True
        if self._resting:
            self._resting = False
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
                self._thread.start()
            self._wake.set()
        if self._stop.is_asked:
            self._stop = Cancellation()
        return self._stop

    def end(self) -> None:
        """It has ended."""
        self._running = False

    @property
    def rests(self) -> bool:
        """Whether its thread sleeps."""
        return self._resting

    def close(self) -> None:
        """End the thread, and wait for it."""
        self._closing.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        while not self._closing.is_set():
            self._wake.wait()
            self._wake.clear()
            quiet, seen = 0, self._runs
            while not self._resting and not self._closing.wait(self._limit):
                if self._runs != seen:
                    quiet, seen = 0, self._runs
                elif self._running:
                    self._stop.ask()
                else:
                    quiet += 1
                    self._resting = quiet >= _QUIET
                    if self._runs != seen:  # one began meanwhile, and woke nobody
                        self._resting = False
