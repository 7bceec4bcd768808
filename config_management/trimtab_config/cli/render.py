"""``trimtab render``: the manifests of device groups, on stdout or in a folder."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_config.cli.arguments import add_policies
from trimtab_kernel.commandline import Command
from trimtab_kernel.problems import Collector, ExitCode, InputError, OutsideError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Mapping

    from trimtab_config.catalog import Catalog
    from trimtab_config.compilation import CompiledFleet
    from trimtab_config.compilation.store import Store
    from trimtab_config.compilation.stored import StoredFleet
    from trimtab_config.emit.staging import Staging
    from trimtab_config.render.options import RenderOptions
    from trimtab_config.sources.tree import Tree
    from trimtab_kernel.problems import Problem


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
    add_policies(parser)
    cache = parser.add_mutually_exclusive_group()
    cache.add_argument(
        "--cache", type=Path, metavar="DIR",
        help="where to keep what a later run can use (default: $TRIMTAB_CACHE, else $XDG_CACHE_HOME/trimtab/compile)",
    )  # fmt: skip
    cache.add_argument("--no-cache", action="store_true", help="use nothing of earlier runs, and leave nothing")


def run(arguments: argparse.Namespace) -> ExitCode:
    """Render, all or nothing: a problem in one group writes no file of another."""
    from trimtab_config.emit.staging import Staging
    from trimtab_config.render.options import Monitoring, RenderOptions

    options = RenderOptions(arguments.price_book, Monitoring(arguments.monitoring), arguments.with_namespace)
    with Staging() as staging:
        with _without_collections():
            _stage_asked(arguments, options, staging)
        if arguments.output_dir is not None:
            from trimtab_config.emit.folder import write_groups

            write_groups(arguments.output_dir, staging.items())
            return ExitCode.DONE
        for _, content in staging.items():
            sys.stdout.write(content.decode())
    return ExitCode.DONE


def _stage_asked(arguments: argparse.Namespace, options: RenderOptions, staging: Staging) -> None:
    """Stage what is asked for: from what earlier runs left where that can be, else from the whole tree."""
    from trimtab_config.cli.files import STDIN, fleet_files, surveyed
    from trimtab_config.sources.tree import ChangedError, FilesInMemory

    # What is kept was judged by the shipped rules alone.
    store = None if arguments.path == STDIN or arguments.policies else _store(arguments)
    tree = None if store is None else surveyed(arguments.path, time.time_ns())
    if store is not None and tree is not None:
        try:
            _stage_kept(arguments, options, store, tree, staging)
        except ChangedError:  # somebody writes there just now: whatever is there when all is read
            staging.clear()
        else:
            return
    files, problems = fleet_files(arguments.path)
    if store is None or problems:
        _compiled(arguments, files, problems, options, None, staging)
    else:
        _stage_kept(arguments, options, store, FilesInMemory(files), staging)


def _stage_kept(
    arguments: argparse.Namespace, options: RenderOptions, store: Store, tree: Tree, staging: Staging
) -> None:
    from trimtab_config.compilation.stored import StoredFleet

    stored = StoredFleet(store, str(arguments.path.resolve()), tree, options)
    if arguments.why or not _from_store(stored, arguments, staging):
        _compiled(arguments, tree.contents(), [], options, stored, staging)
    stored.close()


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    """Nothing that a compile makes refers to itself, so looking for cycles in all of a fleet finds none, again and again."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            if not gc.get_freeze_count():  # what a caller froze stays frozen
                # Straight to the oldest generation: else all of it would be looked through at once, as if it were new.
                gc.freeze()
                gc.unfreeze()
            gc.enable()


def _store(arguments: argparse.Namespace) -> Store | None:
    """What earlier runs left; None where no cache is wanted or can be used."""
    from trimtab_config.compilation.store import Store, default_folder

    folder = arguments.cache or default_folder(os.environ)
    if arguments.no_cache or folder is None:
        return None
    try:
        return Store(folder)
    except OSError as error:
        if arguments.cache is not None:
            print(f"no cache is used: {error.filename or folder}: {error.strerror or error}", file=sys.stderr)
        return None


def _from_store(stored: StoredFleet, arguments: argparse.Namespace, staging: Staging) -> bool:
    """Stage what is asked for without reading the whole tree; False where that cannot be."""
    from trimtab_config.compilation.selection import known_groups

    heads = stored.heads
    if heads is None:
        return False
    if arguments.list_groups:
        _stage_names(heads.groups, staging)
        return True
    names = known_groups(heads.groups, None if arguments.all else arguments.group)
    missing = [name for name in names if not stored.has(name)]
    fresh = dict(stored.compiled(missing)) if missing else {}
    findings = Collector()
    try:
        for name in names:
            found = fresh[name] if name in fresh else stored.stored(name)
            if found is None:
                staging.clear()
                return False
            findings.extend(found.findings)
            staging.add(name, found.stream)
    except OSError as error:
        raise _disk(error) from error
    _warn(findings)
    return True


def _compiled(
    arguments: argparse.Namespace,
    files: Mapping[str, bytes],
    problems: list[Problem],
    options: RenderOptions,
    stored: StoredFleet | None,
    staging: Staging,
) -> None:
    """Stage what is asked for from the whole tree, and leave it for later runs."""
    from trimtab_config.cli.fleet import bundles_asked, compiled_fleet

    fleet = compiled_fleet(arguments.path, files, problems, options, bundles_asked(arguments))
    if stored is not None:
        stored.learn(fleet)
    if arguments.list_groups:
        _stage_names(fleet.groups, staging)
        return
    names = _stage(fleet, None if arguments.all else arguments.group, staging, stored)
    if arguments.why:
        _say_why(fleet.catalog, names)


def _stage_names(names: Iterable[str], staging: Staging) -> None:
    staging.add("", "".join(f"{name}\n" for name in names).encode())


def _stage(
    fleet: CompiledFleet, asked: Iterable[str] | None, staging: Staging, stored: StoredFleet | None
) -> list[str]:
    """Stage the YAML stream of each group that is asked for (None: of all), one at a time; their names.

    Raises InputError with the problems of all of them (PolicyRefusedError where policy alone refuses), OutsideError (disk).
    """
    from trimtab_config.policy.gate import raise_problems

    names = fleet.known(asked)
    problems, findings = Collector(), Collector()
    try:
        for name in names:
            try:
                rendered = fleet.render(name)
            except InputError as error:
                problems.extend(error.problems)
                continue
            findings.extend(rendered.findings)
            if not problems.problems:
                staging.add(name, rendered.stream)
            if stored is not None:
                stored.keep(name, rendered)
    except OSError as error:
        raise _disk(error) from error
    _warn(findings)
    raise_problems(problems.sorted())
    return names


def _warn(findings: Collector) -> None:
    if findings.problems:
        from trimtab_config.policy.gate import WARNED

        for finding in findings.sorted():
            if finding.code == WARNED:
                print(str(finding), file=sys.stderr)


def _disk(error: OSError) -> OutsideError:
    return OutsideError(f"cannot keep what is rendered: {error.strerror or error}")


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
