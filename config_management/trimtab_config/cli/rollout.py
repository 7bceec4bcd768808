"""``trimtab rollout``: how many devices each wave reaches, counted by the ids of the devices."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_kernel.commandline import Command, print_json
from trimtab_kernel.problems import ExitCode, InputError, Problem

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from typing import BinaryIO

MAX_LINE = 4096
"""Bytes of a line of the list; a longer one is taken in pieces, which are problems then."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("path", type=Path, metavar="PATH", help="the fleet: a folder")
    parser.add_argument(
        "--devices",
        type=Path,
        required=True,
        metavar="FILE",
        help='a line "DEVICE,GROUP" for each device, without a header; "-" reads stdin',
    )
    parser.add_argument("--output", choices=("text", "json"), default="text", help="for people, or for machines")


def run(arguments: argparse.Namespace) -> ExitCode:
    """Count and print. Raises InputError for a fleet with problems and for a list that is none (F142, F143)."""
    from trimtab_config.cli.fleet import open_fleet
    from trimtab_config.plan.census import Census
    from trimtab_config.text.rollouts import counts_text

    census = Census(open_fleet(arguments.path))
    name = "stdin" if arguments.devices == Path("-") else str(arguments.devices)
    try:
        if arguments.devices == Path("-"):
            census.count(name, _lines(sys.stdin.buffer))
        else:
            with arguments.devices.open("rb") as file:
                census.count(name, _lines(file))
    except OSError as error:
        got = (error.strerror or "not readable").lower()
        raise InputError(Problem("F142", name, got=got, expected="a file to read")) from None
    counts, problems = census.result(name)
    if problems:
        raise InputError(*problems)
    if arguments.output == "json":
        print_json({"rollouts": [count.to_json() for count in counts]})
    else:
        sys.stdout.write(counts_text(counts))
    return ExitCode.DONE


def _lines(file: BinaryIO) -> Iterator[bytes]:
    return iter(lambda: file.readline(MAX_LINE), b"")


COMMAND = Command(
    name="rollout",
    summary="Count the devices that each wave of a rollout reaches, and how many more advancing would reach.",
    details="A device decides by its id alone whether it is in a wave, so the counts are exact for the listed ids. The"
    " list is read once, whatever its length.",
    examples=(
        "trimtab rollout fleet --devices devices.csv",
        "kubectl get nodes -o jsonpath='{range .items[*]}{.metadata.name},kiosk-emea{\"\\n\"}{end}' | trimtab rollout fleet --devices -",
    ),
    configure=configure,
    run=run,
)
