"""``trimtab explain``: what a problem code means and what to do."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from trimtab_config.spec.nearest import did_you_mean
from trimtab_kernel.codes import ALL, BY_CODE
from trimtab_kernel.commandline import Command
from trimtab_kernel.problems import ExitCode, InputError, Problem, quoted

if TYPE_CHECKING:
    import argparse

    from trimtab_kernel.problems import Code


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("codes", nargs="*", default=[], metavar="CODE", help='a code such as "F104"; may be several')
    what.add_argument("--list", action="store_true", help="list all codes with their titles")


def run(arguments: argparse.Namespace) -> ExitCode:
    """Print the explanations. Raises InputError (F119) for a code that there is not."""
    if arguments.list:
        for code in sorted(ALL, key=lambda code: code.code):
            print(f"{code.code}  {code.title}")
        return ExitCode.DONE
    names = [name.upper() for name in arguments.codes]
    unknown = [
        Problem("F119", got=quoted(name), expected="a code that a message named", hint=_hint(name))
        for name in names
        if name not in BY_CODE
    ]
    if unknown:
        raise InputError(*unknown)
    print("\n\n".join(explanation(BY_CODE[name]) for name in names))
    return ExitCode.DONE


def _hint(name: str) -> str:
    return did_you_mean(name, BY_CODE, 0.7) or "'trimtab explain --list' shows all"


def explanation(code: Code) -> str:
    """The code's title, why it exists, and the next step, wrapped for a terminal."""
    parts = [f"{code.code}: {code.title}"]
    for heading, text in (("why", code.why), ("next step", code.next_step)):
        parts.append(textwrap.fill(text, 100, initial_indent=f"  {heading}: ", subsequent_indent="    "))
    return "\n".join(parts)


COMMAND = Command(
    name="explain",
    summary="Say why a problem code exists and what to do about it.",
    examples=("trimtab explain F104", "trimtab explain --list"),
    configure=configure,
    run=run,
)
