"""What the branch asks for, commit by commit. Trees are parsed once, by trimtab_config; nothing is decided here."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from trimtab_config.catalog import build_catalog
from trimtab_config.plan.planner import Planner
from trimtab_config.plan.rollouts import EVERYONE
from trimtab_config.sources.selection import is_manifest
from trimtab_config.spec.reader import read_documents
from trimtab_kernel.problems import InputError, sort_problems

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trimtab_config.catalog import Catalog
    from trimtab_config.git.repository import GitRepository
    from trimtab_config.plan.placement import Placement
    from trimtab_config.spec.kinds import Document
    from trimtab_kernel.problems import Problem

_KEPT = 8  # parsed trees in memory: head, base, proposals' heads and a few verified states


@dataclass(frozen=True, slots=True, order=True)
class Asked:
    """One deployment (``kind namespace/name``) that asks for one version of a model, for all devices or outside its wave."""

    deployment: str
    version: str


def asked_by(documents: Iterable[Document], model: str) -> frozenset[Asked]:
    """Which versions of ``model`` the deployments among ``documents`` ask for, stable ones included."""
    found = set()
    for document in documents:
        name = f"{document.kind} {document.metadata.namespace}/{document.metadata.name}"
        spec = document.spec
        if document.kind == "EdgeAIDeployment" and spec.model_ref.name == model:
            found.add(Asked(name, spec.model_ref.version))
            if spec.rollout.stable is not None:
                found.add(Asked(name, spec.rollout.stable.version))
        elif document.kind == "OnDeviceModel" and spec.model_id == model:
            found.add(Asked(name, spec.version))
    return frozenset(found)


def versions_of(placement: Placement) -> tuple[str, ...]:
    """The versions that devices of the group are told to run: the target's, and the stable one where not all are in."""
    found = []
    if placement.percent > 0:
        found.append(placement.target.version)
    if placement.percent < EVERYONE and placement.stable is not None:
        found.append(placement.stable.version)
    return tuple(found)


@dataclass(frozen=True)
class FleetAt:
    """The fleet as one commit describes it. ``problems`` are those of reading and of references."""

    commit: str
    files: Mapping[str, bytes]
    documents: tuple[Document, ...]
    catalog: Catalog
    problems: tuple[Problem, ...]

    @cached_property
    def _planned(self) -> tuple[dict[tuple[str, str], Placement], tuple[Problem, ...]]:
        planner = Planner(self.catalog)
        placements: dict[tuple[str, str], Placement] = {}
        problems: list[Problem] = []
        for group in self.catalog.groups:
            plan, found = planner.plan(group)
            problems.extend(found)
            for placement in plan.placements:
                placements[placement.model, group] = placement
        return placements, sort_problems(problems)

    @property
    def placements(self) -> Mapping[tuple[str, str], Placement]:
        """What each device group is told to run, by (model, group)."""
        return self._planned[0]

    @property
    def all_problems(self) -> tuple[Problem, ...]:
        """Everything that keeps some part of this fleet from being rendered."""
        return sort_problems((*self.problems, *self._planned[1]))

    def groups_asked(self, model: str, version: str) -> tuple[str, ...]:
        """The device groups that are told to run this version, on all of their devices or on some. Sorted."""
        return tuple(
            sorted(
                group
                for (name, group), placement in self.placements.items()
                if name == model and version in versions_of(placement)
            )
        )

    def asked(self, model: str) -> frozenset[Asked]:
        """Which deployments ask for which versions of ``model``."""
        return asked_by(self.documents, model)

    def devices(self, groups: Iterable[str]) -> dict[str, int]:
        """How many devices each of these groups declares; groups that are gone count none."""
        return {
            name: self.catalog.groups[name].spec.device_count if name in self.catalog.groups else 0 for name in groups
        }


class History:
    """One folder of one repository over time. May be used from any thread."""

    def __init__(self, repository: GitRepository, path: str) -> None:
        """``path`` is the fleet's folder within the repository, ``""`` for its root."""
        self.repository = repository
        self.path = path
        self._kept: OrderedDict[str, FleetAt] = OrderedDict()
        self._lock = threading.Lock()

    def fleet(self, commit: str) -> FleetAt:
        """The fleet at a commit.

        What is wrong with its files is in the result; raises OutsideError where the repository does not answer.
        """
        with self._lock:
            known = self._kept.get(commit)
            if known is not None:
                self._kept.move_to_end(commit)
                return known
            made = self._read(commit)
            self._kept[commit] = made
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            return made

    def _read(self, commit: str) -> FleetAt:
        unread: tuple[Problem, ...] = ()
        files: dict[str, bytes] = {}
        try:
            files = self.repository.files(commit, self.path)
        except InputError as error:
            unread = error.problems
        read = read_documents({name: content for name, content in files.items() if is_manifest(name)})
        catalog, problems = build_catalog(read.documents, read.lost)
        return FleetAt(commit, files, read.documents, catalog, sort_problems((*unread, *read.problems, *problems)))

    def changed_files(self, before: str, after: str) -> tuple[str, ...]:
        """Manifests of the folder that differ between two commits, by path in the repository."""
        prefix = f"{self.path}/" if self.path else ""
        return tuple(
            path
            for path in self.repository.changed_paths(before, after)
            if path.startswith(prefix) and is_manifest(path.removeprefix(prefix))
        )

    def documents(self, commit: str, paths: Iterable[str]) -> tuple[Document, ...]:
        """The objects in these files (paths in the repository) at a commit; what cannot be read gives none."""
        files = {}
        for path in paths:
            try:
                content = self.repository.file(commit, path)
            except InputError:
                continue
            if content is not None:
                files[path] = content
        return read_documents(files).documents
