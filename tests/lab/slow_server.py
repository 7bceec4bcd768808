"""The plugin server with a renderer that takes its time: `slow_server.py CONFIG_DIR SOCKET_DIR SECONDS`.

The slowness comes in through the server's own port for renderers, so that all else is what users run.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_plugins.argocd.plugin_config import load_plugin_config
from trimtab_plugins.argocd.rendering import FleetRenderer, Rendered
from trimtab_plugins.argocd.server import Settings
from trimtab_plugins.argocd.signals import serve_until_signal

if TYPE_CHECKING:
    from trimtab_plugins.argocd.checkout import FleetFiles
    from trimtab_plugins.argocd.parameters import Wish
    from trimtab_plugins.argocd.progress import Progress


class SlowRenderer:
    """Waits before each rendering."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._renderer = FleetRenderer()

    def render(self, fleet: FleetFiles, wish: Wish, folder: str, progress: Progress) -> Rendered:
        """As any renderer does, later."""
        progress.enter("wait")
        time.sleep(self._seconds)
        return self._renderer.render(fleet, wish, folder, progress)


if __name__ == "__main__":
    settings = Settings(socket_dir=Path(sys.argv[2]), drain=1)
    asyncio.run(serve_until_signal(load_plugin_config(Path(sys.argv[1])), settings, SlowRenderer(float(sys.argv[3]))))
