"""The built-in source for small fleets: scrapes the devices itself, where there is no Prometheus.

A thread of its own reads the targets file at every round (so a change is seen at the next one), asks all targets at
once, each within a time and a size, and keeps what comes in memory (:mod:`trimtab_bot.metrics.series`). Nothing
outlives the process: after a start, windows fill anew.

Differences to Prometheus, all of them: a question is evaluated when it is asked, not when a rule was last recorded;
after a restart nothing is known of before; targets with an explicit time on their samples become "gone" at once when
they stop, where Prometheus shows them for five minutes.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, Self

from prometheus_client.parser import text_string_to_metric_families

from trimtab_bot.metrics.promql import check_match
from trimtab_bot.metrics.series import Observation, SeriesStore
from trimtab_bot.metrics.targets import MAX_BYTES, Target, TargetsError, parse_targets
from trimtab_kernel.problems import OutsideError, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from types import TracebackType

    from trimtab_kernel.rules import Query, Reading, Window

MAX_BODY = 4 * 1024 * 1024
MAX_LINES = 20_000
MAX_LABEL_VALUE = 1024
_WORKERS = 16


class ScrapeError(Exception):
    """One target could not be scraped; the message is one lowercase phrase."""


class _Scrape:
    """One scrape of one target. ``abort`` may be called from another thread and ends it."""

    def __init__(self, target: Target, timeout: float) -> None:
        self._target = target
        self._timeout = timeout
        self._socket: socket.socket | None = None
        if target.secure:
            self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                target.host, target.port, timeout=timeout, context=ssl.create_default_context()
            )
        else:
            self._connection = http.client.HTTPConnection(target.host, target.port, timeout=timeout)

    def run(self) -> tuple[Observation, ...]:
        """Raises ScrapeError."""
        try:
            return tuple(_observations(self._fetch(), self._target))
        except ScrapeError:
            raise
        except TimeoutError:
            raise ScrapeError(f"no answer within {self._timeout:g} s") from None
        except ssl.SSLError:
            raise ScrapeError("its certificate is not trusted") from None
        except (OSError, http.client.HTTPException) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "the connection broke off"
            raise ScrapeError(reason.lower()) from None
        finally:
            self._connection.close()

    def abort(self) -> None:
        """Make a scrape that hangs fail now: a trickle of bytes would reset a timeout for ever."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _fetch(self) -> str:
        headers = {"Accept": "text/plain; version=0.0.4", "Accept-Encoding": "identity", "User-Agent": "trimtab-bot"}
        self._connection.connect()
        self._socket = self._connection.sock  # the connection forgets it where the answer ends with the connection
        self._connection.request("GET", self._target.path, headers=headers)
        with contextlib.closing(self._connection.getresponse()) as response:
            body = _read_page(response)
        try:
            return body.decode("utf-8")
        except UnicodeDecodeError:
            raise ScrapeError("the answer is not UTF-8") from None


def _read_page(response: http.client.HTTPResponse) -> bytes:
    if response.status != http.client.OK:
        raise ScrapeError(f"status {response.status}")
    if response.getheader("Content-Encoding", "identity") != "identity":
        raise ScrapeError("the answer is compressed, which was not asked for")
    body = response.read(MAX_BODY + 1)
    if len(body) > MAX_BODY:
        raise ScrapeError(f"the answer is larger than {MAX_BODY // 1024} KiB")
    if response.length:
        raise ScrapeError("the answer ends too early")
    return body


def _observations(text: str, target: Target) -> Iterator[Observation]:
    """The samples of an exposition with the target's labels. Raises ScrapeError: one bad line spoils all, as in Prometheus."""
    if text.count("\n") > MAX_LINES:
        raise ScrapeError(f"more than {MAX_LINES} lines")
    attached = dict(target.labels) | {"instance": target.address}
    for name, labels, value, at in _parse(text):
        if any(len(content) > MAX_LABEL_VALUE for content in labels.values()):
            raise ScrapeError(f"a label is longer than {MAX_LABEL_VALUE} characters")
        # A label of the exporter must not pass for one of the target: a device cannot name its own group.
        own = {label: content for label, content in labels.items() if label not in attached}
        yield Observation(name, own | attached, value, at)


def _parse(text: str) -> list[tuple[str, Mapping[str, str], float, float | None]]:
    """Name, labels, value and time of each sample."""
    try:
        return [
            (
                sample.name,
                sample.labels,
                float(sample.value),
                None if sample.timestamp is None else float(sample.timestamp),
            )
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]
    except Exception:
        raise ScrapeError("the answer is not in Prometheus' text format") from None


class ScrapeSource:
    """A :class:`trimtab_bot.metrics.interface.MetricsSource` that scrapes by itself. Use it as a context manager.

    ``interval``, ``timeout`` (of one target, at most the interval) and ``freshness_limit`` are in seconds; ``longest``
    is the longest window that will be asked for. ``clock`` gives Unix seconds; only how long to wait between rounds is
    measured by the machine. ``scrape_once`` makes one round in the caller's thread, for a caller that has its own rhythm.
    """

    def __init__(
        self,
        targets_file: Path,
        *,
        longest: Window,
        freshness_limit: float,
        interval: float = 5.0,
        timeout: float = 4.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not interval > 0 or not timeout > 0:
            raise ValueError(f"expected a positive interval and timeout, got {interval} and {timeout}")
        self._targets_file = targets_file
        self._freshness_limit = freshness_limit
        self._interval = interval
        self._timeout = min(timeout, interval)
        self._clock = clock
        self._store = SeriesStore(float(longest.value))
        self._lock = threading.Condition()
        self._targets: tuple[Target, ...] = ()
        self._file_problem = "it was not read yet"
        self._down: dict[str, str] = {}
        self._rounds = 0
        self._running: dict[str, concurrent.futures.Future[tuple[Observation, ...]]] = {}
        self._pool = concurrent.futures.ThreadPoolExecutor(_WORKERS, thread_name_prefix="scrape")
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def name(self) -> str:
        """The targets file, and that there is no Prometheus."""
        return f"built-in scraping of {printable(str(self._targets_file))}"

    @property
    def down(self) -> Mapping[str, str]:
        """Targets that did not answer in the last round, by address, each with the reason."""
        with self._lock:
            return dict(self._down)

    def start(self) -> None:
        """Scrape at every interval in a thread, until :meth:`close`."""
        self._thread = threading.Thread(target=self._run, name="scrape-rounds", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread; scrapes under way end within their timeout."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(self._timeout + 5)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def await_round(self, rounds: int = 1, timeout: float = 30.0) -> bool:
        """Wait until this many further rounds have ended; False where ``timeout`` seconds did not suffice."""
        with self._lock:
            goal = self._rounds + rounds
            return self._lock.wait_for(lambda: self._rounds >= goal, timeout)

    def read(self, query: Query) -> Reading:
        """See :meth:`trimtab_bot.metrics.interface.MetricsSource.read`."""
        check_match(query)
        if self._thread is not None and not self._thread.is_alive():
            raise OutsideError(f"{self.name}: it was closed, or its thread ended; start the bot again")
        with self._lock:
            if self._rounds == 0:
                raise OutsideError(f"{self.name}: no round has ended yet", retry_after=self._interval)
            if self._file_problem and not self._targets:
                raise OutsideError(f"{self.name}: {self._file_problem}")
            reading = self._store.read(query, self._clock(), self._freshness_limit)
            if not self._file_problem:
                return reading
        warning = f"the targets file cannot be used, an older one is in force: {self._file_problem}"
        return type(reading)(reading.samples, reading.at, (*reading.warnings, warning), reading.dropped, reading.infos)

    def scrape_once(self) -> None:
        """One round: read the targets file, ask every target, keep what they say. Raises nothing."""
        targets, problem = self._read_targets()
        started = self._clock()
        scrapes = {}
        for target in targets:
            before = self._running.get(target.key)
            if before is not None and not before.done():
                continue  # still held up in the last round's attempt (a name server, say): counts as no answer
            scrape = _Scrape(target, self._timeout)
            scrapes[target.key] = scrape
            self._running[target.key] = self._pool.submit(scrape.run)
        waited_for = [self._running[key] for key in scrapes]
        concurrent.futures.wait(waited_for, timeout=self._timeout)
        for key, scrape in scrapes.items():
            if not self._running[key].done():
                scrape.abort()
        concurrent.futures.wait(waited_for, timeout=1.0)
        with self._lock:
            self._keep(targets, problem, started)
            self._rounds += 1
            self._lock.notify_all()

    def _keep(self, targets: tuple[Target, ...], problem: str, started: float) -> None:
        """Take over the results of a round."""
        self._store.forget(started)
        for gone in set(self._targets) - set(targets):
            self._store.lose(gone.key)
            self._running.pop(gone.key, None)
        self._targets, self._file_problem = targets, problem
        self._down = {}
        for target in targets:
            result = self._result(target)
            if isinstance(result, str):
                self._store.lose(target.key)
                self._down[target.address] = result
            else:
                self._store.observe(target.key, started, result)

    def _result(self, target: Target) -> tuple[Observation, ...] | str:
        """What a target said in this round, or why it said nothing."""
        future = self._running[target.key]
        if not future.done():
            return f"no answer within {self._timeout:g} s"
        try:
            return future.result()
        except ScrapeError as error:
            return str(error)

    def _read_targets(self) -> tuple[tuple[Target, ...], str]:
        """The targets of the file, or those known before and what is wrong with the file."""
        try:
            with self._targets_file.open("rb") as file:
                return parse_targets(file.read(MAX_BYTES + 1)), ""
        except OSError as error:
            return self._targets, f"cannot read it: {(error.strerror or 'unknown').lower()}"
        except TargetsError as error:
            return self._targets, str(error)

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stopped.is_set():
            self.scrape_once()
            # Rounds keep their distance; one that took too long is not made up for.
            due = max(due + self._interval, time.monotonic())
            self._stopped.wait(max(0.0, due - time.monotonic()))
