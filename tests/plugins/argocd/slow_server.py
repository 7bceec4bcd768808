"""The plugin server with a renderer that takes its time: `slow_server.py SOCKET_DIR SECONDS`. Slowness is the test's alone."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_plugins.argocd.plugin_config import load_plugin_config
from trimtab_plugins.argocd.rendering import FleetRenderer
from trimtab_plugins.argocd.server import Settings
from trimtab_plugins.argocd.signals import serve_until_signal

if TYPE_CHECKING:
    from trimtab_plugins.argocd.checkout import FleetFiles
    from trimtab_plugins.argocd.parameters import Wish
    from trimtab_plugins.argocd.progress import Progress
    from trimtab_plugins.argocd.rendering import Rendered

CONFIG = Path(__file__).parents[3] / "plugins/argocd"


class SlowRenderer:
    """Renders as the product does, after a while spent on the first file."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._renderer = FleetRenderer()

    def render(self, fleet: FleetFiles, wish: Wish, folder: str, progress: Progress) -> Rendered:
        progress.enter("read")
        progress.file(next(iter(fleet.files)))
        time.sleep(self._seconds)
        return self._renderer.render(fleet, wish, folder, progress)


if __name__ == "__main__":
    settings = Settings(Path(sys.argv[1]), drain=2)
    asyncio.run(serve_until_signal(load_plugin_config(CONFIG), settings, SlowRenderer(float(sys.argv[2]))))
