"""The server process: sockets, event loop, signals, and the order in which things start and end."""

from __future__ import annotations

import asyncio
import logging
import secrets
import signal
import socket
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trimtab_edge.serving.allocator import keep_freed_memory
from trimtab_edge.serving.certificates import Credentials
from trimtab_edge.serving.clients import ClientShares
from trimtab_edge.serving.connection import HEADER_SECONDS, Listening
from trimtab_edge.serving.dataplane import DataPlane
from trimtab_edge.serving.engine import EngineOptions
from trimtab_edge.serving.execution import Execution
from trimtab_edge.serving.headroom import Headroom
from trimtab_edge.serving.http import EXTENSIONS, NAME, MetricsApplication, V2Application
from trimtab_edge.serving.offload import OffloadClient
from trimtab_edge.serving.release import Release
from trimtab_edge.serving.repository import ModelRepository
from trimtab_edge.serving.upkeep import release_counts, system_facts, watch_resources
from trimtab_edge.telemetry.conduct import ConductCollector, ConductCounts
from trimtab_edge.telemetry.exposition import (
    CONTENT_TYPE,
    AlignmentCollector,
    InferenceCollector,
    ResourceCollector,
    metrics_text,
    registry_of,
)
from trimtab_edge.telemetry.inference import RETIRED_FOR, TURN, InferenceCounts
from trimtab_edge.telemetry.resources import Resources
from trimtab_kernel.problems import InputError, OutsideError, Problem, quoted

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal
    from pathlib import Path

    from trimtab_edge.serving.certificates import TlsFiles
    from trimtab_edge.serving.exchange import Application
    from trimtab_edge.serving.grpc.endpoint import GrpcEndpoint
    from trimtab_edge.telemetry.resources import ResourceOptions

_log = logging.getLogger("trimtab.serve")
STATE = ".serve"
"""Within the model repository, where names of models do not start with a dot."""
BACKLOG = 512
_LOOK = 0.02
"""Seconds between two looks at what still runs while the server drains."""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What the command line says. Sizes in bytes, times in seconds; port 0 lets the system choose."""

    directory: Path
    host: str
    port: int
    metrics_port: int | None
    threads: int
    queue: int
    max_body: int
    drain: float
    version: str
    model_control: bool = True
    grpc_port: int | None = None
    resources: ResourceOptions | None = None
    """None: no meter is read."""
    epsilon: Decimal | None = None
    """Privacy parameter of the noise on counts that leave; None: they leave as they are."""
    period: float = 3600.0
    """Seconds after which noisy counts move."""
    threads_per_request: int | None = None
    """None: each model's calibration chooses."""
    timeout: float | None = None
    """Seconds for requests that name no timeout; None: they may take as long as they do."""
    memory_limit: int | None = None
    client_rate: float | None = None
    """Requests a second for each client; None: no limit."""
    client_burst: int = 1
    client_header: str = ""
    """The header that tells clients apart, in lower case; empty: their address does."""
    state: Path | None = None
    """Keeps what was used of daily budgets; None: within the model repository."""
    tls: TlsFiles | None = None
    """None: every port speaks in the clear."""


class HttpPort:
    """A listening socket and its connections. Used on one event loop."""

    def __init__(self, application: Application, listener: socket.socket, max_body: int) -> None:
        self._listener = listener
        self._shared = Listening(application, max_body, asyncio.get_running_loop())
        self._server: asyncio.Server | None = None

    async def start(self, credentials: Credentials | None) -> None:
        """Accept connections from now on."""
        loop = asyncio.get_running_loop()
        secured: dict[str, Any] = {}
        if credentials is not None:
            secured = {"ssl": credentials.context, "ssl_handshake_timeout": HEADER_SECONDS}
        self._server = await loop.create_server(
            self._shared.connection, sock=self._listener, backlog=BACKLOG, **secured
        )

    def tick(self) -> None:
        """Once a second."""
        self._shared.tick()

    async def stop(self, drain: float) -> None:
        """Accept no more, and return when what has begun is answered, or after ``drain`` seconds."""
        if self._server is not None:
            self._server.close()
        self._shared.drain()
        deadline = asyncio.get_running_loop().time() + drain
        while not self._shared.is_idle and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(_LOOK)
        self._shared.abort()


def _listen(host: str, port: int) -> socket.socket:
    """Raises :class:`OutsideError` where the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OutsideError(f"cannot listen on {host} port {port}: {error.strerror or error}") from None
    return listener


def _url(listener: socket.socket, credentials: Credentials | None) -> str:
    host, port = listener.getsockname()[:2]
    scheme = "http" if credentials is None else "https"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def run(options: ServeOptions, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is in flight and return.

    ``announce`` gets each line of the product. Raises :class:`InputError` (E102, E103) and :class:`OutsideError`.
    """
    if not options.directory.is_dir():
        raise InputError(
            Problem("E102", "", 0, "--model-repository", quoted(str(options.directory)), "a directory that exists")
        )
    keep_freed_memory()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(options, announce))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _grpc_endpoint(options: ServeOptions, plane: DataPlane, credentials: Credentials | None) -> GrpcEndpoint | None:
    """The gRPC port, where one is asked for. Raises :class:`OutsideError` where it cannot be had."""
    if options.grpc_port is None:
        return None
    try:
        from trimtab_edge.serving.grpc.endpoint import GrpcEndpoint
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("trimtab_"):
            raise
        raise OutsideError(
            f"--grpc-port needs the package '{error.name}', which is not installed: pip install 'trimtab[edge-grpc]'"
        ) from None
    return GrpcEndpoint(
        plane,
        options.host,
        options.grpc_port,
        name=NAME,
        version=options.version,
        extensions=EXTENSIONS,
        max_body=options.max_body,
        credentials=credentials,
    )


def counts_for(options: ServeOptions) -> InferenceCounts:
    """The counts that these options ask for: how long a replaced version is told of is theirs."""
    if options.epsilon is None:
        return InferenceCounts()
    # Noisy counts move once a period: a turn after a swap is long enough that the last ones are shown and scraped.
    turn = options.period + TURN
    return InferenceCounts(max(RETIRED_FOR, 4 * turn), turn=turn, private=True)


async def _serve(options: ServeOptions, announce: Callable[[str], None]) -> None:
    credentials = Credentials(options.tls) if options.tls is not None else None
    counts = counts_for(options)
    resources = Resources(options.resources) if options.resources is not None else None
    own = [] if resources is None else [ResourceCollector(counts, resources, system_facts())]
    conduct = ConductCounts()
    told = InferenceCollector(counts, conduct=conduct)
    registry = registry_of(told, AlignmentCollector(counts), ConductCollector(conduct), *own)
    release = Release(options.epsilon, secrets.randbelow) if options.epsilon is not None else None

    def metrics() -> tuple[bytes, str]:
        return metrics_text(registry), CONTENT_TYPE

    headroom = Headroom(options.memory_limit)
    repository = ModelRepository(
        options.directory, counts, engine=EngineOptions(options.threads_per_request), headroom=headroom
    )
    execution = Execution(
        counts,
        threads=options.threads,
        queue=options.queue,
        timeout=options.timeout,
        headroom=headroom,
        offload=OffloadClient(options.max_body),
        conduct=conduct,
        state=options.state or options.directory / STATE,
    )
    shares = None
    if options.client_rate is not None:
        shares = ClientShares(options.client_rate, options.client_burst, secrets.token_bytes(32))
    plane = DataPlane(
        repository,
        counts,
        threads=options.threads,
        queue=options.queue,
        model_control=options.model_control,
        release=release,
        execution=execution,
    )
    own_port = options.metrics_port is None
    application = V2Application(
        plane,
        options.version,
        max_body=options.max_body,
        metrics=metrics if own_port else None,
        shares=shares,
        client_header=options.client_header.encode(),
    )
    listeners: list[tuple[str, socket.socket, Application]] = [
        ("listening", _listen(options.host, options.port), application)
    ]
    if options.metrics_port is not None:
        listeners.append(("metrics", _listen(options.host, options.metrics_port), MetricsApplication(metrics)))

    endpoint = _grpc_endpoint(options, plane, credentials)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    ports = [HttpPort(application, listener, options.max_body) for _, listener, application in listeners]
    chores = [asyncio.create_task(repository.watch()), asyncio.create_task(_sweep(ports, headroom))]
    if credentials is not None:
        chores.append(asyncio.create_task(credentials.watch()))
    if resources is not None:
        chores.append(asyncio.create_task(watch_resources(resources, counts)))
    if release is not None:
        chores.append(asyncio.create_task(release_counts(release, counts, options.period)))
    stopping = asyncio.create_task(stop.wait())
    try:
        for port, (word, listener, _) in zip(ports, listeners, strict=True):
            await port.start(credentials)
            announce(f"{word} {_url(listener, credentials)}")
        if endpoint is not None:
            await endpoint.start()
            announce(f"grpc {endpoint.address}")
        # A chore never ends by itself: if one does, its error ends the process, and the supervisor starts a sound one.
        await asyncio.wait([stopping, *chores], return_when=asyncio.FIRST_COMPLETED)
    finally:
        plane.draining = True
        _log.info("draining: no new connections, %g s for what is in flight", options.drain)
        ending = [port.stop(options.drain) for port in ports]
        if endpoint is not None:
            ending.append(endpoint.stop(options.drain))
        await asyncio.gather(*ending)
        stopping.cancel()
        failures = [chore.exception() for chore in chores if chore.done() and not chore.cancelled()]
        for chore in chores:
            chore.cancel()
        await asyncio.gather(*chores, stopping, return_exceptions=True)
        repository.close()
        plane.close()
    for failure in failures:
        if failure is not None:
            raise failure


async def _sweep(ports: list[HttpPort], headroom: Headroom) -> None:
    while True:
        await asyncio.sleep(1)
        headroom.look()
        for port in ports:
            port.tick()


def announce_on_stdout(line: str) -> None:
    """One line of the product, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
