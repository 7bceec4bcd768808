"""``trimtab budget``: what is spent of each budget, and what the month will bring."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_config.cli.pictures import add_plot, check_plot, write_plot
from trimtab_kernel.commandline import Command, print_json, print_problems
from trimtab_kernel.problems import ExitCode, InputError, Problem, quoted, sort_problems

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence
    from decimal import Decimal

    from trimtab_config.bills.charges import Charge
    from trimtab_config.budget.spending import History, Standing
    from trimtab_config.catalog import Catalog
    from trimtab_config.plots.figures import Plot


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("path", type=Path, metavar="PATH", help="the fleet: a folder, or one file")
    parser.add_argument(
        "--history",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="charges as CSV or Parquet: of 'trimtab bills import', or with the columns time, currency, amount, model,"
        " group; may be given again",
    )
    parser.add_argument("--as-of", metavar="DATE", help="the day to judge on (default: today)")
    parser.add_argument("--output", choices=("table", "json"), default="table", help="for people, or for machines")
    add_plot(parser, "spending, forecast and budget")


def run(arguments: argparse.Namespace) -> ExitCode:
    """Read the history, judge every budget, print; a budget that nothing is known of is unknown, not fine.

    An exchange rate that is missing leaves its budget unknown and is a problem beside the others' answers.
    """
    from trimtab_config.budget.spending import Policies, history_of, standings
    from trimtab_config.cli.fleet import open_fleet
    from trimtab_config.text.budgets import budgets_json, budgets_text

    today = _day(arguments.as_of)
    check_plot(arguments.plot)
    catalog = open_fleet(arguments.path)
    history = history_of(_charges(arguments.history, catalog), Policies(catalog))
    found = standings(catalog, history, today)
    unassigned = _unassigned(history, today)
    if arguments.plot is not None:
        write_plot(arguments.plot, lambda: _plot(found))
    if arguments.output == "json":
        print_json({"asOf": today.isoformat(), **budgets_json(found, unassigned)})
    else:
        sys.stdout.write(budgets_text(found, unassigned))
    problems = sort_problems({each.problem for each in found if each.problem is not None})
    print_problems(problems)
    return ExitCode.PROBLEMS if problems else ExitCode.DONE


def _plot(found: Sequence[Standing]) -> Plot:
    from trimtab_config.plots.budgets import budgets_plot

    return budgets_plot(found)


def _charges(paths: list[Path], catalog: Catalog) -> Iterator[Charge]:
    from trimtab_config.bills.joining import Fleet, Joiner, TagKeys
    from trimtab_config.bills.tables import read_charges

    joiner = Joiner(Fleet(catalog), TagKeys())
    for path in paths:
        yield from joiner.joined(read_charges(path))


def _unassigned(history: History, today: date) -> list[tuple[str, Decimal]]:
    """By currency, what of the month falls under no policy."""
    month = today.replace(day=1)
    days = (today - month).days
    wanted = {month + timedelta(days=place) for place in range(days)}
    found = []
    for (policy, currency), spent in sorted(history.spent.items()):
        amounts = [amount for day, amount in spent.items() if day in wanted]
        if not policy and amounts:
            found.append((currency, sum(amounts[1:], amounts[0])))
    return found


def _day(text: str | None) -> date:
    if text is None:
        return datetime.now(UTC).date()
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InputError(
            Problem("F714", field="--as-of", got=quoted(text), expected="a date such as 2026-10-20")
        ) from None


COMMAND = Command(
    name="budget",
    summary="Say what is spent of each FinOpsPolicy's budget, and how likely the month overruns it.",
    details="The forecast is seasonal and its 80 percent interval is calibrated on its own past errors. Where the"
    " history is too short for that the answer is unknown, never a guess.",
    examples=(
        "trimtab budget fleet --history charges.parquet",
        "trimtab budget fleet --history charges.parquet --as-of 2026-10-20 --output json",
        "trimtab budget fleet --history charges.csv --plot budgets.png",
    ),
    configure=configure,
    run=run,
)
