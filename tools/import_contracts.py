"""A kind of import contract of our own: third-party packages only where they are named (see pyproject.toml)."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import cast

import grimp
from importlinter import Contract, ContractCheck, fields, output

_ARROW = " <- "


class ThirdPartyContract(Contract):
    """Every direct import of a third-party package must be allowed by name; the standard library is always allowed.

    The world is closed: a package that no line of `allowed` names may be imported nowhere in `source_modules`, so that
    a new dependency cannot arrive unnoticed. Options:

    - `source_modules`: the packages to judge, their descendants included.
    - `allowed`: lines `package <- module module ...`; a module stands for itself and what lies under it.
    """

    type_name = "third_party"

    source_modules = fields.ListField(subfield=fields.StringField())
    allowed = fields.ListField(subfield=fields.StringField(), required=False, default=[])

    def check(self, graph: grimp.ImportGraph, verbose: bool) -> ContractCheck:
        """Collects every import of a package that is neither ours, nor the standard library's, nor allowed there."""
        # The linter replaces each field by the list that it parsed.
        importers = dict(_allowance(line) for line in cast("Iterable[str]", self.allowed))
        sources = tuple(cast("Iterable[str]", self.source_modules))
        ours = {module.partition(".")[0] for module in graph.modules if not graph.is_module_squashed(module)}
        broken: list[tuple[str, str, int]] = []
        for importer in graph.modules:
            if not any(_lies_in(importer, source) for source in sources):
                continue
            for imported in graph.find_modules_directly_imported_by(importer):
                package = imported.partition(".")[0]
                if package in ours or package in sys.stdlib_module_names:
                    continue
                if any(_lies_in(importer, place) for place in importers.get(package, ())):
                    continue
                details = graph.get_import_details(importer=importer, imported=imported)
                broken.extend((importer, imported, detail["line_number"]) for detail in details)
        return ContractCheck(kept=not broken, metadata={"broken": sorted(broken)})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Prints one line per import, and where to allow it."""
        for importer, imported, line in check.metadata["broken"]:
            output.print_error(f"- {importer} -> {imported} (l.{line})", bold=False)
        output.print_error("A new adapter is named in the contract, in pyproject.toml.", bold=False)
        output.new_line()


def _allowance(line: str) -> tuple[str, tuple[str, ...]]:
    package, arrow, places = line.partition(_ARROW)
    if not arrow or not places.split():
        message = f'contract line "{line}": expected "package{_ARROW}module module ..."'
        raise ValueError(message)
    return package.strip(), tuple(places.split())


def _lies_in(module: str, place: str) -> bool:
    return module == place or module.startswith(f"{place}.")
