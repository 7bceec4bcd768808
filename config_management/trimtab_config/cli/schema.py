"""``trimtab schema``: the JSON Schemas of the kinds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_kernel.commandline import Command
from trimtab_kernel.problems import ExitCode, InputError, OutsideError, Problem, quoted

if TYPE_CHECKING:
    import argparse

    from trimtab_config.spec.kinds import Kind


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("kind", nargs="?", metavar="KIND", help='a kind such as "EdgeAIDeployment"')
    parser.add_argument("--list", action="store_true", help="list the kinds with their API versions")
    parser.add_argument("--all", action="store_true", help="write the schemas of all kinds; needs --output-dir")
    parser.add_argument("--output-dir", type=Path, metavar="D", help="write D/<kind>.json instead of to stdout")
    parser.set_defaults(usage_error=parser.error)


def run(arguments: argparse.Namespace) -> ExitCode:
    """Print or write schemas. Raises InputError (F119) for a kind that there is not."""
    from trimtab_config.spec.kinds import KINDS
    from trimtab_config.spec.schema import schema_text

    if sum((arguments.kind is not None, arguments.list, arguments.all)) != 1:
        arguments.usage_error("expected one of KIND, --list and --all")
    if arguments.list:
        for kind in KINDS:
            print(f"{kind.name:<18}  {kind.api_version}")
        return ExitCode.DONE
    if arguments.all and arguments.output_dir is None:
        arguments.usage_error("--all needs --output-dir")
    chosen = KINDS if arguments.all else (kind_named(arguments.kind),)
    if arguments.output_dir is None:
        sys.stdout.write(schema_text(chosen[0]))
    else:
        _write(arguments.output_dir, chosen)
    return ExitCode.DONE


def kind_named(name: str) -> Kind:
    """The kind of this name, in any case. Raises InputError (F119) with the nearest right name."""
    from trimtab_config.spec.kinds import KINDS
    from trimtab_config.spec.nearest import did_you_mean

    for kind in KINDS:
        if name.casefold() in {kind.name.casefold(), kind.plural}:
            return kind
    names = [kind.name for kind in KINDS]
    expected = f"one of {', '.join(names)}"
    raise InputError(Problem("F119", got=quoted(name), expected=expected, hint=did_you_mean(name, names)))


def _write(folder: Path, kinds: tuple[Kind, ...]) -> None:
    from trimtab_config.spec.schema import schema_file, schema_text

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for kind in kinds:
            (folder / schema_file(kind)).write_text(schema_text(kind), "utf-8")
    except OSError as error:
        raise OutsideError(f"cannot write to {folder}: {(error.strerror or str(error)).lower()}") from error


COMMAND = Command(
    name="schema",
    summary="Print the JSON Schema of a kind, for editors and other tools.",
    examples=(
        "trimtab schema EdgeAIDeployment",
        "trimtab schema --list",
        "trimtab schema --all --output-dir build/schemas",
    ),
    configure=configure,
    run=run,
)
