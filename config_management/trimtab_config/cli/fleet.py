"""Opening a fleet for a command: files, objects, catalog. Problems name files as they are reached from where one stands."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_config.catalog import build_catalog
from trimtab_config.sources.folder import Folder, read_folder
from trimtab_config.sources.selection import MAX_FILE_BYTES
from trimtab_config.spec.kinds import KINDS
from trimtab_config.spec.reader import ReadResult, read_documents
from trimtab_kernel.problems import InputError, Problem, sort_problems

if TYPE_CHECKING:
    from trimtab_config.catalog import Catalog
    from trimtab_config.compilation import CompiledFleet
    from trimtab_config.render.options import RenderOptions


STDIN = Path("-")


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
    folder = _stdin() if path == STDIN else read_folder(path)
    is_folder = path != STDIN and path.is_dir()
    problems = [_placed(problem, path, is_folder=is_folder) for problem in folder.problems]
    files = {_place(path, name, is_folder=is_folder): content for name, content in folder.files.items()}
    read = read_documents(files)
    problems += read.problems
    if not read.documents and not problems:
        problems.append(_nothing(path))
    catalog, found = build_catalog(read.documents, read.lost)
    if is_folder and not folder.problems:
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


def compiled_fleet(path: Path, options: RenderOptions) -> CompiledFleet:
    """The fleet at a path, ready to render. Raises InputError with everything that is wrong with it, references included."""
    from trimtab_config.compilation import FleetCompiler

    folder = _stdin() if path == STDIN else read_folder(path)
    is_folder = path != STDIN and path.is_dir()
    problems = [_placed(problem, path, is_folder=is_folder) for problem in folder.problems]
    files = {_place(path, name, is_folder=is_folder): content for name, content in folder.files.items()}
    try:
        fleet = FleetCompiler(options).open(files)
    except InputError as error:
        # What could not be read may be what a reference leads to.
        found = (problem for problem in error.problems if not (folder.problems and problem.code.startswith("F2")))
        raise InputError(*problems, *found) from None
    if fleet.is_empty and not problems:
        problems.append(_nothing(path))
    if problems:
        raise InputError(*problems)
    return fleet


def _nothing(path: Path) -> Problem:
    kinds = ", ".join(kind.name for kind in KINDS)
    return Problem("F117", str(path), 0, "", "no object of Trimtab's kinds", f"some of {kinds}")


def _stdin() -> Folder:
    # One byte more than may be: the reader then says that it is too much, and nobody waits for the rest.
    return Folder({"-": sys.stdin.buffer.read(MAX_FILE_BYTES + 1)}, ())


def _place(path: Path, name: str, *, is_folder: bool) -> str:
    return (path / name).as_posix() if is_folder else path.as_posix()


def _placed(problem: Problem, path: Path, *, is_folder: bool) -> Problem:
    file = _place(path, problem.file, is_folder=is_folder) if problem.file else path.as_posix()
    return Problem(problem.code, file, problem.line, problem.field, problem.got, problem.expected, problem.hint)
