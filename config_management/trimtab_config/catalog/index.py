"""The catalog: every object by name, and which deployments a device group gets.

References carry no namespace, so names of groups, models, policies and price books are unique in a tree whatever their
namespace; deployments, OnDeviceModels and Holds are referred to by nobody and are keyed ``namespace/name``.
"""

from __future__ import annotations

from operator import is_
from types import MappingProxyType
from typing import TYPE_CHECKING

from trimtab_config.catalog.references import reference_problems, references_of
from trimtab_config.spec.reader import Lost
from trimtab_kernel.problems import Collector, Problem, quoted
from trimtab_kernel.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trimtab_config.spec.kinds import Document


@dataclass(frozen=True, slots=True)
class Catalog:
    """All objects of a tree. The mappings are sorted by key and do not change."""

    groups: Mapping[str, Document]
    models: Mapping[str, Document]
    deployments: Mapping[str, Document]
    on_device_models: Mapping[str, Document]
    finops_policies: Mapping[str, Document]
    alignment_policies: Mapping[str, Document]
    price_books: Mapping[str, Document]
    holds: Mapping[str, Document]
    _selected: Mapping[str, tuple[Document, ...]]

    def deployments_of(self, group: str) -> tuple[Document, ...]:
        """The EdgeAIDeployments whose labels choose ``group``, sorted by namespace and name.

        Raises KeyError for a group that is not in the tree.
        """
        self.groups[group]
        return self._selected.get(group, ())

    def differs_in_groups_alone(self, other: Catalog) -> bool:
        """Whether every object but the device groups is the very same one in both."""
        return all(
            len(mine) == len(theirs) and all(map(is_, mine.values(), theirs.values()))
            for mine, theirs in ((getattr(self, name), getattr(other, name)) for name in TABLES if name != "groups")
        )

    def labels_as(self, other: Catalog) -> bool:
        """Whether both have the same groups with the same labels."""
        mine, theirs = self.groups, other.groups
        return mine.keys() == theirs.keys() and all(
            group is theirs[name] or group.metadata.labels == theirs[name].metadata.labels
            for name, group in mine.items()
        )


_BY_NAME = {
    "DeviceGroup": "groups",
    "Model": "models",
    "FinOpsPolicy": "finops_policies",
    "AIAlignmentPolicy": "alignment_policies",
    "PriceBook": "price_books",
}
_BY_NAMESPACE_AND_NAME = {
    "EdgeAIDeployment": "deployments",
    "OnDeviceModel": "on_device_models",
    "Hold": "holds",
}
TABLES = (*_BY_NAME.values(), *_BY_NAMESPACE_AND_NAME.values())
"""The mappings of a catalog, by attribute."""


def build_catalog(
    documents: Iterable[Document], lost: Lost | None = None, before: Catalog | None = None
) -> tuple[Catalog, tuple[Problem, ...]]:
    """The catalog of ``documents``, and the problems between them: names used twice, references to nothing.

    ``lost`` says what was written down but could not be read, so that references to it are not reported as well. Where
    there are problems the catalog is what could be made of the rest: good for finding more problems, not for rendering.
    ``before`` is a catalog without problems: what was found out of it is taken over where nothing that matters changed.
    """
    collector = Collector()
    tables: dict[str, dict[str, Document]] = {name: {} for name in TABLES}
    for document in documents:
        metadata = document.metadata
        if table := _BY_NAME.get(document.kind):
            first = tables[table].setdefault(metadata.name, document)
            if first is not document:
                collector.add(_twice(document, first))
        else:
            tables[_BY_NAMESPACE_AND_NAME[document.kind]][f"{metadata.namespace}/{metadata.name}"] = document
    frozen = {name: MappingProxyType(dict(sorted(table.items()))) for name, table in tables.items()}
    if before is not None:
        catalog = Catalog(**frozen, _selected=before._selected)
        # Labels are all that other objects see of a group, and references are to labels and names.
        if catalog.differs_in_groups_alone(before) and catalog.labels_as(before):
            return catalog, collector.sorted()
    selected = _select(frozen["groups"], frozen["deployments"].values())
    catalog = Catalog(**frozen, _selected=MappingProxyType(selected))
    collector.extend(reference_problems(catalog, Lost() if lost is None else lost))
    return catalog, collector.sorted()


def with_deployment(before: Catalog, document: Document) -> tuple[Catalog, tuple[Problem, ...]]:
    """The catalog in which an EdgeAIDeployment or OnDeviceModel has the place of the one of its kind, namespace and name.

    The problems are the document's own. For whoever judges one document after another: of a catalog without problems only
    what a single deployment changes is worked out anew.
    """
    table, key = _BY_NAMESPACE_AND_NAME[document.kind], f"{document.metadata.namespace}/{document.metadata.name}"
    tables = {name: getattr(before, name) for name in TABLES}
    old = tables[table].get(key)
    tables[table] = MappingProxyType(dict(sorted({**tables[table], key: document}.items())))
    selected, reached = before._selected, frozenset[str]()
    if table == "deployments":
        reached = _reached(before.groups, document)
        changed = dict(selected)
        for name in reached | (frozenset() if old is None else _reached(before.groups, old)):
            found = [each for each in changed.pop(name, ()) if each is not old]
            if name in reached:
                found = sorted((*found, document), key=_key)
            if found:
                changed[name] = tuple(found)
        selected = MappingProxyType(changed)
    catalog = Catalog(**tables, _selected=selected)
    return catalog, references_of(catalog, document, reached)


def _key(document: Document) -> str:
    return f"{document.metadata.namespace}/{document.metadata.name}"


def _reached(groups: Mapping[str, Document], deployment: Document) -> frozenset[str]:
    wanted = deployment.spec.target_devices.labels.items()
    return frozenset(name for name, group in groups.items() if wanted and wanted <= group.metadata.labels.items())


def _twice(document: Document, first: Document) -> Problem:
    return Problem(
        "F201",
        document.origin.file,
        document.origin.line_of("metadata.name"),
        "metadata.name",
        f"{document.kind} {quoted(document.metadata.name)} in namespaces {first.metadata.namespace}"
        f" and {document.metadata.namespace}",
        f"each {document.kind} name once in the tree",
        f"the first one is at {first.origin.file}:{first.origin.line}",
    )


def _select(groups: Mapping[str, Document], deployments: Iterable[Document]) -> dict[str, tuple[Document, ...]]:
    """Which deployments each group gets: by an index over labels, since groups times deployments can be millions."""
    having: dict[tuple[str, str], set[str]] = {}
    for name, group in groups.items():
        for label in group.metadata.labels.items():
            having.setdefault(label, set()).add(name)
    chosen: dict[str, list[Document]] = {}
    for deployment in deployments:
        sets = [having.get(label, set()) for label in deployment.spec.target_devices.labels.items()]
        for name in set.intersection(*sorted(sets, key=len)) if sets else ():
            chosen.setdefault(name, []).append(deployment)
    return {name: tuple(found) for name, found in chosen.items()}
