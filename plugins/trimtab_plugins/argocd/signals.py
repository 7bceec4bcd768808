"""SIGTERM and SIGINT for the plugin server, and what it tells people."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING

from trimtab_plugins.argocd.server import serve

if TYPE_CHECKING:
    from trimtab_plugins.argocd.plugin_config import PluginConfig
    from trimtab_plugins.argocd.rendering import Renderer
    from trimtab_plugins.argocd.server import Settings


async def serve_until_signal(config: PluginConfig, settings: Settings, renderer: Renderer) -> None:
    """Serve with ``renderer`` until a signal comes; errors as :func:`~trimtab_plugins.argocd.server.serve`."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(config, settings, renderer, stop, _tell)


def _tell(path: str, metrics_port: int | None) -> None:
    metrics = f" metrics_port={metrics_port}" if metrics_port is not None else ""
    print(f"serving socket={path}{metrics}", file=sys.stderr, flush=True)  # noqa: T201 - the log of a server is its stderr
