"""``trimtab cost``: what the fleet's models cost in a month, as a table or as JSON."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_config.cost.slices import Dimension, slices
from trimtab_kernel.commandline import Command, print_json
from trimtab_kernel.problems import ExitCode, InputError

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("path", type=Path, metavar="PATH", help="the fleet: a folder, or one file")
    parser.add_argument("--group", action="append", metavar="G", help="only this device group; may be given again")
    parser.add_argument(
        "--by",
        choices=[dimension.value for dimension in Dimension],
        metavar="DIMENSION",
        help=f"cut the bill: {', '.join(Dimension)}; what has no value stays in it, as a line of its own",
    )
    parser.add_argument("--output", choices=("table", "json"), default="table", help="for people, or for machines")
    parser.add_argument("--price-book", metavar="NAME", help="use this price book instead of the newest one")


def run(arguments: argparse.Namespace) -> ExitCode:
    """Estimate and print; nothing is printed where a price is missing."""
    from trimtab_config.cli.fleet import open_fleet
    from trimtab_config.compilation.selection import known_groups
    from trimtab_config.cost.estimate import estimate
    from trimtab_config.cost.rates import region_of

    catalog = open_fleet(arguments.path)
    names = sorted(catalog.groups) if arguments.group is None else known_groups(catalog.groups, arguments.group)
    report, problems = estimate(catalog, names, arguments.price_book)
    if problems:
        raise InputError(*problems)
    by = None if arguments.by is None else Dimension(arguments.by)
    cut = () if by is None else slices(report, by, {name: region_of(catalog.groups[name]) for name in names})
    if arguments.output == "json":
        content = report.to_json()
        if by is not None:
            content["by"] = {"dimension": by.value, "slices": [each.to_json() for each in cut]}
        print_json(content)
        return ExitCode.DONE
    from trimtab_config.text.costs import cost_table, plain_text, rich_table, slice_table

    if by is not None:
        table = slice_table(report, cut, by)
    else:
        table = cost_table(report, [name for name in names if not report.of(name).rows])
    if sys.stdout.isatty():
        from rich.console import Console

        console = Console()
        console.print(rich_table(table, console.width))
    else:
        sys.stdout.write(plain_text(table))
    return ExitCode.DONE


COMMAND = Command(
    name="cost",
    summary="Estimate what the models of a fleet cost in a month of 730 hours, each figure with its bounds.",
    details="The month pays for what deployments reserve of the devices or use, whichever is more. The cost per 1k"
    " inferences is the marginal cost, which ceilings judge: compute, energy and data of a thousand more inferences,"
    " nothing reserved.",
    examples=(
        "trimtab cost examples/fleet",
        "trimtab cost examples/fleet --group kiosk-emea --output json",
        "trimtab cost examples/fleet --by businessUnit",
    ),
    configure=configure,
    run=run,
)
