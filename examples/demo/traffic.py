"""Requests from the real held-out data to every device, over connections that stay open. Every failure is kept."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from examples.models.traffic import digits_rows, triage_rows

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Stream:
    """Requests of one model to one device, ``per_second`` of them."""

    device: str
    url: str
    model: str
    per_second: float
    seed: int

    def rows(self) -> Iterator[tuple[float, ...]]:
        """The inputs."""
        return triage_rows(self.seed) if self.model == "triage" else digits_rows(self.seed)

    @property
    def tensor(self) -> str:
        """The input's name."""
        return "features" if self.model == "triage" else "image"


@dataclass(slots=True)
class Tally:
    """What came back, by device, model and version; and every failure as text."""

    answers: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """How many answers."""
        return sum(self.answers.values())


class Traffic:
    """One thread per stream. ``stop`` ends them; ``tally`` may be read at any time."""

    def __init__(self, streams: list[Stream]) -> None:
        """Nothing is sent before :meth:`start`."""
        self.tally = Tally()
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._last: dict[tuple[str, str], str] = {}
        self._threads = [threading.Thread(target=self._send, args=(stream,), daemon=True) for stream in streams]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End after the request that is under way."""
        self._end.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(10)

    def versions(self, model: str) -> dict[str, str]:
        """Device to the version that answered it last."""
        with self._lock:
            return {device: version for (device, name), version in self._last.items() if name == model}

    def _send(self, stream: Stream) -> None:
        parts = urlsplit(stream.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
        due = time.monotonic()
        for row in stream.rows():
            # What a busy machine missed is not made up for in a burst, which would be beyond the budget of a minute.
            due = max(due + 1 / stream.per_second, time.monotonic())
            if self._end.wait(max(0.0, due - time.monotonic())):
                break
            body = {"inputs": [{"name": stream.tensor, "shape": [1, len(row)], "datatype": "FP32", "data": list(row)}]}
            try:
                connection.request(
                    "POST", f"/v2/models/{stream.model}/infer", json.dumps(body), {"Content-Type": "application/json"}
                )
                answer = connection.getresponse()
                content = answer.read()
                problem = "" if answer.status == 200 else f"{answer.status} {content[:200]!r}"
                version = str(json.loads(content).get("model_version", "?")) if not problem else ""
            except (OSError, http.client.HTTPException, ValueError) as error:
                problem, version = f"{type(error).__name__}: {error}", ""
                connection.close()
            with self._lock:
                if problem:
                    self.tally.failures.append(f"{stream.device} {stream.model}: {problem}")
                else:
                    self.tally.answers[(stream.device, stream.model, version)] += 1
                    self._last[(stream.device, stream.model)] = version
        connection.close()
