"""The shape of a command, shared by ``trimtab`` and ``trimtab-edge``: help with examples, exit codes, errors for people."""

from __future__ import annotations

import argparse
import io
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
    """Run the chosen command; turn our errors into exit codes and lines on stderr, as ``ended_in_order`` does with others."""
    run: Callable[[argparse.Namespace], ExitCode] = arguments.run

    def work() -> ExitCode:
        try:
            return run(arguments)
        except InputError as error:
            print_problems(error.problems)
            return error.exit_code
        except TrimtabError as error:
            print(f"error: {printable(str(error))}", file=sys.stderr)  # noqa: T201 - stderr is for people
            return error.exit_code

    return ExitCode(ended_in_order(work))


def ended_in_order(work: Callable[[], int]) -> int:
    """The exit status of ``work``, flushed output included, whatever the system or the person at the keyboard does meanwhile.

    A reader that went away (``| head``) is no failure, a file or a disk that refuses is one line and OUTSIDE, as is Ctrl-C
    without the line. A mistake of the program is not hidden.
    """
    try:
        code = work()
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_output()
        return ExitCode.DONE
    except OSError as error:
        place = printable(os.fsdecode(error.filename)) if isinstance(error.filename, (str, bytes)) else "the output"
        reason = error.strerror or str(error)
        print(f"error: {place}: {printable(reason)}", file=sys.stderr)  # noqa: T201 - stderr is for people
        _forget_output()
        return ExitCode.OUTSIDE
    except KeyboardInterrupt:
        return ExitCode.OUTSIDE
    return code


def _forget_output() -> None:
    """What could not be written is not tried again: Python would, at exit, and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def open_streams() -> None:
    """Make the standard streams usable however the process was started.

    One that was closed (``>&-``) leads nowhere; otherwise the next file that is opened would take its number. What is not a
    terminal is written as UTF-8 under any locale, since programs read it; a terminal that lacks a character gets its escape.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            try:
                os.fstat(number)
            except OSError:
                os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - for good
    out = sys.stdout
    if isinstance(out, io.TextIOWrapper) and out.encoding.lower() not in {"utf-8", "utf8"}:
        if out.isatty():
            out.reconfigure(errors="backslashreplace")
        else:
            out.reconfigure(encoding="utf-8")


def print_problems(problems: Iterable[Problem]) -> None:
    """One line each on stderr, and at the end where to read more."""
    shown = list(problems)
    for problem in shown:
        print(str(problem), file=sys.stderr)  # noqa: T201 - stderr is for people
    codes = sorted({problem.code for problem in shown})
    if codes:
        asked = " ".join(codes[:4])
        count = f"{len(shown)} problem{'s' if len(shown) != 1 else ''}"
        print(f"{count}; 'trimtab explain {asked}' says more", file=sys.stderr)  # noqa: T201 - likewise


def print_json(value: object) -> None:
    """``value`` on stdout as JSON for machines: sorted keys, one trailing newline."""
    sys.stdout.write(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, default=str) + "\n")


def parse_and_run(parser: Parser, argv: Sequence[str] | None) -> int:
    """Parse ``argv`` and run; the value is the process's exit status."""
    return int(run_command(parser.parse_args(argv)))
