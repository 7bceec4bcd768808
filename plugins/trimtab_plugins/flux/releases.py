"""From the files of a source to the release of every device group. Pure: the same files give the same bytes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from trimtab_config.compilation import FleetCompiler, RenderOptions
from trimtab_config.emit.yaml_stream import yaml_stream
from trimtab_config.sources.selection import is_manifest
from trimtab_kernel.problems import Collector, InputError, Problem, quoted
from trimtab_plugins.archives import LIMITS, ArchiveLimits, Links, read_archive, write_archive

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trimtab_plugins.archives.reader import Readable
    from trimtab_plugins.flux.kinds import FleetArtifact

KUSTOMIZATION = "kustomization.yaml"
MANIFESTS = "manifests.yaml"
_KUSTOMIZATION_BYTES = yaml_stream(
    ({"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": [MANIFESTS]},)
).encode()


@dataclass(frozen=True)
class Release:
    """What one group gets, packed when it is asked for: most commits leave most groups as they were.

    ``content`` is hex SHA-256 over the files and names the release: it does not change with the way they are packed.
    """

    group: str
    stream: bytes
    """The group's objects, as one YAML stream."""

    @property
    def files(self) -> dict[str, bytes]:
        """What the archive holds."""
        return {KUSTOMIZATION: _KUSTOMIZATION_BYTES, MANIFESTS: self.stream}

    @cached_property
    def content(self) -> str:
        """The content hash."""
        return content_hash(self.files)

    @cached_property
    def archive(self) -> bytes:
        """The files as a tar.gz that follows from them alone."""
        return write_archive(self.files)

    @cached_property
    def digest(self) -> str:
        """``sha256:<hex>`` over the bytes of the archive."""
        return f"sha256:{hashlib.sha256(self.archive).hexdigest()}"

    @property
    def size(self) -> int:
        """Bytes of the archive."""
        return len(self.archive)

    @property
    def revision(self) -> str:
        """``<group>@sha256:<content>``. Flux reconciles when it changes, and at no other time."""
        return revision_of(self.group, self.content)


def revision_of(group: str, content: str) -> str:
    """How a release is named in an artifact's ``revision``."""
    return f"{group}@sha256:{content}"


def content_hash(files: Mapping[str, bytes]) -> str:
    """Hex SHA-256 over the sorted lines ``<hex sha256 of the file>  <path>``, which is what ``sha256sum`` would print for them."""
    whole = hashlib.sha256()
    for path in sorted(files):
        whole.update(f"{hashlib.sha256(files[path]).hexdigest()}  {path}\n".encode())
    return whole.hexdigest()


def unpack_source(stream: Readable | bytes, folder: str, limits: ArchiveLimits = LIMITS) -> dict[str, bytes]:
    """The manifests below ``folder`` ("" for the root) of a source's archive, by path relative to it.

    Links are left out, as Flux does. Raises InputError: A3 for an archive that is refused, A404 where the folder holds no
    manifest.
    """
    prefix = f"{folder}/" if folder else ""

    def keep(path: str) -> bool:
        return path.startswith(prefix) and is_manifest(path[len(prefix) :])

    files = read_archive(stream, limits, keep=keep, links=Links.SKIP)
    if not files:
        raise InputError(
            Problem(
                "A404",
                got=f"no manifest in {quoted(folder or '.')}",
                expected="the folder of a fleet",
                hint="check spec.path",
            )
        )
    return {path[len(prefix) :]: content for path, content in files.items()}


def build_releases(files: Mapping[str, bytes], artifact: FleetArtifact, compiler: FleetCompiler) -> dict[str, Release]:
    """The release of every selected group, by group; all or nothing.

    Raises InputError with all problems of the tree and of the selected groups, A405 where no group is selected (removing
    all that is there would be the wrong answer to a label that was misspelt).
    """
    options = RenderOptions(price_book=artifact.spec.render.price_book, monitoring=artifact.spec.render.monitoring)
    fleet = compiler.open(files, artifact.folder, options)
    problems = Collector()
    selector = artifact.spec.groups
    missing = [name for name in selector.names if name not in fleet.catalog.groups]
    for name in missing:
        problems.add(
            Problem("A405", field="spec.groups.names", got=quoted(name), expected="a device group of the tree")
        )
    chosen = [
        name for name, document in fleet.catalog.groups.items() if selector.selects(name, document.metadata.labels)
    ]
    if not chosen and not missing:
        got = (
            f"none of {len(fleet.catalog.groups)} device groups"
            if fleet.catalog.groups
            else "a tree without device groups"
        )
        problems.add(Problem("A405", field="spec.groups", got=got, expected="at least one"))
    releases = {}
    for name in sorted(chosen):
        try:
            group = fleet.render(name)
        except InputError as error:
            problems.extend(error.problems)
            continue
        if not problems.problems:
            releases[name] = Release(name, group.stream)
    if problems.problems:
        raise InputError(*problems.problems)
    return releases
