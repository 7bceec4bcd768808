"""``trimtab render``: the manifests of device groups, on stdout or in a folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_kernel.commandline import Command
from trimtab_kernel.problems import Collector, ExitCode, InputError, OutsideError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from trimtab_config.catalog import Catalog
    from trimtab_config.compilation import CompiledFleet
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
    parser.add_argument(
        "--monitoring", choices=("annotations", "operator"), default="annotations",
        help="annotations: pods are scraped by annotation, rules are a ConfigMap (default); "
        "operator: PodMonitor and PrometheusRule of the Prometheus operator",
    )  # fmt: skip
    parser.add_argument(
        "--with-namespace", action="store_true", help="add the Namespace, marked so that no host tool prunes it"
    )


def run(arguments: argparse.Namespace) -> ExitCode:
    """Render, all or nothing: a problem in one group writes no file of another."""
    from trimtab_config.cli.fleet import compiled_fleet
    from trimtab_config.render.options import Monitoring, RenderOptions

    options = RenderOptions(arguments.price_book, Monitoring(arguments.monitoring), arguments.with_namespace)
    fleet = compiled_fleet(arguments.path, options)
    if arguments.list_groups:
        for name in fleet.groups:
            print(name)
        return ExitCode.DONE
    from trimtab_config.emit.folder import write_groups
    from trimtab_config.emit.staging import Staging

    with Staging() as staging:
        names = _stage(fleet, None if arguments.all else arguments.group, staging)
        if arguments.why:
            _say_why(fleet.catalog, names)
        if arguments.output_dir is not None:
            write_groups(arguments.output_dir, staging.items())
            return ExitCode.DONE
        for _, content in staging.items():
            sys.stdout.write(content.decode())
    return ExitCode.DONE


def _stage(fleet: CompiledFleet, asked: Iterable[str] | None, staging: Staging) -> list[str]:
    """Stage the YAML stream of each group that is asked for (None: of all), one at a time; their names.

    Raises InputError with the problems of all of them, OutsideError (disk).
    """
    names = fleet.known(asked)
    problems = Collector()
    try:
        for name in names:
            try:
                rendered = fleet.render(name)
            except InputError as error:
                problems.extend(error.problems)
                continue
            if not problems.problems:
                staging.add(name, rendered.stream)
    except OSError as error:
        raise OutsideError(f"cannot keep what is rendered: {error.strerror or error}") from error
    if problems.problems:
        raise InputError(*problems.problems)
    return names


def _say_why(catalog: Catalog, names: Iterable[str]) -> None:
    from trimtab_config.plan.planner import Planner
    from trimtab_config.text.plans import plan_lines

    planner = Planner(catalog)
    for name in names:
        print(*plan_lines(planner.plan(name)[0]), sep="\n", file=sys.stderr)


COMMAND = Command(
    name="render",
    summary="Print the manifests of a device group as one YAML stream, or write them to a folder.",
    examples=(
        "trimtab render examples/fleet --group kiosk-emea",
        "trimtab render examples/fleet --all --output-dir build",
        "trimtab render examples/fleet --list-groups",
        "trimtab render examples/fleet --all --monitoring operator --with-namespace",
        "trimtab render examples/fleet --group gateway-emea --why > /dev/null",
    ),
    configure=configure,
    run=run,
)
