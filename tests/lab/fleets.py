"""Fleets for the lab: small ones in a repository of their own, whose objects go to a namespace of their own."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.config import small_fleet
from tests.repositories import ScratchRepository
from trimtab_config.compilation import FleetCompiler, RenderedGroup

FOLDER = "fleet"


def fleet_objects(namespace: str, devices: int, sites: int, prefix: str = "") -> dict[str, dict[str, Any]]:
    """Objects by file: groups ``edge-NN`` that run a DaemonSet, groups ``site-NN`` that run a Deployment, one model.

    ``prefix`` comes before the names of groups, not before those of files.
    """
    found = {
        "models/triage.yaml": small_fleet.model(),
        "prices/prices.yaml": small_fleet.price_book(),
        "deployments/edge.yaml": small_fleet.deployment("triage-edge"),
    }
    if sites:
        labels = {"deviceType": "site"}
        found["deployments/sites.yaml"] = small_fleet.deployment(
            "triage-sites", spec__targetDevices__labels=labels, spec__workload="Deployment"
        )
    for index in range(devices):
        found[f"groups/edge-{index:02}.yaml"] = small_fleet.group(
            f"{prefix}edge-{index:02}", spec__deviceCount=10 + index
        )
    for index in range(sites):
        labels = {"region": "EMEA", "deviceType": "site"}
        found[f"groups/site-{index:02}.yaml"] = small_fleet.group(f"{prefix}site-{index:02}", metadata__labels=labels)
    for item in found.values():
        item["metadata"]["namespace"] = namespace
    return found


@dataclass(slots=True)
class LabFleet:
    """A repository with a fleet in its folder ``fleet``; each push is one commit on ``main``."""

    repository: ScratchRepository
    namespace: str
    objects: dict[str, dict[str, Any]]
    others: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)

    @classmethod
    def create(cls, place: Path, namespace: str, devices: int = 1, sites: int = 0, prefix: str = "") -> LabFleet:
        """A fleet, pushed."""
        repository = ScratchRepository.create(place / f"{namespace}.git")
        made = cls(repository, namespace, fleet_objects(namespace, devices, sites, prefix))
        made.push()
        return made

    @property
    def url(self) -> str:
        """The repository as Argo CD and Flux name it."""
        return f"file://{self.repository.path}"

    @property
    def groups(self) -> list[str]:
        """The names of the groups, sorted."""
        return sorted(item["metadata"]["name"] for item in self.objects.values() if item["kind"] == "DeviceGroup")

    def application(self, group: str) -> str:
        """The name of a group's Application: unique in the cluster."""
        return f"{self.namespace}-{group}"

    def applications(self, groups: Iterable[str] | None = None) -> list[str]:
        """The names of these groups' Applications, or of all."""
        return [self.application(group) for group in (self.groups if groups is None else groups)]

    def push(self, others: Mapping[str, bytes] | None = None) -> str:
        """Commits the objects as they are now, and ``others`` by path from the repository's root; returns the commit."""
        self.others.update(others or {})
        self.commits.append(self.repository.commit(self.files() | self.others, *self.commits[-1:], branch="main"))
        return self.commits[-1]

    def change(self, file: str, **changes: object) -> str:
        """Commits a change of one object, by paths with two underscores for a dot; None takes a field out."""
        paths = {path.replace("__", "."): value for path, value in changes.items()}
        self.objects[file] = small_fleet.changed(self.objects[file], paths)
        return self.push()

    def add(self, file: str, item: Mapping[str, Any]) -> str:
        """Commits a new object."""
        self.objects[file] = copy.deepcopy(dict(item))
        self.objects[file]["metadata"]["namespace"] = self.namespace
        return self.push()

    def remove(self, file: str) -> str:
        """Commits the removal of an object."""
        del self.objects[file]
        return self.push()

    def files(self) -> dict[str, bytes]:
        """The fleet's files by path from the repository's root."""
        return {
            f"{FOLDER}/{file}": yaml.safe_dump(item, sort_keys=False).encode() for file, item in self.objects.items()
        }

    def rendered(self, group: str) -> RenderedGroup:
        """What `trimtab render` makes of a group now."""
        files = {name.removeprefix(f"{FOLDER}/"): content for name, content in self.files().items()}
        return FleetCompiler().open(files).render(group)
