"""``trimtab completion``: a completion script for the shell."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_kernel.commandline import Command, Parser, add_command
from trimtab_kernel.problems import ExitCode

if TYPE_CHECKING:
    import argparse

SHELLS = ("bash", "zsh", "fish")


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help="bash, zsh or fish")


def run(arguments: argparse.Namespace) -> ExitCode:
    """Print the script."""
    import shtab

    sys.stdout.write(shtab.complete(whole_parser(), arguments.shell) + "\n")
    return ExitCode.DONE


def whole_parser() -> Parser:
    """The parser of every command that is installed, with paths completed as files."""
    from trimtab_config.cli import commands

    parser = Parser(prog="trimtab", description="Runs AI models on edge fleets by Git.", allow_abbrev=False)
    below = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    for entry in commands():
        try:
            command: Command = entry.load()
        except ModuleNotFoundError:
            continue  # its extra is not installed, so there is nothing to complete
        add_command(below, command)
    _complete_files(parser)
    return parser


def _complete_files(parser: argparse.ArgumentParser) -> None:
    import argparse as arguments

    import shtab

    for action in parser._actions:
        if isinstance(action, arguments._SubParsersAction):
            for child in action.choices.values():
                _complete_files(child)
        elif action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined] # shtab reads this attribute of any action


COMMAND = Command(
    name="completion",
    summary="Print a completion script for bash, zsh or fish.",
    examples=(
        "trimtab completion bash > ~/.local/share/bash-completion/completions/trimtab",
        "trimtab completion zsh > ~/.zfunc/_trimtab",
        "trimtab completion fish > ~/.config/fish/completions/trimtab.fish",
    ),
    configure=configure,
    run=run,
)
