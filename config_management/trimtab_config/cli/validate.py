"""``trimtab validate``: everything that is wrong with a fleet, in one run."""

from __future__ import annotations

import datetime
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_config.cli.arguments import add_policies
from trimtab_config.cli.dates import date
from trimtab_kernel.commandline import Command, print_json, print_problems
from trimtab_kernel.problems import ExitCode, Problem, sort_problems

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

    from trimtab_config.catalog import Catalog
    from trimtab_config.cli.fleet import Fleet
    from trimtab_config.policy.bundle import PolicyBundle


ENDING = ("F605", "F606", "F607")
"""Exceptions that are over, or soon will be, or are for nobody: told, and nothing is refused."""
NOT_BLOCKING = ("F502", "F503", *ENDING)
"""What policies say without refusing, from the stronger to the weaker; then exceptions."""
REFUSALS = ("F501", "F504")
TOO_OLD = "F603"
AGE_RULE = "alignment.model-age:"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument(
        "path",
        type=Path,
        metavar="PATH",
        help="a fleet folder; or one file, or - for stdin (references are not judged then)",
    )
    parser.add_argument(
        "--as-of",
        type=date,
        metavar="DATE",
        help="judge dates (Holds, prices, model age, exceptions) as of this day, not today",
    )
    parser.add_argument(
        "--policy-level",
        choices=("deny", "warn", "dry-run"),
        default="warn",
        help="show what policies refuse; also what they warn of (default); also what rules on trial find",
    )
    add_policies(parser)
    parser.add_argument("--output", choices=("text", "json"), default="text", help="for people, or for machines")


def run(arguments: argparse.Namespace) -> ExitCode:
    """Read, refer, plan, price and date; print every problem."""
    from trimtab_config.cli.fleet import bundles_asked, read_fleet

    as_of: datetime.date = arguments.as_of or datetime.datetime.now(datetime.UTC).astimezone().date()
    fleet = read_fleet(arguments.path)
    problems = fleet_problems(fleet, as_of, arguments.policy_level, bundles_asked(arguments))
    blocking = tuple(problem for problem in problems if problem.code not in NOT_BLOCKING)
    if arguments.output == "json":
        print_json(report(fleet, problems, as_of))
    elif problems:
        print_problems(problems)
    if arguments.output != "json" and not blocking:
        print(f"valid: {summary(fleet)}", file=sys.stderr)
    if not blocking:
        return ExitCode.DONE
    return ExitCode.REFUSED if all(problem.code in REFUSALS for problem in blocking) else ExitCode.PROBLEMS


def fleet_problems(
    fleet: Fleet, as_of: datetime.date, policy_level: str = "warn", policies: Sequence[PolicyBundle] = ()
) -> tuple[Problem, ...]:
    """All problems of a fleet. What rests on something that could not be read is not judged: it would only be noise.

    What policies warn of is among them for the level "warn", what rules on trial find for "dry-run".
    """
    from trimtab_config.catalog.dates import date_problems, exception_problems
    from trimtab_config.plan.reach import reach_problems

    problems = [*fleet.problems, *date_problems(fleet.catalog, as_of)]
    if policy_level != "deny":
        problems += exception_problems(fleet.catalog, as_of)
    if fleet.is_folder and not fleet.problems:
        problems += reach_problems(fleet.catalog)
        problems += _policy_problems(problems, _compile_problems(fleet.catalog, as_of, policies), policy_level)
    return sort_problems(problems)


def _policy_problems(known: Iterable[Problem], found: Iterable[Problem], level: str) -> list[Problem]:
    """Of what was ``found``, what the level shows, and nothing of policy at a place that is known for the same reason."""
    places = {(problem.file, problem.line, problem.field) for problem in known if problem.code == TOO_OLD}
    hidden = NOT_BLOCKING[{"deny": 0, "warn": 1, "dry-run": 2}[level] : 2]
    return [
        problem
        for problem in found
        if problem.code not in hidden
        and not (problem.hint.startswith(AGE_RULE) and (problem.file, problem.line, problem.field) in places)
    ]


def _compile_problems(catalog: Catalog, as_of: datetime.date, policies: Sequence[PolicyBundle]) -> tuple[Problem, ...]:
    """What would keep a group from being rendered, and what is asked for but held."""
    from rich.console import Console

    from trimtab_config.policy.shipped import gate_of
    from trimtab_config.render import bundle

    gate = gate_of(*policies)
    console = Console(stderr=True)
    if not console.is_terminal:
        return bundle.fleet_problems(catalog, gate=gate, as_of=as_of)
    with console.status(f"compiling {len(catalog.groups)} device groups"):
        return bundle.fleet_problems(catalog, gate=gate, as_of=as_of)


def summary(fleet: Fleet) -> str:
    """One line: how much was read, and how much belongs to others."""
    kinds = Counter(document.kind for document in fleet.read.documents)
    counted = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    skipped = len(fleet.read.skipped)
    more = f"; {skipped} document{'s' if skipped != 1 else ''} of other kinds skipped" if skipped else ""
    return f"{counted} in {fleet.files} file{'s' if fleet.files != 1 else ''}{more}"


def report(fleet: Fleet, problems: tuple[Problem, ...], as_of: datetime.date) -> dict[str, object]:
    """The outcome for machines."""
    return {
        "asOf": as_of.isoformat(),
        "files": fleet.files,
        "objects": dict(Counter(document.kind for document in fleet.read.documents)),
        "problems": [problem.as_dict() for problem in problems],
        "referencesJudged": fleet.is_folder,
        "skipped": [
            {"apiVersion": skipped.api_version, "file": skipped.file, "kind": skipped.kind, "line": skipped.line}
            for skipped in fleet.read.skipped
        ],
        "valid": all(problem.code in NOT_BLOCKING for problem in problems),
    }


COMMAND = Command(
    name="validate",
    summary="Check a fleet: every problem with file, line, field, what was got and what was expected.",
    examples=(
        "trimtab validate examples/fleet",
        "trimtab validate examples/fleet --as-of 2027-03-31",
        "trimtab validate deployment.yaml --output json",
        "git show HEAD:deployment.yaml | trimtab validate -",
    ),
    configure=configure,
    run=run,
)
