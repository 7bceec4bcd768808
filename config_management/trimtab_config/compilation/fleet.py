"""Compiling a tree for a door: Argo CD, Flux, a KRM function, an OCI artifact or the command line.

Doors translate and decide nothing, so all of them call :class:`FleetCompiler` and get the same objects for the same files.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from trimtab_config.catalog import TABLES, build_catalog
from trimtab_config.compilation.heads import Heads, heads_of
from trimtab_config.compilation.heads import placed as placed_heads
from trimtab_config.compilation.selection import known_groups
from trimtab_config.emit.yaml_stream import yaml_stream
from trimtab_config.policy.gate import raise_problems
from trimtab_config.render.bundle import Compiler
from trimtab_config.render.options import RenderOptions
from trimtab_config.spec.reader import FileRead, excess_problem, read_file, together
from trimtab_kernel.canonical import canonical_json
from trimtab_kernel.problems import Collector, InputError, Problem
from trimtab_kernel.records import dataclass, replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from trimtab_config.catalog import Catalog
    from trimtab_config.compilation.heads import Head
    from trimtab_config.policy.bundle import PolicyBundle
    from trimtab_config.policy.gate import PolicyGate
    from trimtab_config.render.bundle import Bundle
    from trimtab_kernel.desired import DesiredDocument

K = TypeVar("K")
V = TypeVar("V")
MOST_TEXT = 64 * 2**20
"""Bytes of files whose reading is kept; a tree may have half of it."""
MOST_OBJECTS = 20_000
"""Rendered objects that are kept, of all groups and trees together."""


class _WorkedOut:
    """Leaves room for what is worked out of a record once it is asked for."""


@dataclass(frozen=True, slots=True)
class RenderedGroup(_WorkedOut):
    """All objects of one device group, sorted by apiVersion, kind, namespace and name; never empty."""

    group: str
    namespace: str
    objects: tuple[Mapping[str, Any], ...]
    desired: DesiredDocument
    findings: tuple[Problem, ...] = ()
    """What policies say of it without refusing it: warnings (F502) and rules on trial (F503)."""

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

    def __init__(
        self, catalog: Catalog, options: RenderOptions, prefix: str, reads: Sequence[_KeptRead], shop: _Shop
    ) -> None:
        """Made by :meth:`FleetCompiler.open`.

        ``prefix`` is where the fleet lies in its repository; problems name files as the repository does.
        """
        self.catalog = catalog
        self.options = options
        self._prefix = prefix
        self._reads = tuple(reads)
        self._heads = Heads(head for kept in reads for head in kept.heads)
        self._shop = shop
        self._compiler = shop.compiler(catalog, options)

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of the device groups, sorted."""
        return tuple(sorted(self.catalog.groups))

    @property
    def heads(self) -> Heads:
        """What can be seen of every document of the tree."""
        return self._heads

    @property
    def heads_by_file(self) -> dict[str, tuple[Head, ...]]:
        """The same, by the file that they stand in."""
        return {kept.read.file: kept.heads for kept in self._reads}

    @property
    def reads(self) -> tuple[FileRead, ...]:
        """The files of the tree as they were read."""
        return tuple(kept.read for kept in self._reads)

    @property
    def compiler(self) -> Compiler:
        """What compiles the groups of this tree."""
        return self._compiler

    @property
    def is_empty(self) -> bool:
        """Whether the tree holds no object at all."""
        return not any(getattr(self.catalog, name) for name in TABLES)

    def known(self, asked: Iterable[str] | None = None) -> list[str]:
        """The names in ``asked``, sorted and each once; all groups for None.

        Raises InputError: F311 for each that is no group of the tree, G403 where there is no group at all.
        """
        return known_groups(self.catalog.groups, asked)

    def key(self, group: str) -> str:
        """Hex SHA-256 over everything that decides what ``group`` gets: equal keys, equal objects.

        Raises KeyError for a group that the tree does not have.
        """
        return self._heads.key(group, self.options, self._shop.maker)

    def render(self, group: str) -> RenderedGroup:
        """One group.

        Raises InputError: F311 for a group that the tree does not have, else what keeps it from compiling;
        PolicyRefusedError where policy alone does.
        """
        self.known((group,))
        rendered, found = self._rendered(group)
        if rendered is None:
            raise_problems(placed(found, self._prefix))
            raise AssertionError("nothing was rendered, for no reason")
        return rendered

    def attempt(self, group: str) -> RenderedGroup | None:
        """As :meth:`render`, with None for a group that has a problem."""
        return self._rendered(group)[0]

    def render_all(self) -> dict[str, RenderedGroup]:
        """Every group, all or nothing.

        Raises as :meth:`render` with the problems of all groups, and for a fleet without any group (G403): applying that
        would remove every group that is there.
        """
        problems = Collector()
        rendered: dict[str, RenderedGroup] = {}
        for name in self.groups:
            made, found = self._rendered(name)
            problems.extend(found)
            if made is not None and not problems.problems:
                rendered[name] = made
        if not self.catalog.groups:
            problems.add(Problem("G403", got="no device group", expected="at least one"))
        raise_problems(placed(problems.sorted(), self._prefix))
        return rendered

    def _rendered(self, group: str) -> tuple[RenderedGroup | None, tuple[Problem, ...]]:
        key = self.key(group)
        # What policies found names lines of files: with findings, places decide as well.
        there = f"{key} {self._heads.places(group)}"
        known = self._shop.groups.get(key) or self._shop.groups.get(there)
        if known is not None:
            return known, ()
        with self._shop.working:
            bundle, found = self._compiler.compile(group)
        if bundle is None:
            return None, found
        rendered = _rendered(bundle)
        self._shop.groups.put(there if rendered.findings else key, rendered, len(rendered.objects))
        return rendered, ()


class FleetCompiler:
    """Opens trees, one after another, and keeps what is the same from one to the next. Safe to use from several threads.

    A file is read again only where its name or its bytes are new, and a group compiled only where something that decides
    it is. What is kept is bounded, and the least recently used goes first.
    """

    def __init__(
        self,
        options: RenderOptions | None = None,
        policies: Sequence[PolicyBundle] | None = (),
        most_objects: int | None = None,
    ) -> None:
        """``policies`` are judged beside the shipped ones; None: nobody is asked.

        ``most_objects`` are kept (None: :data:`MOST_OBJECTS`); 0 is for who asks for each group once.
        """
        self._options = options or RenderOptions()
        self._shop = _Shop(policies, MOST_OBJECTS if most_objects is None else most_objects)
        self._sound: Catalog | None = None

    def open(self, files: Mapping[str, bytes], prefix: str = "", options: RenderOptions | None = None) -> CompiledFleet:
        """Read a tree. ``files`` are those of the fleet's folder, by path relative to it.

        Raises InputError with all problems of reading and of references.
        """
        if excess := excess_problem(files):
            raise InputError(*placed((excess,), prefix))
        reads = [self._shop.read(file, files[file]) for file in sorted(files)]
        read = together(kept.read for kept in reads)
        catalog, found = build_catalog(read.documents, read.lost, self._sound)
        problems = Collector()
        problems.extend(read.problems)
        problems.extend(found)
        if problems.problems:
            raise InputError(*placed(problems.sorted(), prefix))
        self._sound = catalog
        return CompiledFleet(catalog, options or self._options, prefix, reads, self._shop)

    def open_part(self, files: Iterable[tuple[FileRead, tuple[Head, ...]]]) -> CompiledFleet:
        """Those files of a sound tree that decide what some of its groups get; nothing is judged between documents.

        ``files`` in the order of their names, as they were read, with the heads of their documents.

        Only these groups can be rendered from it, by :meth:`CompiledFleet.attempt`.
        """
        reads = [_KeptRead(read, heads) for read, heads in files]
        catalog, _ = build_catalog(together(kept.read for kept in reads).documents)
        return CompiledFleet(catalog, self._options, "", reads, self._shop)


@dataclass(frozen=True, slots=True)
class _KeptRead:
    """A file as it was read, and what can be seen of its documents."""

    read: FileRead
    heads: tuple[Head, ...]


class _Kept(Generic[K, V]):
    """Values by key, the least recently used dropped beyond a weight. Safe to use from several threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._weight = 0
        self._values: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        with self._lock:
            found = self._values.get(key)
            if found is None:
                return None
            self._values.move_to_end(key)
            return found[0]

    def put(self, key: K, value: V, weight: int) -> None:
        with self._lock:
            before = self._values.pop(key, None)
            self._weight += weight - (before[1] if before else 0)
            self._values[key] = (value, weight)
            while self._weight > self._most and len(self._values) > 1:
                self._weight -= self._values.popitem(last=False)[1][1]


class _Shop:
    """What a compiler keeps from tree to tree."""

    maker = "in this process"

    def __init__(self, policies: Sequence[PolicyBundle] | None, most_objects: int) -> None:
        self.groups: _Kept[str, RenderedGroup] = _Kept(most_objects)
        self.working = threading.Lock()  # compilers share what they worked out, and engines take one call at a time
        self._reads: _Kept[tuple[str, bytes], _KeptRead] = _Kept(MOST_TEXT)
        self._policies = policies
        self._gate: PolicyGate | None = None
        self._last: Compiler | None = None

    def read(self, file: str, content: bytes) -> _KeptRead:
        """A file that was read before gives the same documents, the very same objects. Keyed by the bytes themselves."""
        known = self._reads.get((file, content))
        if known is None:
            read = read_file(file, content)
            digest = hashlib.sha256(content).hexdigest()
            known = _KeptRead(read, tuple(placed_heads(heads_of(read, digest), file, digest)))
            self._reads.put((file, content), known, len(content) + len(file))
        return known

    def compiler(self, catalog: Catalog, options: RenderOptions) -> Compiler:
        with self.working:
            if self._last is None:
                self._last = Compiler(catalog, options, self._asked())
            else:
                self._last = self._last.after(catalog, options)
            return self._last

    def _asked(self) -> PolicyGate | None:
        if self._gate is None and self._policies is not None:
            from trimtab_config.policy.shipped import gate_of

            self._gate = gate_of(*self._policies)
        return self._gate


def placed(problems: Iterable[Problem], prefix: str) -> tuple[Problem, ...]:
    """The problems with their files named from ``prefix`` on."""
    if not prefix:
        return tuple(problems)
    return tuple(replace(problem, file=f"{prefix}/{problem.file}".rstrip("/")) for problem in problems)


def _rendered(bundle: Bundle) -> RenderedGroup:
    return RenderedGroup(bundle.group, bundle.namespace, bundle.objects, bundle.desired, bundle.findings)
