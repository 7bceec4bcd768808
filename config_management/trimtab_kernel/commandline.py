"""The shape of a command, shared by ``trimtab`` and ``trimtab-edge``: help with examples, exit codes, errors for people."""

from __future__ import annotations

import argparse
import json
import os
import sys
import textwrap
from typing import TYPE_CHECKING, NoReturn

from trimtab_kernel.problems import ExitCode, InputError, Problem, TrimtabError, printable
from trimtab_kernel.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


@dataclass(frozen=True, slots=True)
class Command:
    """One subcommand.

    ``configure`` adds its arguments; ``run`` does the work, prints the product on stdout, and returns an exit code.
    ``examples`` are shown in ``--help`` as they stand, one command line each; ``details`` below the summary, folded.
    ``subcommands`` excludes ``run``.
    """

    name: str
    summary: str
    examples: tuple[str, ...] = ()
    configure: Callable[[argparse.ArgumentParser], None] | None = None
    run: Callable[[argparse.Namespace], ExitCode] | None = None
    subcommands: tuple[Command, ...] = ()
    details: str = ""


class Parser(argparse.ArgumentParser):
    """An argument parser that exits with 64 on wrong usage, and says how to get help."""

    def error(self, message: str) -> NoReturn:
        """Print the mistake and the next step on stderr, then exit with 64."""
        self.print_usage(sys.stderr)
        self.exit(ExitCode.USAGE, f"{self.prog}: {printable(message)}; see '{self.prog} --help'\n")


def add_command(subparsers: argparse._SubParsersAction[Parser], command: Command) -> Parser:
    """Add ``command`` (and what is below it) to a parser's subcommands."""
    epilog = None
    if command.examples:
        epilog = "examples:\n" + "\n".join(f"  {example}" for example in command.examples)
    parser = subparsers.add_parser(
        command.name,
        help=command.summary,
        description="\n\n".join(filter(None, (command.summary, textwrap.fill(command.details, 80)))),
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    if command.configure:
        command.configure(parser)
    if command.subcommands:
        below = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
        for child in command.subcommands:
            add_command(below, child)
    elif command.run:
        parser.set_defaults(run=command.run)
    return parser


def run_command(arguments: argparse.Namespace) -> ExitCode:
    """Run the chosen command; turn our errors into exit codes and lines on stderr. Nothing else is caught."""
    run: Callable[[argparse.Namespace], ExitCode] = arguments.run
    try:
        code = run(arguments)
        sys.stdout.flush()
    except InputError as error:
        print_problems(error.problems)
        return error.exit_code
    except TrimtabError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)  # noqa: T201 - stderr is for people
        return error.exit_code
    except BrokenPipeError:
        # The reader went away (`trimtab render ... | head`): not our failure. Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE
    except KeyboardInterrupt:
        return ExitCode.OUTSIDE
    return code


def print_problems(problems: Iterable[Problem]) -> None:
    """One line each on stderr, and at the end where to read more."""
    shown = list(problems)
    for problem in shown:
        print(str(problem), file=sys.stderr)  # noqa: T201 - stderr is for people
    codes = sorted({problem.code for problem in shown})
    if codes:
        count = f"{len(shown)} problem{'s' if len(shown) != 1 else ''}"
        print(f"{count}; 'trimtab explain {codes[0]}' says more", file=sys.stderr)  # noqa: T201


def print_json(value: object) -> None:
    """``value`` on stdout as JSON for machines: sorted keys, one trailing newline."""
    sys.stdout.write(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, default=str) + "\n")


def parse_and_run(parser: Parser, argv: Sequence[str] | None) -> int:
    """Parse ``argv`` and run; the value is the process's exit status."""
    return int(run_command(parser.parse_args(argv)))
