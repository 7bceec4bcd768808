"""What a change would do to the bill, and whether it would be let through: the fleet compiled as it would be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trimtab_config.advice.advice import difference
from trimtab_config.catalog import build_catalog
from trimtab_config.cost.estimate import estimate
from trimtab_config.spec.reader import read_documents
from trimtab_kernel.problems import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from trimtab_config.advice.advice import Saving
    from trimtab_config.catalog import Catalog
    from trimtab_config.compilation import FleetCompiler
    from trimtab_config.cost.report import CostReport
    from trimtab_config.spec.kinds import Document


@dataclass(slots=True)
class Trials:
    """A sound fleet, and what it would be after one change. ``compiler`` judges by policy as it does for every door."""

    files: Mapping[str, bytes]
    compiler: FleetCompiler
    price_book: str | None = None
    catalog: Catalog = field(init=False)
    report: CostReport = field(init=False)
    _by_file: dict[str, tuple[Document, ...]] = field(init=False)

    def __post_init__(self) -> None:
        """Raises InputError with all problems of the fleet as it is."""
        read = read_documents(self.files)
        self._by_file = dict.fromkeys(self.files, ())
        for document in read.documents:
            self._by_file[document.origin.file] += (document,)
        self.catalog, problems = build_catalog(read.documents, read.lost)
        if read.problems or problems:
            raise InputError(*read.problems, *problems)
        self.report, found = estimate(self.catalog, None, self.price_book)
        if found:
            raise InputError(*found)
        self.compiler.open(self.files).render_all()

    def saving(
        self,
        changes: Mapping[str, bytes | None],
        groups: Iterable[str],
        worth: Callable[[tuple[Saving, ...]], bool] = lambda _: True,
    ) -> tuple[Saving, ...] | None:
        """What the change saves in these groups, by currency.

        None where it breaks something, where a policy refuses it, and where it is not ``worth`` asking that.
        """
        read = read_documents({path: content for path, content in changes.items() if content is not None})
        by_file = {path: documents for path, documents in self._by_file.items() if path not in changes}
        documents = [each for found in by_file.values() for each in found]
        catalog, problems = build_catalog([*documents, *read.documents], read.lost)
        if read.problems or problems:
            return None
        named = set(groups)
        wanted = sorted(named & catalog.groups.keys())
        report, found = estimate(catalog, wanted, self.price_book)
        if found:
            return None
        rows = [row for row in self.report.rows if row.group in named]
        currencies = sorted({row.currency for row in (*rows, *report.rows)})
        savings = tuple(
            difference(
                currency,
                [row.total for row in rows if row.currency == currency],
                [row.total for row in report.rows if row.currency == currency],
            )
            for currency in currencies
        )
        if not worth(savings):
            return None
        after = {path: content for path, content in {**self.files, **changes}.items() if content is not None}
        try:
            compiled = self.compiler.open(after)
            for name in wanted:
                compiled.render(name)
        except InputError:
            return None
        return savings
