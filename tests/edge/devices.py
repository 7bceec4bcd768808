"""Real processes of one device, and the documents and stores that they work from."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client.parser import text_string_to_metric_families

from trimtab_kernel.decisions import Row
from trimtab_kernel.desired import (
    Alignment,
    Artifact,
    Cohort,
    Conditions,
    DesiredDocument,
    DesiredModel,
    InferenceRules,
    ModelPolicy,
)
from trimtab_kernel.identity import Digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

COMMAND = (sys.executable, "-c", "import sys; from trimtab_edge.cli import main; sys.exit(main())")
ALIGNMENT = Alignment("x", 0, (Cohort("one", value=Decimal(1)), Cohort("two", value=Decimal(2))), "label", Decimal(1))
"""For the adder: the first column of ``x`` is the attribute, label 1 the positive outcome."""


def wait_until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Until ``condition`` holds; fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s"
        time.sleep(0.02)


@dataclass(slots=True)
class Reply:
    """An HTTP response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever the server said
        return json.loads(self.body)


@dataclass(slots=True)
class Server:
    """A running ``trimtab-edge serve``."""

    process: subprocess.Popen[str]
    host: str
    port: int
    log: Path
    metrics_port: int | None = None
    grpc_address: str = ""

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def connect(self, timeout: float = 30.0) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout)

    def ask(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Reply:
        """One request on a connection of its own."""
        connection = self.connect()
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def infer(self, model: str, *inputs: dict[str, Any], **fields: object) -> Reply:
        body = json.dumps({"inputs": list(inputs), **fields}).encode()
        return self.ask("POST", f"/v2/models/{model}/infer", body, {"content-type": "application/json"})

    def readiness(self, model: str, version: str | None = None) -> Reply:
        within = f"/versions/{version}" if version else ""
        return self.ask("GET", f"/v2/models/{model}{within}/ready")

    def wait_ready(self, model: str, version: str | None = None) -> None:
        wait_until(lambda: self.readiness(model, version).status == 200)

    def samples(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        return samples_of(self.ask("GET", "/metrics").body.decode())

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


def samples_of(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample of an exposition, by name and labels; a label without a value is none, as Prometheus has it."""
    return {
        (sample.name, frozenset((name, value) for name, value in sample.labels.items() if value)): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def sample(samples: Mapping[tuple[str, frozenset[tuple[str, str]]], float], name: str, **labels: str) -> float | None:
    """One sample's value; None where there is no such series."""
    return samples.get((name, frozenset(labels.items())))


@contextmanager
def serving(repository: Path, log: Path, *options: str) -> Iterator[Server]:
    """A server of ``repository`` on a port that the system chose; ended with the block, by its own pid."""
    command = [*COMMAND, "serve", "--model-repository", str(repository), "--http-port", "0", *options]
    with log.open("w") as stderr:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
    try:
        assert process.stdout is not None
        word, _, url = process.stdout.readline().strip().partition(" ")
        assert word == "listening", log.read_text()
        host, _, port = url.partition("://")[2].rpartition(":")
        server = Server(process, host, int(port), log)
        if "--metrics-port" in options:
            word, _, url = process.stdout.readline().strip().partition(" ")
            assert word == "metrics"
            server.metrics_port = int(url.rpartition(":")[2])
        if "--grpc-port" in options:
            word, _, server.grpc_address = process.stdout.readline().strip().partition(" ")
            assert word == "grpc"
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(30)
        if process.stdout is not None:
            process.stdout.close()


def place(repository: Path, model: str, version: str, content: bytes, description: str | None = None) -> Path:
    """Put a version into a repository, as a person would."""
    directory = repository / model / version
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "model.onnx").write_bytes(content)
    if description is not None:
        (directory / "model.yaml").write_text(description)
    return directory


def activate(repository: Path, model: str, version: str, digest: Digest | None) -> None:
    """Write ``active.json`` atomically, as the contract between agent and server says."""
    fields = {"version": version} | ({"digest": str(digest)} if digest else {})
    temporary = repository / model / ".active.new"
    temporary.write_text(json.dumps(fields))
    temporary.replace(repository / model / "active.json")


@dataclass(slots=True)
class Fleet:
    """What the fleet's side of one device consists of: a content-addressed store and a mounted desired document."""

    root: Path
    group: str = "kiosks"
    models: dict[str, DesiredModel] = field(default_factory=dict)
    tables: dict[str, tuple[Row, ...]] = field(default_factory=dict)

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def mount(self) -> Path:
        return self.root / "current"

    def publish(self, version: str, content: bytes, *, file_format: str = "onnx", uri: str = "") -> Artifact:
        """Put bytes into the store, and say what a desired document says about them."""
        digest = Digest.of(content)
        path = self.store / digest.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return Artifact(version, "standard", file_format, "none", uri, digest, len(content))

    def want(
        self,
        model: str,
        target: Artifact,
        *,
        stable: Artifact | None = None,
        percent: Fraction = Fraction(100),
        alignment: Alignment | None = None,
        conditions: Conditions | None = None,
        inference: InferenceRules | None = None,
        policy: ModelPolicy | None = None,
    ) -> None:
        """Ask for a release in the next document."""
        self.models[model] = DesiredModel(
            model,
            "EdgeAIDeployment",
            "edge",
            model,
            f"edge/{model}/EdgeAIDeployment",
            percent,
            target,
            stable,
            Digest.of(model.encode()),
            alignment,
            conditions or Conditions(),
            inference=inference,
            policy=policy,
        )

    def mount_document(self, content: bytes | None = None) -> None:
        """Swap the mounted document as the kubelet does: a new directory, and a link renamed over the old one."""
        if content is None:
            content = DesiredDocument(
                self.group, "edge", "EU", tuple(self.models.values()), tuple(sorted(self.tables.items()))
            ).to_bytes()
        revision = self.root / f"revision-{time.monotonic_ns()}"
        revision.mkdir(parents=True)
        (revision / "desired.json").write_bytes(content)
        link = self.root / ".current.new"
        link.symlink_to(revision.name)
        link.replace(self.mount)

    def ask(self, model: str, target: Artifact, **options: Any) -> None:  # noqa: ANN401 - as `want` takes them
        """``want`` and ``mount_document``."""
        self.want(model, target, **options)
        self.mount_document()
