"""The kind ``FleetArtifact``, as frozen types: how it is read here, and what its CRD is made from.

Field names are snake_case here and camelCase in YAML, as with the kinds that people write in Git.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from trimtab_config.compilation import Monitoring
from trimtab_config.spec.kinds import empty_mapping, part
from trimtab_config.spec.reader import read_object
from trimtab_config.spec.scalars import (
    DurationField,
    LabelKeyField,
    LabelNameField,
    LabelValueField,
    NameField,
    TextField,
    integer,
)
from trimtab_kernel.canonical import canonical_json
from trimtab_kernel.problems import InputError, Problem, quoted
from trimtab_kernel.records import dataclass

API_GROUP = "fleet.apexlogic.ai"
API_VERSION = "v1alpha1"
KIND = "FleetArtifact"
PLURAL = "fleetartifacts"

SOURCE_GROUP = "source.toolkit.fluxcd.io"
SOURCE_VERSION = "v1"

MIN_INTERVAL = datetime.timedelta(seconds=1)


class SourceKind(StrEnum):
    """The Flux sources that can hold a fleet."""

    GIT = "GitRepository"
    OCI = "OCIRepository"
    BUCKET = "Bucket"

    @property
    def plural(self) -> str:
        """As the API server's paths name it."""
        return {"GitRepository": "gitrepositories", "OCIRepository": "ocirepositories", "Bucket": "buckets"}[self]


@dataclass(frozen=True, slots=True)
class SourceReference:
    """The source, in the namespace of the FleetArtifact: no other namespace can be named."""

    kind: SourceKind
    name: NameField


@dataclass(frozen=True, slots=True)
class GroupSelector:
    """Which device groups of the tree get an artifact: those that match every label and, where names are given, are named. Empty: all."""

    match_labels: Mapping[LabelKeyField, LabelValueField] = empty_mapping()
    names: tuple[LabelNameField, ...] = ()

    def selects(self, group: str, labels: Mapping[str, str]) -> bool:
        """Whether a group with these labels is meant."""
        if self.names and group not in self.names:
            return False
        return all(labels.get(key) == value for key, value in self.match_labels.items())


@dataclass(frozen=True, slots=True)
class RenderSpec:
    """Options of the compiler; the same as those of the command line."""

    price_book: NameField | None = None
    monitoring: Monitoring = Monitoring.ANNOTATIONS


@dataclass(frozen=True, slots=True)
class FleetArtifactSpec:
    """One ExternalArtifact for each device group of the fleet that a source holds."""

    source_ref: SourceReference
    path: TextField = "."
    groups: GroupSelector = part(GroupSelector)
    render: RenderSpec = part(RenderSpec)
    interval: DurationField = datetime.timedelta(minutes=10)
    history: Annotated[int, integer(1, 100)] = 5
    suspend: bool = False


@dataclass(frozen=True, slots=True)
class FleetArtifact:
    """One object of the kind, as the API server gave it."""

    namespace: str
    name: str
    uid: str
    generation: int
    spec: FleetArtifactSpec
    requested_at: str = ""
    """The annotation ``reconcile.fluxcd.io/requestedAt``, by which people ask for a look at once."""

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return (self.namespace, self.name)

    @property
    def folder(self) -> str:
        """Where the fleet lies in the source, without "./"; "" for its root."""
        return "/".join(part for part in self.spec.path.split("/") if part not in {"", "."})


REQUESTED_AT = "reconcile.fluxcd.io/requestedAt"


def read_fleet_artifact(item: Mapping[str, Any]) -> FleetArtifact:
    """An object of the API server. Raises InputError with every problem of its ``spec``."""
    metadata = item["metadata"]
    place = f"{KIND}/{metadata['namespace']}/{metadata['name']}"
    spec = item.get("spec") or {}
    read = read_object(
        place, canonical_json({key: value for key, value in spec.items() if value is not None}), FleetArtifactSpec
    )
    problems = [
        Problem(p.code, place, 0, f"spec.{p.field}".rstrip("."), p.got, p.expected, p.hint) for p in read.problems
    ]
    if read.value is not None:
        problems += _beyond_shape(read.value, place)
    if problems or read.value is None:
        raise InputError(*problems)
    return FleetArtifact(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 1),
        spec=read.value,
        requested_at=(metadata.get("annotations") or {}).get(REQUESTED_AT, ""),
    )


def _beyond_shape(spec: FleetArtifactSpec, place: str) -> list[Problem]:
    """What the types do not say."""
    found = []
    if spec.path.startswith("/") or ".." in spec.path.split("/") or "\\" in spec.path:
        found.append(Problem("A403", place, 0, "spec.path", quoted(spec.path), "a path inside the source"))
    if spec.interval < MIN_INTERVAL:
        found.append(Problem("A403", place, 0, "spec.interval", f"{spec.interval.total_seconds():g}s", "at least 1s"))
    return found
