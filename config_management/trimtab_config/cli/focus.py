"""``trimtab focus``: what a fleet costs, in the format that finance tools read."""

from __future__ import annotations

import re
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_kernel.commandline import Command
from trimtab_kernel.problems import ExitCode, InputError, Problem, printable, quoted

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from trimtab_config.bills.charges import Charge

_MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])", re.ASCII)


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("path", type=Path, metavar="PATH", help="the fleet: a folder, or one file")
    parser.add_argument(
        "--charges",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="export these charges ('trimtab bills import --output parquet'), not the estimate; may be given again",
    )
    parser.add_argument("--month", metavar="YYYY-MM", help="the month that an estimate is for (default: this one)")
    parser.add_argument("--billing-account", default="trimtab", metavar="ID", help="whose bill an estimate would be")
    parser.add_argument("--price-book", metavar="NAME", help="use this price book instead of the newest one")
    parser.add_argument("--output", choices=("csv", "parquet"), default="csv", help="the form of the file")
    parser.add_argument("--output-file", type=Path, metavar="FILE", help="write here, not on stdout")
    parser.add_argument(
        "--chargeback", type=Path, metavar="DIR", help="write one CSV for each business unit into this folder, and sums"
    )


def run(arguments: argparse.Namespace) -> ExitCode:
    """Write the file, or one for each business unit."""
    from trimtab_config.cli.products import product
    from trimtab_config.focus import files

    charges = _given(arguments) if arguments.charges else _estimated(arguments)
    if arguments.chargeback is not None:
        _charge_back(charges, arguments.chargeback)
    elif arguments.output == "csv":
        with product(arguments.output_file) as stream:
            files.write_csv(charges, stream.text)
    else:
        with product(arguments.output_file, binary=True) as stream:
            files.write_parquet(charges, stream.bytes)
    return ExitCode.DONE


def _charge_back(charges: Iterator[Charge], folder: Path) -> None:
    from trimtab_config.focus.chargeback import UNALLOCATED, charge_back
    from trimtab_config.text.bills import aligned, amount_text

    sums = charge_back(charges, folder)
    rows = [
        (printable(unit, 60) or f"({UNALLOCATED})", currency, amount_text(amount))
        for (unit, currency), amount in sorted(sums.items(), key=lambda each: (not each[0][0], each[0]))
    ]
    sys.stdout.write("\n".join(aligned(("BUSINESS UNIT", "CURRENCY", "BILLED"), rows, left=2)) + "\n")


def _given(arguments: argparse.Namespace) -> Iterator[Charge]:
    from trimtab_config.bills.joining import Fleet, Joiner, TagKeys
    from trimtab_config.bills.tables import read_charges
    from trimtab_config.cli.fleet import open_fleet

    joiner = Joiner(Fleet(open_fleet(arguments.path)), TagKeys())
    for path in arguments.charges:
        yield from joiner.joined(read_charges(path))


def _estimated(arguments: argparse.Namespace) -> Iterator[Charge]:
    from trimtab_config.bills.estimates import estimated_charges
    from trimtab_config.cli.fleet import open_fleet
    from trimtab_config.cost.estimate import estimate
    from trimtab_config.cost.rates import region_of

    month = _month(arguments.month)
    catalog = open_fleet(arguments.path)
    report, problems = estimate(catalog, None, arguments.price_book)
    if problems:
        raise InputError(*problems)
    regions = {name: region_of(group) for name, group in catalog.groups.items()}
    clusters = {name: group.spec.cluster for name, group in catalog.groups.items()}
    return estimated_charges(report, month, regions, clusters, arguments.billing_account)


def _month(text: str | None) -> date:
    if text is None:
        return datetime.now(UTC).date().replace(day=1)
    match = _MONTH.fullmatch(text)
    if match is None:
        raise InputError(Problem("F713", field="--month", got=quoted(text), expected="a month such as 2026-10"))
    return date(int(match[1]), int(match[2]), 1)


EXPORT = Command(
    name="export",
    summary="Write FOCUS 1.2 columns and the allocation columns of 1.3, as CSV or Parquet.",
    details="The rows are the fleet's estimate for a month, each with its bounds, or charges that were imported. With"
    " --chargeback each business unit gets a file of its own, and what belongs to none gets one as well.",
    examples=(
        "trimtab focus export examples/fleet --month 2026-10 --output-file focus.csv",
        "trimtab focus export fleet --charges charges.parquet --output parquet --output-file focus.parquet",
        "trimtab focus export fleet --charges charges.parquet --chargeback units",
    ),
    configure=configure,
    run=run,
)
COMMAND = Command(
    name="focus",
    summary="What a fleet costs in the format of FOCUS, which finance tools read.",
    subcommands=(EXPORT,),
)
