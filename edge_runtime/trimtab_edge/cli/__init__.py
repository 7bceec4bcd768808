"""The ``trimtab-edge`` command."""

from __future__ import annotations

import importlib
import logging
import sys
import time
from typing import TYPE_CHECKING

from trimtab_kernel.commandline import Command, Parser, add_command, ended_in_order, open_streams, parse_and_run

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = ("serve", "agent")


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``trimtab-edge`` with ``argv`` (the process's own arguments unless given); the value is the exit status."""
    open_streams()
    return ended_in_order(lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int:
    parser = Parser(
        prog="trimtab-edge",
        description="Serve AI models on a device, and keep them as the fleet's repository says.",
        allow_abbrev=False,
    )
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    for name in COMMANDS:
        command: Command = importlib.import_module(f"trimtab_edge.cli.{name}").COMMAND
        add_command(subparsers, command)
    _log_on_stderr()
    return parse_and_run(parser, argv)


def _log_on_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
