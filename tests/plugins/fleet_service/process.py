"""A real `trimtab fleet-service` process for tests, and the clients that call it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

TOKEN = "a-token-of-the-tests-7f3a"
PATIENCE = 60.0
_MAIN = "import sys; from trimtab_config.cli import main; sys.exit(main())"


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - any JSON value
        return json.loads(self.body)


@dataclass(slots=True)
class Service:
    """The running process. ``lines`` are what it has said on stderr so far."""

    url: str
    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    context: ssl.SSLContext | None = None

    def call(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        if self.context is not None:
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=PATIENCE, context=self.context
            )
        else:
            connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def generator(self, parameters: Mapping[str, object] | None = None, token: str = TOKEN) -> Answer:
        """As the applicationset-controller calls."""
        body = json.dumps({"applicationSetName": "fleet", "input": {"parameters": parameters or {}}}).encode()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        return self.call("POST", "/api/v1/getparams.execute", body, headers)

    def inputs(self, query: str = "", token: str = TOKEN) -> Answer:
        """As flux-operator calls."""
        return self.call("GET", f"/api/v1/inputs{query}", headers={"Authorization": f"Bearer {token}"})

    def wait(self, until: Callable[[], bool]) -> None:
        """Until something holds, within a generous bound."""
        end = time.monotonic() + PATIENCE
        pause = threading.Event()
        while not until():
            assert time.monotonic() < end, f"not in {PATIENCE} s; the service said {self.lines[-5:]}"
            assert self.process.poll() is None, f"the service ended; it said {self.lines[-5:]}"
            pause.wait(0.05)


def token_file(folder: Path, text: str = TOKEN) -> Path:
    path = folder / "token"
    path.write_text(text + "\n", encoding="utf-8")
    path.chmod(0o600)
    return path


@contextmanager
def running(*arguments: str, ready: bool = True, context: ssl.SSLContext | None = None) -> Iterator[Service]:
    """The process, listening on a port that the system chose; ended by its own id."""
    command = [sys.executable, "-c", _MAIN, "fleet-service", "--port", "0", "--interval", "0.1", *arguments]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    said: Queue[str] = Queue()
    service = Service("", process, context=context)
    pipes = {process.stdout: said.put, process.stderr: service.lines.append}
    threads = [threading.Thread(target=_collect, args=item, daemon=True) for item in pipes.items()]
    for thread in threads:
        thread.start()
    try:
        try:
            line = said.get(timeout=PATIENCE)
        except Empty:
            raise AssertionError(f"no line on stdout; on stderr {service.lines}") from None
        found = re.fullmatch(r"serving (https?://\S+)", line)
        assert found is not None, line
        service.url = found[1]
        if ready:
            service.wait(lambda: service.call("GET", "/readyz").status == 200)
        yield service
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for thread, pipe in zip(threads, pipes, strict=True):
            thread.join(timeout=PATIENCE)
            pipe.close()


def _collect(stream: Any, put: Callable[[str], object]) -> None:  # noqa: ANN401 - a text pipe
    for line in stream:
        put(line.rstrip("\n"))
