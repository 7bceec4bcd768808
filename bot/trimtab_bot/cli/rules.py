"""``trimtab rules``: the recording rules for the Prometheus that the bot reads."""

from __future__ import annotations

import argparse
import re
import sys
from typing import TYPE_CHECKING

from trimtab_config.rules.recording import (
    DEFAULT_INTERVAL,
    DEFAULT_WINDOWS,
    MAX_INTERVAL,
    MIN_INTERVAL,
    rules_file,
)
from trimtab_kernel.commandline import Command
from trimtab_kernel.problems import ExitCode, quoted
from trimtab_kernel.rules import Window

if TYPE_CHECKING:
    from collections.abc import Sequence

_INTERVAL = re.compile(r"([0-9]{1,3})(s|m)", re.ASCII)


def _windows(text: str) -> tuple[Window, ...]:
    try:
        return tuple(Window.parse(part.strip()) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _interval(text: str) -> int:
    match = _INTERVAL.fullmatch(text)
    seconds = int(match[1]) * (60 if match[2] == "m" else 1) if match else 0
    if not MIN_INTERVAL <= seconds <= MAX_INTERVAL:
        raise argparse.ArgumentTypeError(
            f'expected a duration from {MIN_INTERVAL}s to {MAX_INTERVAL}s such as "5s", got {quoted(text)}'
        )
    return seconds


def _configure(parser: argparse.ArgumentParser) -> None:
    texts: Sequence[str] = [window.text for window in DEFAULT_WINDOWS]
    parser.add_argument(
        "--window",
        type=_windows,
        action="append",
        metavar="W[,W...]",
        help=f"windows to record: {', '.join(window.text for window in Window)} (default: {','.join(texts)})",
    )
    parser.add_argument(
        "--interval",
        type=_interval,
        default=DEFAULT_INTERVAL,
        metavar="D",
        help=f"time between recordings, {MIN_INTERVAL}s to {MAX_INTERVAL}s (default: {DEFAULT_INTERVAL}s); "
        "windows longer than 5m are recorded less often",
    )
    parser.add_argument("--bot", action="store_true", help="print alerts about the bot itself instead")


def _run(arguments: argparse.Namespace) -> ExitCode:
    if arguments.bot:
        from trimtab_bot.service_levels import service_level_rules

        sys.stdout.write(service_level_rules())
        return ExitCode.DONE
    chosen = {window for group in arguments.window or [DEFAULT_WINDOWS] for window in group}
    sys.stdout.write(rules_file(chosen, arguments.interval))
    return ExitCode.DONE


COMMAND = Command(
    name="rules",
    summary="Print the Prometheus recording rules that the bot reads.",
    examples=(
        "trimtab rules > trimtab-rules.yml",
        "trimtab rules --bot > trimtab-bot-alerts.yml",
        "trimtab rules --window 1m,5m --interval 1s | promtool check rules /dev/stdin",
    ),
    configure=_configure,
    run=_run,
)
