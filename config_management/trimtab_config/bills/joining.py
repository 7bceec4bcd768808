"""Charges and the fleet: what a charge's tags say about where it belongs. Pure.

A tag counts where its key means one of the dimensions. Keys are compared by their last part, without case and
punctuation, so ``user:BusinessUnit``, ``apexlogic.ai/business-unit`` and ``label_business_unit`` all mean
``businessUnit``; what else shall mean a dimension is given by a mapping. A tag whose value the fleet does not have makes
the charge an orphan: the fleet is what the folder holds now, so what was removed is an orphan, and so is what never
belonged to it. What tags leave open is filled in where the fleet leaves no choice: the business unit of a model that
only one deployment runs is that deployment's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from trimtab_config.bills.charges import DIMENSIONS, NOWHERE, Place, Standing
from trimtab_config.spec.kinds import EdgeAIDeploymentSpec
from trimtab_config.spec.tags import tags_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trimtab_config.bills.charges import Charge
    from trimtab_config.catalog import Catalog

_PUNCTUATION = re.compile(r"[^a-z0-9]")
_LAST_PART = re.compile(r"[^:/]*\Z")
_PREFIXES = ("label", "user", "tag")
_MOST_KNOWN = 50_000
_ALSO = {
    "devicegroup": "group",
    "modelname": "model",
    "modelversion": "version",
    "application": "app",
    "env": "environment",
}


def _bare(key: str) -> str:
    return _PUNCTUATION.sub("", key.lower())


_SIMPLE = {**{_bare(dimension): dimension for dimension in DIMENSIONS}, **_ALSO}


class TagKeys:
    """Which tag key means which dimension.

    ``own`` maps keys of the bill, as they stand there, to dimensions ("" for none) and comes first.
    """

    def __init__(self, own: Mapping[str, str] | None = None) -> None:
        self._own = dict(own or {})
        self._known: dict[str, str | None] = {}

    def dimension(self, key: str) -> str | None:
        """The dimension of ``key``; None where it means none."""
        if key in self._own:
            return self._own[key] or None
        if key not in self._known:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key] = _meaning(key)
        return self._known[key]


def _meaning(key: str) -> str | None:
    match = _LAST_PART.search(key)
    name = _bare(match[0] if match else key)
    for prefix in ("", *_PREFIXES):
        if name.startswith(prefix) and name[len(prefix) :] in _SIMPLE:
            return _SIMPLE[name[len(prefix) :]]
    # A Kubernetes label with punctuation made underscores: fleet_apexlogic_ai_group.
    _, found, rest = name.partition("apexlogicai")
    return _SIMPLE.get(rest) if found else None


class Fleet:
    """What the fleet has, by dimension, and what belongs together in it."""

    def __init__(self, catalog: Catalog) -> None:
        self._values: dict[str, set[str]] = {dimension: set() for dimension in DIMENSIONS}
        self._versions: dict[str, set[str]] = {}
        self._deployed: set[tuple[tuple[str, str], ...]] = set()
        self._values["group"].update(catalog.groups)
        for name, model in catalog.models.items():
            self._values["model"].add(name)
            self._versions[name] = {str(version.version) for version in model.spec.versions}
        groups_of: dict[tuple[str, str], list[str]] = {}
        for group in catalog.groups:
            for document in catalog.deployments_of(group):
                groups_of.setdefault((document.metadata.namespace, document.metadata.name), []).append(group)
        for document in (*catalog.deployments.values(), *catalog.on_device_models.values()):
            spec = document.spec
            served = isinstance(spec, EdgeAIDeploymentSpec)
            model = spec.model_ref.name if served else spec.model_id
            version = str(spec.model_ref.version) if served else str(spec.version)
            self._values["model"].add(model)
            self._versions.setdefault(model, set()).add(version)
            tags = tags_of(document)
            for dimension, value in tags:
                self._values[dimension].add(value)
            groups = groups_of.get((document.metadata.namespace, document.metadata.name), []) if served else []
            for group in groups or [""]:
                known = {"model": model, **dict(tags)} | ({"group": group} if group else {})
                self._deployed.add(tuple(sorted(known.items())))

    def lacks(self, found: Mapping[str, str]) -> str:
        """The first value that the fleet does not have, as ``dimension=value``; "" where it has all of them."""
        for dimension in DIMENSIONS:
            value = found.get(dimension)
            if value is None:
                continue
            if dimension == "version":
                model = found.get("model")
                versions = self._versions.get(model, set()) if model else set().union(*self._versions.values())
                if value not in versions:
                    return f"version={f'{model} ' if model else ''}{value}"
            elif value not in self._values[dimension]:
                return f"{dimension}={value}"
        return ""

    def completed(self, found: Mapping[str, str]) -> dict[str, str]:
        """``found``, and what all deployments that agree with it have in common."""
        asked = {key: value for key, value in found.items() if key != "version"}
        fitting = [dict(each) for each in self._deployed if asked.items() <= dict(each).items()]
        if not fitting:
            return dict(found)
        first, *others = fitting
        common = {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}
        return {**common, **found}


class Joiner:
    """Joins charges to a fleet; what equal tags mean is worked out once."""

    def __init__(self, fleet: Fleet, keys: TagKeys) -> None:
        self._fleet = fleet
        self._keys = keys
        self._known: dict[tuple[tuple[str, str], ...], tuple[Standing, Place, str]] = {}

    def join(self, charge: Charge) -> Charge:
        """The charge with its standing. One that already has one keeps it."""
        if charge.standing is not Standing.UNJOINED:
            return charge
        found = self._known.get(charge.tags)
        if found is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            found = self._known[charge.tags] = self._judge(charge.tags)
        return charge.joined(*found)

    def joined(self, charges: Iterable[Charge]) -> Iterable[Charge]:
        """All of them, one after another."""
        return map(self.join, charges)

    def _judge(self, tags: tuple[tuple[str, str], ...]) -> tuple[Standing, Place, str]:
        found: dict[str, str] = {}
        for key, value in tags:
            dimension = self._keys.dimension(key)
            if dimension is not None and value.strip():
                found.setdefault(dimension, value.strip())
        if not found:
            return Standing.UNTAGGED, NOWHERE, ""
        orphan = self._fleet.lacks(found)
        if orphan:
            return Standing.ORPHANED, _place(found), orphan
        return Standing.ATTRIBUTED, _place(self._fleet.completed(found)), ""


def _place(found: Mapping[str, str]) -> Place:
    return Place(*(found.get(dimension, "") for dimension in DIMENSIONS))
