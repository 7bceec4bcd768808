"""The shape of a command, shared by ``trimtab`` and ``trimtab-edge``: help with examples, exit codes, errors for people."""

from __future__ import annotations

import argparse
import json
import os
import sys
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn

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


@cache
def _width() -> int:
    """Of help on this terminal, as argparse takes it; it would ask ``shutil``, whose import takes longer than parsing."""
    try:
        columns = int(os.environ.get("COLUMNS", "0"))
        if columns <= 0:
            columns = os.get_terminal_size(sys.__stdout__.fileno()).columns if sys.__stdout__ else 0
    except (ValueError, OSError):
        columns = 0
    return (columns or 80) - 2


class _Formatter(argparse.HelpFormatter):
    def __init__(self, prog: str, indent_increment: int = 2, max_help_position: int = 24) -> None:
        super().__init__(prog, indent_increment, max_help_position, _width())


class _RawFormatter(_Formatter, argparse.RawDescriptionHelpFormatter):
    """Leaves descriptions and examples as they are written."""


class Parser(argparse.ArgumentParser):
    """An argument parser that exits with 64 on wrong usage, and says how to get help."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - as argparse takes them
        """``options`` as of argparse."""
        super().__init__(**{"formatter_class": _Formatter} | options)

    def error(self, message: str) -> NoReturn:
        """Print the mistake and the next step on stderr, then exit with 64."""
        self.print_usage(sys.stderr)
        self.exit(ExitCode.USAGE, f"{self.prog}: {printable(message)}; see '{self.prog} --help'\n")


def add_command(subparsers: argparse._SubParsersAction[Parser], command: Command) -> Parser:
    """Add ``command`` (and what is below it) to a parser's subcommands."""
    epilog = None
    if command.examples:
        epilog = "examples:\n" + "\n".join(f"  {example}" for example in command.examples)
    details = ""
    if command.details:
        import textwrap

        details = textwrap.fill(command.details, 80)
    parser = subparsers.add_parser(
        command.name,
        help=command.summary,
        description="\n\n".join(filter(None, (command.summary, details))),
        epilog=epilog,
        formatter_class=_RawFormatter,
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
