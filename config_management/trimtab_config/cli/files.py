"""The files of the fleet that a command is about, named as they are reached from where one stands."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_config.sources.folder import Folder, read_folder
from trimtab_config.sources.selection import MAX_FILE_BYTES
from trimtab_kernel.problems import Problem

if TYPE_CHECKING:
    from trimtab_config.sources.survey import Survey

STDIN = Path("-")


def fleet_files(path: Path) -> tuple[dict[str, bytes], list[Problem]]:
    """The files at a path (a folder, a file, or stdin for "-"), and what could not be read. Raises nothing that a file can cause."""
    folder = _stdin() if path == STDIN else read_folder(path)
    is_folder = path != STDIN and path.is_dir()
    problems = [_placed(problem, path, is_folder=is_folder) for problem in folder.problems]
    if not is_folder:
        return {path.as_posix(): content for content in folder.files.values()}, problems
    prefix = _place(path, "x", is_folder=True)[:-1]  # pathlib a thousand times over would take as long as reading
    return {prefix + name: content for name, content in folder.files.items()}, problems


def surveyed(path: Path, now: int) -> Survey | None:
    """The same files of a folder, looked at and not read yet; ``now`` in nanoseconds.

    None for what is no folder, and where :func:`fleet_files` has something to say.
    """
    from trimtab_config.sources.survey import survey

    return survey(path, _place(path, "x", is_folder=True)[:-1], now)


def _stdin() -> Folder:
    # One byte more than may be: the reader then says that it is too much, and nobody waits for the rest.
    return Folder({"-": sys.stdin.buffer.read(MAX_FILE_BYTES + 1)}, ())


def _place(path: Path, name: str, *, is_folder: bool) -> str:
    return (path / name).as_posix() if is_folder else path.as_posix()


def _placed(problem: Problem, path: Path, *, is_folder: bool) -> Problem:
    file = _place(path, problem.file, is_folder=is_folder) if problem.file else path.as_posix()
    return Problem(problem.code, file, problem.line, problem.field, problem.got, problem.expected, problem.hint)
