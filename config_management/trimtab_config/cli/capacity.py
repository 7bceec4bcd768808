"""``trimtab capacity``: what device groups and regions will need, and the quiet hours for updates."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_config.cli.arguments import hours_ahead
from trimtab_config.cli.pictures import add_plot, check_plot, write_plot
from trimtab_kernel.commandline import Command, print_json
from trimtab_kernel.problems import ExitCode

if TYPE_CHECKING:
    from trimtab_config.budget.capacity import CapacityPlan
    from trimtab_config.plots.figures import Plot


def _percent(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= 100:
        raise argparse.ArgumentTypeError(f"expected percent from 1 to 100, got {text!r}")
    return int(text)


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("path", type=Path, metavar="PATH", help="the fleet: a folder, or one file")
    parser.add_argument(
        "--history",
        type=Path,
        required=True,
        metavar="FILE",
        help="cores in use, hour by hour, as CSV or Parquet with the columns time, device_group, cores",
    )
    parser.add_argument("--hours", type=hours_ahead, default=48, metavar="N", help="how far to look ahead; default: 48")
    parser.add_argument(
        "--limit", type=_percent, default=80, metavar="PERCENT", help="share of the cores to stay below; default: 80"
    )
    add_plot(parser, "what was used, the forecast and the limit of each group")
    parser.add_argument("--output", choices=("table", "json"), default="table", help="for people, or for machines")


def run(arguments: argparse.Namespace) -> ExitCode:
    """Forecast every group and region that has a history, and print; the others are unknown."""
    from trimtab_config.budget.capacity import CapacityPlan
    from trimtab_config.budget.history import read_loads
    from trimtab_config.cli.fleet import open_fleet
    from trimtab_config.text.budgets import capacity_json, capacity_text

    check_plot(arguments.plot)
    catalog = open_fleet(arguments.path)
    plan = CapacityPlan(catalog, read_loads(arguments.history), arguments.hours, arguments.limit / 100)
    groups, regions, updates = plan.groups(), plan.regions(), plan.updates()
    if arguments.plot is not None:
        write_plot(arguments.plot, lambda: _plot(plan))
    if arguments.output == "json":
        print_json(capacity_json(groups, regions, updates))
    else:
        sys.stdout.write(capacity_text(groups, regions, updates))
    return ExitCode.DONE


def _plot(plan: CapacityPlan) -> Plot:
    from trimtab_config.plots.capacity import capacity_plot

    return capacity_plot(plan.curves())


COMMAND = Command(
    name="capacity",
    summary="Forecast the cores that groups and regions will need, and the quietest hours for their updates.",
    examples=(
        "trimtab capacity fleet --history cores.csv --plot capacity.png",
        "trimtab capacity fleet --history cores.csv",
        "trimtab capacity fleet --history cores.parquet --hours 168 --limit 70 --output json",
    ),
    configure=configure,
    run=run,
)
