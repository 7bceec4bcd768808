"""``trimtab cmp-server``: arguments and limits."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_kernel.commandline import Command
from trimtab_kernel.problems import ExitCode
from trimtab_plugins.argocd.exec_command import add_monitoring

if TYPE_CHECKING:
    from collections.abc import Callable


def _number(least: float, most: float) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = -1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f'expected {least} to {most}, got "{text}"')
        return value

    return parse


def _mode(text: str) -> int:
    try:
        value = int(text, 8)
    except ValueError:
        value = -1
    if not 0 <= value <= 0o777:
        raise argparse.ArgumentTypeError(f'expected an octal mode such as 755, got "{text}"')
    return value


def configure_server(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    add = parser.add_argument
    add("--config-dir", type=Path, required=True, metavar="D", help="the folder of plugin.yaml")
    add("--socket-dir", type=Path, required=True, metavar="D", help="where repo-server looks for sockets of plugins")
    add("--socket-mode", type=_mode, default=0o755, metavar="MODE", help="who may connect, in octal (default: 755)")
    add_monitoring(parser)
    add("--metrics-port", type=_number(0, 65535), metavar="P", help="serve /metrics and /healthz there; 0: any port")
    add("--metrics-host", default="127.0.0.1", metavar="ADDRESS", help="the address for it (default: 127.0.0.1)")
    add("--threads", type=_number(1, 64), default=2, metavar="N", help="groups rendered at once (default: 2)")
    add(
        "--drain",
        type=_number(0, 3600),
        default=25,
        metavar="SECONDS",
        help="for calls in flight at the end (default: 25)",
    )
    mib = "MiB"
    add("--max-archive", type=_number(1, 4096), default=256, metavar=mib, help="of one archive as sent (default: 256)")
    add("--max-unpacked", type=_number(1, 65536), default=1024, metavar=mib, help="of one unpacked (default: 1024)")
    add("--max-entries", type=_number(1, 10_000_000), default=500_000, metavar="N", help="of one (default: 500000)")


def run_server(arguments: argparse.Namespace) -> ExitCode:
    """Serve until a signal comes."""
    import asyncio

    from trimtab_config.compilation import Monitoring
    from trimtab_plugins.argocd.plugin_config import load_plugin_config
    from trimtab_plugins.argocd.rendering import FleetRenderer
    from trimtab_plugins.argocd.server import Settings
    from trimtab_plugins.argocd.unpacking import Limits

    mib = 1024 * 1024
    config = load_plugin_config(arguments.config_dir)
    settings = Settings(
        socket_dir=arguments.socket_dir,
        socket_mode=arguments.socket_mode,
        threads=arguments.threads,
        drain=arguments.drain,
        metrics_host=arguments.metrics_host,
        metrics_port=arguments.metrics_port,
        limits=Limits(arguments.max_archive * mib, arguments.max_unpacked * mib, arguments.max_entries),
    )
    from trimtab_plugins.argocd.signals import serve_until_signal

    renderer = FleetRenderer(Monitoring(arguments.monitoring))
    renderer.warm()
    asyncio.run(serve_until_signal(config, settings, renderer))
    sys.stderr.flush()
    # A render whose call was given up at its deadline may still be going; nobody waits for it any more, nor does the exit.
    os._exit(ExitCode.DONE)


COMMAND = Command(
    name="cmp-server",
    summary="Serve Argo CD's repo-server as a plugin, warm, behind one socket.",
    examples=(
        "trimtab cmp-server --config-dir plugins/argocd --socket-dir /home/argocd/cmp-server/plugins",
        "trimtab cmp-server --config-dir /config --socket-dir /plugins --metrics-port 9417 --metrics-host 0.0.0.0",
    ),
    details=(
        "The socket is there exactly while the server serves: that is its readiness. It runs instead of Argo CD's own "
        "argocd-cmp-server, from the same plugin.yaml. On SIGTERM it takes the socket away, and answers what is under way."
    ),
    configure=configure_server,
    run=run_server,
)
