"""The demo's processes: started in sessions of their own, logged to files, all ended by id, last one first."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_GRACE_SECONDS = 8.0


_INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class DemoError(Exception):
    """A step of the demo was not observed; the message says which and where to look."""


@dataclass(slots=True)
class Running:
    """One process and its two log files."""

    name: str
    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    def tail(self, lines: int = 12) -> str:
        """The end of what it wrote on stderr."""
        return "\n".join(self.err.read_text(errors="replace").splitlines()[-lines:])


@contextlib.contextmanager
def _undivided() -> Iterator[None]:
    """An interruption comes after the block: in the midst of a start it would leave a process that nobody knows of."""
    came: list[int] = []

    def later(number: int, _: object) -> None:
        came.append(number)

    before = {number: signal.signal(number, later) for number in _INTERRUPTIONS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for interruption in came:
            signal.raise_signal(interruption)


class Supervisor:
    """Starts processes and ends them. Use as a context manager: whatever happens inside, nothing is left running."""

    def __init__(self, logs: Path) -> None:
        """``logs`` is a folder for the output of every process."""
        self._logs = logs
        self._running: list[Running] = []

    def __enter__(self) -> Supervisor:
        """Nothing is started yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """End everything."""
        self.stop()

    def start(self, name: str, command: Sequence[str | Path], environment: dict[str, str] | None = None) -> Running:
        """Start one process. A session of its own keeps the terminal's Ctrl-C for the demo, which then ends all in order."""
        out, err = self._logs / f"{name}.out", self._logs / f"{name}.err"
        with _undivided(), out.open("wb") as out_file, err.open("wb") as err_file:
            process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=out_file,
                stderr=err_file,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
            running = Running(name, process, out, err)
            self._running.append(running)
        return running

    def check(self) -> None:
        """Raises :class:`DemoError` where a process ended by itself."""
        for running in self._running:
            code = running.process.poll()
            if code is not None:
                raise DemoError(f"{running.name} ended with exit code {code}; its last lines:\n{running.tail()}")

    def wait_for(self, what: str, seconds: float, look: Callable[[], bool]) -> float:
        """Wait until ``look()`` is true; the seconds that it took. Raises :class:`DemoError` after ``seconds``."""
        begin = time.monotonic()
        while not look():
            self.check()
            if time.monotonic() - begin > seconds:
                raise DemoError(f"not seen within {seconds:.0f} s: {what}")
            time.sleep(0.1)  # the demo looks at files and ports of other processes; there is no event to wait for
        return time.monotonic() - begin

    def line(self, running: Running, start: str, seconds: float = 60.0) -> str:
        """What follows ``start`` on the first such line that the process printed on stdout."""
        found: list[str] = []

        def look() -> bool:
            lines = running.out.read_text(errors="replace").splitlines()
            found[:] = [line.removeprefix(start).strip() for line in lines if line.startswith(start)]
            return bool(found)

        self.wait_for(f"'{start}' from {running.name}", seconds, look)
        return found[0]

    def forget(self, running: Running) -> None:
        """No longer watch a process that ended."""
        running.process.wait(_GRACE_SECONDS)
        self._running.remove(running)

    def stop(self) -> None:
        """Ask every process to end, last one first; kill what does not within a few seconds."""
        with _undivided():
            self._stop()

    def _stop(self) -> None:
        pending = [running for running in reversed(self._running) if running.process.poll() is None]
        for running in pending:
            with contextlib.suppress(ProcessLookupError):
                running.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_SECONDS
        for running in pending:
            try:
                running.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                running.process.kill()
                running.process.wait()
        self._running.clear()
