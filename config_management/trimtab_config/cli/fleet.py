"""Opening a fleet for a command: files, objects, catalog. Problems name files as they are reached from where one stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimtab_config.catalog import build_catalog
from trimtab_config.cli.files import STDIN, fleet_files
from trimtab_config.spec.kinds import KINDS
from trimtab_config.spec.reader import ReadResult, read_documents
from trimtab_kernel.problems import InputError, Problem, sort_problems
from trimtab_kernel.records import dataclass

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from trimtab_config.catalog import Catalog
    from trimtab_config.compilation import CompiledFleet
    from trimtab_config.policy.bundle import PolicyBundle
    from trimtab_config.render.options import RenderOptions


@dataclass(frozen=True, slots=True)
class Fleet:
    """What stands at a path. ``problems`` hold everything that is wrong with it; references only where it is a folder."""

    catalog: Catalog
    read: ReadResult
    files: int
    is_folder: bool
    problems: tuple[Problem, ...]


def read_fleet(path: Path) -> Fleet:
    """Read a folder, a file, or what comes on stdin for the path "-". Raises nothing that a file can cause."""
    files, problems = fleet_files(path)
    whole, is_folder = not problems, path != STDIN and path.is_dir()
    read = read_documents(files)
    problems += read.problems
    if not read.documents and not problems:
        problems.append(_nothing(path))
    catalog, found = build_catalog(read.documents, read.lost)
    if is_folder and whole:
        problems += found
    return Fleet(catalog, read, len(files), is_folder, sort_problems(problems))


def open_fleet(path: Path) -> Catalog:
    """The catalog of a fleet without problems, references included. Raises InputError with all there are."""
    fleet = read_fleet(path)
    problems = fleet.problems
    if not fleet.is_folder and not problems:
        problems = build_catalog(fleet.read.documents, fleet.read.lost)[1]
    if problems:
        raise InputError(*problems)
    return fleet.catalog


def compiled_fleet(
    path: Path,
    files: Mapping[str, bytes],
    problems: list[Problem],
    options: RenderOptions,
    policies: Sequence[PolicyBundle] = (),
) -> CompiledFleet:
    """The fleet at a path, of what :func:`fleet_files` gives, ready to render; ``policies`` hold beside the shipped ones.

    Raises InputError with everything that is wrong with it, references included.
    """
    from trimtab_config.compilation import FleetCompiler

    try:
        fleet = FleetCompiler(options, policies, most_objects=0).open(files)
    except InputError as error:
        # What could not be read may be what a reference leads to.
        found = (problem for problem in error.problems if not (problems and problem.code.startswith("F2")))
        raise InputError(*problems, *found) from None
    if fleet.is_empty and not problems:
        problems.append(_nothing(path))
    if problems:
        raise InputError(*problems)
    return fleet


def bundles_asked(arguments: argparse.Namespace) -> tuple[PolicyBundle, ...]:
    """The bundles that ``add_policies`` was told. Raises InputError (F505, F510), TrustError (F509) for one not signed."""
    from trimtab_config.cli.arguments import trust_asked
    from trimtab_config.policy.shipped import bundle_at

    trust = trust_asked(arguments)
    return tuple(bundle_at(folder, trust) for folder in arguments.policies)


def _nothing(path: Path) -> Problem:
    kinds = ", ".join(kind.name for kind in KINDS)
    return Problem("F117", str(path), 0, "", "no object of Trimtab's kinds", f"some of {kinds}")
