"""Compiling a tree for a door: Argo CD, Flux, a KRM function, an OCI artifact or the command line.

Doors translate and decide nothing, so all of them call :class:`FleetCompiler` and get the same objects for the same files.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from trimtab_config.catalog import TABLES, build_catalog
from trimtab_config.emit.yaml_stream import yaml_stream
from trimtab_config.render.bundle import Compiler
from trimtab_config.render.options import RenderOptions
from trimtab_config.spec.nearest import did_you_mean
from trimtab_config.spec.reader import read_documents
from trimtab_kernel.canonical import canonical_json
from trimtab_kernel.problems import Collector, InputError, Problem, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trimtab_config.catalog import Catalog
    from trimtab_config.render.bundle import Bundle
    from trimtab_kernel.desired import DesiredDocument


@dataclass(frozen=True)
class RenderedGroup:
    """All objects of one device group, sorted by apiVersion, kind, namespace and name; never empty."""

    group: str
    namespace: str
    objects: tuple[Mapping[str, Any], ...]
    desired: DesiredDocument

    @cached_property
    def manifests(self) -> tuple[str, ...]:
        """The canonical JSON of each object, in the order of ``objects``."""
        return tuple(canonical_json(item).decode() for item in self.objects)

    @cached_property
    def stream(self) -> bytes:
        """The objects as one YAML stream: the bytes of ``manifests.yaml`` through every door that writes files."""
        return yaml_stream(self.objects).encode()

    @cached_property
    def content_digest(self) -> str:
        """Hex SHA-256 over ``stream``: what a revision is made of."""
        return hashlib.sha256(self.stream).hexdigest()


class CompiledFleet:
    """One tree, read and found sound, of which groups can be rendered. Safe to use from several threads."""

    def __init__(self, catalog: Catalog, options: RenderOptions, prefix: str = "") -> None:
        """``prefix`` is where the fleet lies in its repository; problems name files as the repository does."""
        self.catalog = catalog
        self.options = options
        self._prefix = prefix
        self._compiler = Compiler(catalog, options)
        self._lock = threading.Lock()

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of the device groups, sorted."""
        return tuple(sorted(self.catalog.groups))

    @property
    def is_empty(self) -> bool:
        """Whether the tree holds no object at all."""
        return not any(getattr(self.catalog, name) for name in TABLES)

    def known(self, asked: Iterable[str] | None = None) -> list[str]:
        """The names in ``asked``, sorted and each once; all groups for None.

        Raises InputError: F311 for each that is no group of the tree, G403 where there is no group at all.
        """
        if asked is not None:
            return known_groups(self.catalog, asked)
        if not self.catalog.groups:
            raise InputError(Problem("G403", got="no device group", expected="at least one"))
        return list(self.groups)

    def render(self, group: str) -> RenderedGroup:
        """One group. Raises InputError: F311 for a group that the tree does not have, else what keeps it from compiling."""
        self.known((group,))
        with self._lock:
            bundle, found = self._compiler.compile(group)
        if bundle is None:
            raise InputError(*placed(found, self._prefix))
        return _rendered(bundle)

    def render_all(self) -> dict[str, RenderedGroup]:
        """Every group, all or nothing.

        Raises InputError with the problems of all groups, and for a fleet without any group (G403): applying that would
        remove every group that is there.
        """
        problems = Collector()
        rendered: dict[str, RenderedGroup] = {}
        for name in self.groups:
            with self._lock:
                bundle, found = self._compiler.compile(name)
            problems.extend(found)
            if bundle is not None and not problems.problems:
                rendered[name] = _rendered(bundle)
        if not self.catalog.groups:
            problems.add(Problem("G403", got="no device group", expected="at least one"))
        if problems.problems:
            raise InputError(*placed(problems.sorted(), self._prefix))
        return rendered


class FleetCompiler:
    """Opens trees, one after another, and keeps what is the same from one to the next. Safe to use from several threads."""

    def __init__(self, options: RenderOptions | None = None) -> None:
        self._options = options or RenderOptions()

    def open(self, files: Mapping[str, bytes], prefix: str = "", options: RenderOptions | None = None) -> CompiledFleet:
        """Read a tree. ``files`` are those of the fleet's folder, by path relative to it.

        Raises InputError with all problems of reading and of references.
        """
        read = read_documents(files)
        catalog, found = build_catalog(read.documents, read.lost)
        problems = Collector()
        problems.extend(read.problems)
        problems.extend(found)
        if problems.problems:
            raise InputError(*placed(problems.sorted(), prefix))
        return CompiledFleet(catalog, options or self._options, prefix)


def known_groups(catalog: Catalog, asked: Iterable[str]) -> list[str]:
    """``asked``, sorted and each once. Raises InputError (F311) for every name that is not a device group of the tree."""
    names = sorted(set(asked))
    problems = []
    for name in names:
        if name not in catalog.groups:
            hint = did_you_mean(name, catalog.groups) or f"the tree has {len(catalog.groups)} groups"
            problems.append(Problem("F311", got=quoted(name), expected="a device group of this tree", hint=hint))
    if problems:
        raise InputError(*problems)
    return names


def placed(problems: Iterable[Problem], prefix: str) -> tuple[Problem, ...]:
    """The problems with their files named from ``prefix`` on."""
    if not prefix:
        return tuple(problems)
    return tuple(replace(problem, file=f"{prefix}/{problem.file}".rstrip("/")) for problem in problems)


def _rendered(bundle: Bundle) -> RenderedGroup:
    return RenderedGroup(bundle.group, bundle.namespace, bundle.objects, bundle.desired)
