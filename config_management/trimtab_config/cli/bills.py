"""``trimtab bills``: what providers charged, joined to the fleet."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_kernel.commandline import Command, print_json
from trimtab_kernel.problems import ExitCode, InputError, Problem, printable, quoted

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from trimtab_config.bills.charges import Charge

KINDS = ("aws-cur", "focus", "azure", "opencost")
_SECONDS = 60.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("bill", metavar="PATH|URL", help="a file, a folder of parts, or the URL of OpenCost's API")
    parser.add_argument("--kind", choices=KINDS, required=True, help="whose bill it is")
    parser.add_argument(
        "--fleet", type=Path, required=True, metavar="PATH", help="the fleet that charges are joined to"
    )
    parser.add_argument(
        "--output",
        choices=("table", "json", "csv", "parquet"),
        default="table",
        help="totals for people or machines, or every charge with its place in the fleet",
    )
    parser.add_argument("--output-file", type=Path, metavar="FILE", help="write csv or parquet here, not on stdout")
    parser.add_argument(
        "--tag-key",
        action="append",
        default=[],
        metavar="KEY=DIMENSION",
        help="a tag key of the bill that means a dimension (group, model, team, businessUnit, ...); may be given again",
    )
    parser.add_argument(
        "--currency", metavar="CODE", help="the currency of OpenCost's prices, which its answers leave out"
    )
    parser.add_argument(
        "--newest", action="store_true", help="of a period delivered in several folders the newest one counts"
    )


def run(arguments: argparse.Namespace) -> ExitCode:
    """Read, join, print. Nothing is printed as a product where a row of the bill is refused."""
    from trimtab_config.bills.joining import Fleet, Joiner, TagKeys
    from trimtab_config.bills.statement import Statement
    from trimtab_config.cli.fleet import open_fleet

    keys = TagKeys(_tag_keys(arguments.tag_key))
    joiner = Joiner(Fleet(open_fleet(arguments.fleet)), keys)
    charges, notes = _charges(arguments)
    statement = Statement()
    taken = map(statement.take, joiner.joined(charges))
    if arguments.output in {"csv", "parquet"}:
        _write(arguments, taken)
    else:
        for _ in taken:
            pass
    for note in notes:
        print(printable(note), file=sys.stderr)
    if arguments.output == "json":
        print_json({"kind": arguments.kind, **statement.to_json(), "notes": list(notes)})
    elif arguments.output == "table":
        from trimtab_config.text.bills import statement_text

        sys.stdout.write(statement_text(statement))
    return ExitCode.DONE


def _charges(arguments: argparse.Namespace) -> tuple[Iterator[Charge], list[str]]:
    from trimtab_config.bills.cells import CellError, currency
    from trimtab_config.bills.deliveries import MAX_JSON, deliveries
    from trimtab_config.bills.layouts import Kind

    kind = Kind(arguments.kind)
    code = ""
    if kind is Kind.OPENCOST:
        try:
            code = currency(arguments.currency or "")
        except CellError as error:
            got = quoted(arguments.currency) if arguments.currency else "no currency"
            raise InputError(Problem("F708", field="--currency", got=got, expected=str(error))) from None
        if "://" in arguments.bill:
            from trimtab_config.bills.fetching import fetch
            from trimtab_config.bills.opencost import allocations

            return allocations(fetch(arguments.bill, limit=MAX_JSON, seconds=_SECONDS), "answer", code), []
    found = deliveries(kind, Path(arguments.bill), newest=arguments.newest, currency=code)
    return found.charges(), found.notes


def _tag_keys(texts: Iterable[str]) -> dict[str, str]:
    from trimtab_config.bills.charges import DIMENSIONS

    found = {}
    for text in texts:
        key, equals, dimension = text.rpartition("=")
        if not equals or not key or dimension not in {*DIMENSIONS, ""}:
            expected = f"KEY=DIMENSION, a dimension being one of {', '.join(DIMENSIONS)}"
            raise InputError(Problem("F709", field="--tag-key", got=quoted(text), expected=expected))
        found[key] = dimension
    return found


def _write(arguments: argparse.Namespace, charges: Iterable[Charge]) -> None:
    from trimtab_config.bills import tables
    from trimtab_config.cli.products import product

    if arguments.output == "csv":
        with product(arguments.output_file) as stream:
            tables.write_csv(charges, stream.text)
    else:
        with product(arguments.output_file, binary=True) as stream:
            tables.write_parquet(charges, stream.bytes)


IMPORT = Command(
    name="import",
    summary="Read a provider's bill, join it to the fleet by tags, and say what nobody claims.",
    details="Every charge is attributed, untagged or orphaned (tagged with something the fleet does not have), and the"
    " three add up to the bill. Files are read as streams, so a bill may be larger than memory.",
    examples=(
        "trimtab bills import --kind aws-cur cur/2026-10 --fleet fleet",
        "trimtab bills import --kind azure cost.csv --fleet fleet --tag-key cost-center=businessUnit --output json",
        "trimtab bills import --kind focus focus.parquet --fleet fleet --output parquet --output-file charges.parquet",
        "trimtab bills import --kind opencost --currency USD --fleet fleet 'http://localhost:9003/allocation?window=7d'",
    ),
    configure=configure,
    run=run,
)
COMMAND = Command(
    name="bills",
    summary="What providers charged, joined to the fleet: AWS, Azure, FOCUS, OpenCost.",
    subcommands=(IMPORT,),
)
