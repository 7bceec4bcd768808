"""``trimtab cost``: what the fleet's models cost in a month, as a table or as JSON."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_config.cli.dates import date
from trimtab_config.cli.pictures import add_plot, check_plot, write_plot
from trimtab_config.cost.idle import IdleRule
from trimtab_config.cost.report import PARTS, CostReport
from trimtab_config.cost.slices import Dimension, slices
from trimtab_kernel.commandline import Command, print_json
from trimtab_kernel.problems import Collector, ExitCode, InputError, Problem, quoted

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from trimtab_config.catalog import Catalog
    from trimtab_config.cost.exchange import Exchange
    from trimtab_config.cost.idle import Idle
    from trimtab_config.cost.report import Row
    from trimtab_config.cost.slices import Slice
    from trimtab_config.plots.figures import Plot


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
    parser.add_argument(
        "--idle",
        choices=[rule.value for rule in IdleRule],
        metavar="RULE",
        help="what no deployment reserves or uses, too: separate (lines of their own), or borne by the models:"
        " proportional to their part of the device, or uniform",
    )
    parser.add_argument(
        "--currency", metavar="CODE", help="one total in this currency, by the dated exchange rates of the price books"
    )
    parser.add_argument(
        "--as-of", type=date, metavar="DATE", help="the day whose exchange rates count (default: today)"
    )
    add_plot(parser, "a bar for each line, made of its parts, with its bounds")
    parser.add_argument("--output", choices=("table", "json"), default="table", help="for people, or for machines")
    parser.add_argument("--price-book", metavar="NAME", help="use this price book instead of the newest one")


def run(arguments: argparse.Namespace) -> ExitCode:
    """Estimate and print; nothing is printed where a price is missing."""
    from trimtab_config.cli.fleet import open_fleet
    from trimtab_config.compilation.selection import known_groups
    from trimtab_config.cost.estimate import estimate
    from trimtab_config.cost.rates import region_of

    check_plot(arguments.plot)
    catalog = open_fleet(arguments.path)
    names = sorted(catalog.groups) if arguments.group is None else known_groups(catalog.groups, arguments.group)
    report, problems = estimate(catalog, names, arguments.price_book)
    if problems:
        raise InputError(*problems)
    remainders = () if arguments.idle is None else _idle(catalog, names, report, arguments.price_book)
    if arguments.idle is not None:
        from trimtab_config.cost.idle import with_idle

        report = with_idle(report, remainders, IdleRule(arguments.idle))
    rates: dict[str, Exchange] = {}
    if arguments.currency is not None:
        report, remainders, rates = _in_currency(catalog, report, remainders, arguments)
    by = None if arguments.by is None else Dimension(arguments.by)
    cut = () if by is None else slices(report, by, {name: region_of(catalog.groups[name]) for name in names})
    if arguments.plot is not None:
        write_plot(arguments.plot, lambda: _plot(report, by, cut))
    if arguments.output == "json":
        content = report.to_json()
        if arguments.idle is not None:
            content["idle"] = {"rule": arguments.idle, "groups": [each.to_json() for each in remainders]}
        if arguments.currency is not None:
            content["exchangeRates"] = [rate.to_json() for _, rate in sorted(rates.items())]
        if by is not None:
            content["by"] = {"dimension": by.value, "slices": [each.to_json() for each in cut]}
        print_json(content)
        return ExitCode.DONE
    from trimtab_config.text.costs import cost_table, plain_text, slice_table, terminal_table, with_notes

    if by is not None:
        table = slice_table(report, cut, by)
    else:
        charged = {row.group for row in report.rows}
        table = cost_table(report, [name for name in names if name not in charged])
    table = with_notes(table, remainders, arguments.idle, tuple(rate for _, rate in sorted(rates.items())))
    if sys.stdout.isatty():
        terminal_table(table)
    else:
        sys.stdout.write(plain_text(table))
    return ExitCode.DONE


def _plot(report: CostReport, by: Dimension | None, cut: Sequence[Slice]) -> Plot:
    from trimtab_config.plots.bills import charts_of
    from trimtab_config.plots.costs import costs_plot

    return costs_plot(charts_of(report, by, cut), PARTS)


def _idle(catalog: Catalog, names: list[str], report: CostReport, price_book: str | None) -> tuple[Idle, ...]:
    from trimtab_config.cost.idle import idle_of

    rows: dict[str, list[Row]] = {name: [] for name in names}
    for row in report.rows:
        rows[row.group].append(row)
    problems = Collector()
    found = []
    for name in names:
        try:
            remainder = idle_of(catalog, name, CostReport(tuple(rows[name])), price_book)
        except InputError as error:
            problems.extend(error.problems)
            continue
        if remainder is not None:
            found.append(remainder)
    if problems.sorted():
        raise InputError(*problems.sorted())
    return tuple(found)


def _in_currency(
    catalog: Catalog, report: CostReport, remainders: tuple[Idle, ...], arguments: argparse.Namespace
) -> tuple[CostReport, tuple[Idle, ...], dict[str, Exchange]]:
    """The report and the idle remainders in one currency, and the rates that took them there. Raises InputError (F405)."""
    from trimtab_config.cost.exchange import converted, converted_idle, exchange
    from trimtab_kernel.money import MoneyError, parse_currency

    try:
        target = parse_currency(arguments.currency)
    except MoneyError as error:
        problem = Problem("F104", field="--currency", got=quoted(arguments.currency), expected=str(error))
        raise InputError(problem) from None
    as_of = arguments.as_of or datetime.datetime.now(datetime.UTC).astimezone().date()
    sources = {row.currency for row in report.rows} | {each.currency for each in remainders}
    rates: dict[str, Exchange] = {}
    problems: list[Problem] = []
    for source in sorted(sources - {target}):
        try:
            rates[source] = exchange(catalog.price_books.values(), source, target, as_of)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(*problems)
    return converted(report, rates), tuple(converted_idle(each, rates) for each in remainders), rates


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
        "trimtab cost examples/fleet --by model --plot cost.png",
        "trimtab cost examples/fleet --idle proportional --currency EUR",
    ),
    configure=configure,
    run=run,
)
