"""The plugin server: binds aside, serves, shows its socket, and leaves so that no dial is ever left hanging."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

# The library's core writes to stderr about every odd connection; what clients do is not for the log.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc

from trimtab_kernel.problems import OutsideError, printable
from trimtab_plugins.argocd.service import PluginService
from trimtab_plugins.argocd.socket_place import SocketPlace
from trimtab_plugins.argocd.telemetry import MetricsServer, Telemetry
from trimtab_plugins.argocd.unpacking import Limits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trimtab_plugins.argocd.plugin_config import PluginConfig
    from trimtab_plugins.argocd.rendering import Renderer

LINGER = 0.5
"""Seconds to serve after the socket is gone: dials that found it still get their HTTP/2 SETTINGS."""
_MAX_MESSAGE = 32 * 1024 * 1024  # of one message in; repo-server sends 1 KiB unless told otherwise
_OPTIONS = (
    ("grpc.max_receive_message_length", _MAX_MESSAGE),
    ("grpc.max_send_message_length", -1),
    # repo-server pings every 20 s; without these a call longer than 100 s ends with "too many pings".
    ("grpc.http2.min_ping_interval_without_data_ms", 5000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    # The environment of a call is in its first message, so headers stay small.
    ("grpc.max_metadata_size", 64 * 1024),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """How to serve. ``threads`` render at once; ``drain`` is how many seconds calls in flight get after SIGTERM.

    ``metrics_port`` None serves no metrics, 0 has the system choose.
    """

    socket_dir: Path
    socket_mode: int = 0o755
    threads: int = 2
    drain: float = 25.0
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = None
    limits: Limits = field(default_factory=Limits)


async def serve(
    config: PluginConfig,
    settings: Settings,
    renderer: Renderer,
    stop: asyncio.Event,
    ready: Callable[[str, int | None], None],
) -> None:
    """Serve until ``stop`` is set. ``ready`` is called with the socket's path and the port of the metrics.

    Raises RefusedError (A117) where another server has the socket, OutsideError where one cannot listen.
    """
    place = SocketPlace(settings.socket_dir, config.socket_name, settings.socket_mode)
    telemetry = Telemetry()
    metrics = None
    if settings.metrics_port is not None:
        metrics = MetricsServer(settings.metrics_host, settings.metrics_port, telemetry.registry, place.is_published)
    executor = ThreadPoolExecutor(settings.threads, thread_name_prefix="render")
    server = grpc.aio.server(options=_OPTIONS)
    service = PluginService(config, renderer, executor, telemetry, settings.limits)
    server.add_generic_rpc_handlers((service.handlers(),))
    try:
        aside = place.prepare()
        try:
            server.add_insecure_port(f"unix:{quote(str(aside))}")
        except RuntimeError as error:
            raise OutsideError(f"A120 cannot listen at {printable(str(aside))}") from error
        await server.start()
        if metrics is not None:
            metrics.start()
        place.publish()
        ready(str(place.path), metrics.port if metrics is not None else None)
        await stop.wait()
    finally:
        place.withdraw()
        await asyncio.sleep(LINGER)
        await server.stop(settings.drain)
        executor.shutdown(wait=False, cancel_futures=True)
        if metrics is not None:
            metrics.stop()
