"""``trimtab render``: the manifests of device groups, on stdout or in a folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_kernel.commandline import Command
from trimtab_kernel.problems import Collector, ExitCode, InputError, OutsideError, Problem, quoted

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from trimtab_config.catalog import Catalog
    from trimtab_config.emit.staging import Staging


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("path", type=Path, metavar="PATH", help="the fleet: a folder, or one file")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--group", action="append", metavar="G", help="render this device group; may be given again")
    what.add_argument("--all", action="store_true", help="render every device group")
    what.add_argument("--list-groups", action="store_true", help="print the names of the device groups, one a line")
    parser.add_argument(
        "--output-dir", type=Path, metavar="D", help="write D/<group>/manifests.yaml instead of one stream on stdout"
    )
    parser.add_argument("--why", action="store_true", help="say on stderr what each group gets and why")
    parser.add_argument("--price-book", metavar="NAME", help="use this price book instead of the newest one")


def run(arguments: argparse.Namespace) -> ExitCode:
    """Render, all or nothing: a problem in one group writes no file of another."""
    from trimtab_config.cli.fleet import open_fleet

    catalog = open_fleet(arguments.path)
    if arguments.list_groups:
        for name in sorted(catalog.groups):
            print(name)
        return ExitCode.DONE
    names = sorted(catalog.groups) if arguments.all else known_groups(catalog, arguments.group)
    from trimtab_config.emit.folder import write_groups
    from trimtab_config.emit.staging import Staging

    with Staging() as staging:
        stage_groups(catalog, names, staging, arguments.price_book)
        if arguments.why:
            _say_why(catalog, names)
        if arguments.output_dir is not None:
            write_groups(arguments.output_dir, staging.items())
            return ExitCode.DONE
        for _, content in staging.items():
            sys.stdout.write(content.decode())
    return ExitCode.DONE


def _say_why(catalog: Catalog, names: Iterable[str]) -> None:
    from trimtab_config.plan.planner import Planner
    from trimtab_config.text.plans import plan_lines

    planner = Planner(catalog)
    for name in names:
        print(*plan_lines(planner.plan(name)[0]), sep="\n", file=sys.stderr)


def stage_groups(catalog: Catalog, names: Iterable[str], staging: Staging, price_book: str | None = None) -> None:
    """Stage the YAML stream of each group. Raises InputError with the problems of all of them, OutsideError (disk)."""
    from trimtab_config.emit.yaml_stream import yaml_stream
    from trimtab_config.render.bundle import Compiler

    compiler = Compiler(catalog, price_book)
    problems = Collector()
    try:
        for name in names:
            bundle, found = compiler.compile(name)
            problems.extend(found)
            if bundle is not None and not problems.problems:
                staging.add(name, yaml_stream(bundle.objects))
    except OSError as error:
        raise OutsideError(f"cannot keep what is rendered: {error.strerror or error}") from error
    if problems.problems:
        raise InputError(*problems.problems)


def known_groups(catalog: Catalog, names: Iterable[str]) -> list[str]:
    """``names``, sorted and each once. Raises InputError (F311) for one that is not a device group of the tree."""
    from trimtab_config.spec.nearest import did_you_mean

    problems = []
    for name in names:
        if name in catalog.groups:
            continue
        hint = did_you_mean(name, catalog.groups) or "--list-groups prints them"
        problems.append(Problem("F311", got=quoted(name), expected="a device group of this tree", hint=hint))
    if problems:
        raise InputError(*problems)
    return sorted(set(names))


COMMAND = Command(
    name="render",
    summary="Print the manifests of a device group as one YAML stream, or write them to a folder.",
    examples=(
        "trimtab render examples/fleet --group kiosk-emea",
        "trimtab render examples/fleet --all --output-dir build",
        "trimtab render examples/fleet --list-groups",
        "trimtab render examples/fleet --group gateway-emea --why > /dev/null",
    ),
    configure=configure,
    run=run,
)
