"""From the files of a commit to the files of every device group. Pure: the same files give the same bytes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from trimtab_config.catalog import build_catalog
from trimtab_config.emit.yaml_stream import yaml_stream
from trimtab_config.render.bundle import Compiler
from trimtab_config.spec.reader import read_documents
from trimtab_kernel.problems import Collector, InputError, Problem
from trimtab_plugins.sync.output import GroupFiles

if TYPE_CHECKING:
    from collections.abc import Mapping


def render_fleet(files: Mapping[str, bytes], prefix: str = "") -> dict[str, GroupFiles]:
    """What every group of the fleet gets, by group; all or nothing.

    ``files`` are those of the fleet folder, ``prefix`` is where it lies in the repository, so that problems name files as
    the repository does. Raises InputError with all problems of reading, of references and of compiling, and for a fleet
    without any group (G403): applying it would remove every group that is there.
    """
    read = read_documents(files)
    catalog, found = build_catalog(read.documents, read.lost)
    problems = Collector()
    problems.extend(read.problems)
    problems.extend(found)
    rendered: dict[str, GroupFiles] = {}
    if not problems.problems:
        compiler = Compiler(catalog)
        for group in catalog.groups:
            bundle, found = compiler.compile(group)
            problems.extend(found)
            if bundle is not None:
                rendered[group] = GroupFiles(yaml_stream(bundle.objects).encode(), bundle.desired.to_bytes())
        if not catalog.groups:
            problems.add(Problem("G403", got="no device group", expected="at least one"))
    if problems.problems:
        raise InputError(*(_placed(problem, prefix) for problem in problems.sorted()))
    return rendered


def _placed(problem: Problem, prefix: str) -> Problem:
    return replace(problem, file=f"{prefix}/{problem.file}".rstrip("/")) if prefix else problem
