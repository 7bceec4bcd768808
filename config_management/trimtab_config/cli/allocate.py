"""``trimtab allocate``: what models cost on devices in fact, from telemetry history; who bears what is idle; chargeback."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab_config.cost.idle import IdleRule
from trimtab_config.cost.slices import Dimension
from trimtab_kernel.commandline import Command, print_json
from trimtab_kernel.problems import ExitCode, InputError, Problem, quoted

if TYPE_CHECKING:
    import argparse

    import ibis
    from ibis.expr.types import Table

    from trimtab_config.allocation.bill import Allocation

MAX_ANSWER = 512 * 1024 * 1024
"""Bytes of one answer of Prometheus."""
_MOST_PLACES = 6


def _instant(text: str) -> datetime.datetime:
    import argparse

    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'expected a time such as "2026-11-01T06:00", got "{text}"') from None
    return found.replace(tzinfo=datetime.UTC) if found.tzinfo is None else found.astimezone(datetime.UTC)


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--telemetry",
        action="append",
        metavar="FILE",
        help="a history (.parquet, .csv or .jsonl), or table:NAME of the engine; may be given again",
    )
    source.add_argument(
        "--prometheus",
        action="append",
        metavar="QUANTITY=FILE",
        help="instead of a history: an answer of a range query in JSON, hourly, for cpu_seconds, joules, bytes_up,"
        " bytes_down, inferences, memory_peak or uptime; may be given again",
    )
    parser.add_argument("--fleet", type=Path, required=True, metavar="PATH", help="the fleet: devices, limits, prices")
    parser.add_argument("--from", dest="begin", type=_instant, metavar="TIME", help="from this hour on (UTC)")
    parser.add_argument("--to", dest="end", type=_instant, metavar="TIME", help="up to this hour (UTC)")
    parser.add_argument(
        "--by",
        choices=[dimension.value for dimension in Dimension],
        metavar="DIMENSION",
        help=f"cut the bill: {', '.join(Dimension)}",
    )
    parser.add_argument(
        "--idle",
        choices=[rule.value for rule in IdleRule],
        default=IdleRule.SEPARATE.value,
        help="who bears what nobody uses: nobody (default), the models by their weight, or each alike",
    )
    parser.add_argument(
        "--currency", metavar="CODE", help="bill in this currency, by the rate of the period's last day"
    )
    parser.add_argument("--price-book", metavar="NAME", help="use this price book, whatever its dates")
    parser.add_argument(
        "--places",
        type=int,
        choices=range(_MOST_PLACES + 1),
        default=_MOST_PLACES,
        metavar="N",
        help="decimals of each amount: 2 bills whole cents, and still adds up (default: 6)",
    )
    parser.add_argument(
        "--engine", default="duckdb", metavar="NAME|URL", help="duckdb (default), spark, or a URL that Ibis knows"
    )
    parser.add_argument("--history-out", type=Path, metavar="FILE", help="with --prometheus: keep the history there")
    parser.add_argument(
        "--output", choices=("table", "json", "csv", "parquet"), default="table", help="for people, or for machines"
    )


def run(arguments: argparse.Namespace) -> ExitCode:
    """Read, weigh, bill and print."""
    from trimtab_config.allocation.engines import connect, untried
    from trimtab_config.allocation.measuring import measured_cost
    from trimtab_config.cli.fleet import open_fleet

    catalog = open_fleet(arguments.fleet)
    connection = connect(arguments.engine)
    if said := untried(connection):
        print(f"trimtab allocate: {said}", file=sys.stderr)
    history, place = _history(connection, arguments)
    allocation = measured_cost(
        connection,
        history,
        catalog,
        IdleRule(arguments.idle),
        place=place,
        begin=arguments.begin,
        end=arguments.end,
        price_book=arguments.price_book,
        currency=_currency(arguments.currency),
        places=arguments.places,
    )
    _print(allocation, arguments)
    return ExitCode.DONE


def _print(allocation: Allocation, arguments: argparse.Namespace) -> None:
    from trimtab_config.allocation.output import csv_text, parquet_bytes

    by = None if arguments.by is None else Dimension(arguments.by)
    match arguments.output:
        case "json":
            from trimtab_config.text.allocations import slices_json

            content = allocation.to_json()
            if by is not None:
                content["by"] = {"dimension": by.value, "slices": slices_json(allocation, by)}
            print_json(content)
        case "csv":
            sys.stdout.write(csv_text(allocation))
        case "parquet":
            sys.stdout.buffer.write(parquet_bytes(allocation))
        case _:
            from trimtab_config.text.allocations import allocation_slices, allocation_table
            from trimtab_config.text.costs import plain_text, terminal_table

            table = allocation_table(allocation) if by is None else allocation_slices(allocation, by)
            if sys.stdout.isatty():
                terminal_table(table)
            else:
                sys.stdout.write(plain_text(table))


def _history(connection: ibis.BaseBackend, arguments: argparse.Namespace) -> tuple[Table, str]:
    from trimtab_config.allocation.engines import read_history

    if arguments.telemetry:
        if arguments.history_out is not None:
            problem = Problem("F408", field="--history-out", got="--telemetry", expected="--prometheus beside it")
            raise InputError(problem)
        return read_history(connection, arguments.telemetry), ", ".join(arguments.telemetry)
    import ibis

    from trimtab_config.allocation.history import typed
    from trimtab_config.allocation.output import history_table, write_history
    from trimtab_config.allocation.prometheus import history_rows

    rows: list[dict[str, Any]] = history_rows(dict(map(_answer, arguments.prometheus)))
    if arguments.history_out is not None:
        write_history(arguments.history_out, rows)
    return typed(ibis.memtable(history_table(rows)), "--prometheus"), "--prometheus"


def _answer(text: str) -> tuple[str, bytes]:
    quantity, _, name = text.partition("=")
    try:
        with Path(name).open("rb") as source:
            content = source.read(MAX_ANSWER + 1)
    except OSError as error:
        got = error.strerror or type(error).__name__
        raise InputError(Problem("F408", name, got=got, expected="QUANTITY=FILE of a range query's answer")) from None
    if len(content) > MAX_ANSWER:
        expected = f"at most {MAX_ANSWER} bytes; ask for a shorter time, or write a history"
        raise InputError(Problem("F103", name, got=f"more than {MAX_ANSWER} bytes", expected=expected))
    return quantity, content


def _currency(text: str | None) -> str | None:
    from trimtab_kernel.money import MoneyError, parse_currency

    try:
        return None if text is None else parse_currency(text)
    except MoneyError as error:
        problem = Problem("F104", field="--currency", got=quoted(str(text)), expected=str(error))
        raise InputError(problem) from None


COMMAND = Command(
    name="allocate",
    summary="Bill what models cost on devices in fact, from telemetry history; the lines add up to what the devices cost.",
    details="Each device-hour is shared by the larger of what a deployment requests and what it used; what nobody used is"
    " idle. docs/money.md describes the history, and the queries that get one from Prometheus.",
    examples=(
        "trimtab allocate --telemetry history.parquet --fleet examples/fleet",
        "trimtab allocate --telemetry history.csv --fleet examples/fleet --by businessUnit --idle proportional --places 2",
        "trimtab allocate --prometheus cpu_seconds=cpu.json --prometheus inferences=requests.json --fleet examples/fleet",
    ),
    configure=configure,
    run=run,
)
