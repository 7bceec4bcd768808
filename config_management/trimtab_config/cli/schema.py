"""``trimtab schema``: the JSON Schemas and the CustomResourceDefinitions of the kinds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_kernel.commandline import Command
from trimtab_kernel.problems import ExitCode, InputError, OutsideError, Problem, quoted

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from trimtab_config.spec.kinds import Kind


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("kind", nargs="?", metavar="KIND", help='a kind such as "EdgeAIDeployment"')
    parser.add_argument("--list", action="store_true", help="list the kinds with their API versions")
    parser.add_argument("--all", action="store_true", help="write the schemas of all kinds; needs --output-dir")
    parser.add_argument(
        "--output-dir", type=Path, metavar="D", help="write a file per kind into D instead of to stdout"
    )
    parser.add_argument(
        "--crd",
        action="store_true",
        help="the CustomResourceDefinition for a cluster (YAML) instead of the JSON Schema",
    )
    parser.set_defaults(usage_error=parser.error)


def run(arguments: argparse.Namespace) -> ExitCode:
    """Print or write schemas or definitions. Raises InputError (F119) for a kind that there is not."""
    from trimtab_config.spec.kinds import KINDS

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
        sys.stdout.write(_file(chosen[0], crd=arguments.crd)[1])
    else:
        _write(arguments.output_dir, (_file(kind, crd=arguments.crd) for kind in chosen))
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


def _file(kind: Kind, *, crd: bool) -> tuple[str, str]:
    """Name and text of one kind's file."""
    if crd:
        from trimtab_config.emit.yaml_stream import yaml_stream
        from trimtab_config.spec.crd import crd_file, crd_of

        return crd_file(kind), yaml_stream([crd_of(kind)])
    from trimtab_config.spec.schema import schema_file, schema_text

    return schema_file(kind), schema_text(kind)


def _write(folder: Path, files: Iterable[tuple[str, str]]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files:
            (folder / name).write_text(text, "utf-8")
    except OSError as error:
        raise OutsideError(f"cannot write to {folder}: {(error.strerror or str(error)).lower()}") from error


COMMAND = Command(
    name="schema",
    summary="Print the JSON Schema of a kind for editors, or its CustomResourceDefinition for a cluster.",
    examples=(
        "trimtab schema EdgeAIDeployment",
        "trimtab schema EdgeAIDeployment --crd",
        "trimtab schema --list",
        "trimtab schema --all --output-dir build/schemas",
    ),
    configure=configure,
    run=run,
)
