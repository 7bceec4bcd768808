"""Compiling with what earlier processes left on disk: a tree of which little changed is not read again.

The way is a short cut and never another answer. It is taken for a tree whose files are all known or sound in themselves,
and whose heads fit those of a tree that was found sound; a group is taken from the store by its key, or compiled from the
files that decide it. Wherever anything is amiss the whole tree is compiled, which tells every problem with its place.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from trimtab_config.compilation.heads import GROUP, Head, Heads, place_of
from trimtab_config.compilation.maker import compiler_version
from trimtab_kernel.problems import Problem
from trimtab_kernel.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from trimtab_config.compilation.fleet import CompiledFleet, RenderedGroup
    from trimtab_config.compilation.readings import Pack
    from trimtab_config.compilation.store import Store
    from trimtab_config.render.options import RenderOptions
    from trimtab_config.sources.tree import Tree
    from trimtab_config.spec.reader import FileRead

_INDEX = "index"
_ADDITION = "what the index lacks"
_MOST_ADDED = 200
_MOST_PACKS = 16
_GROUP = "group"
_FOUND = "group with findings"
_READING = "reading"
_PACK = "pack of readings"
_MOST_SOUND = 16


@dataclass(frozen=True, slots=True)
class StoredGroup:
    """A group as one YAML stream, and what policies say of it without refusing it."""

    stream: bytes
    findings: tuple[Problem, ...] = ()


class StoredFleet:
    """One tree, of which a store knows something."""

    def __init__(self, store: Store, place: str, tree: Tree, options: RenderOptions) -> None:
        """``place`` is where the tree lies: trees of one place share an index, that of the newest one wins.

        Passes on what ``tree`` raises.
        """
        self._store = store
        self._maker = compiler_version()
        self._place = f"{self._maker} {place}"
        self._tree = tree
        self._options = options
        self._heads: Heads | None = None
        self._known: dict[str, list[Any]] = {}
        self._sound: list[str] = []
        self._reads: dict[str, FileRead] = {}  # what was read here
        self._sightings: Mapping[str, object] = {}
        self._fleet: CompiledFleet | None = None
        self._made: list[str] = []
        self._base = ""
        self._base_files: frozenset[str] = frozenset()
        self._base_seen: Mapping[str, object] = {}
        self._load()
        self._digests = tree.digests(self._sightings)
        self._changed = any(self._sightings.get(file) != sighting for file, sighting in tree.sightings.items())

    @property
    def heads(self) -> Heads | None:
        """The heads of the tree, if it is surely sound; None where it has to be compiled to know."""
        if self._heads is None:
            self._heads = self._judged()
        return self._heads

    def has(self, group: str) -> bool:
        """Whether :meth:`stored` may find something."""
        return any(self._store.has(kind, name) for kind, name in self._names(group))

    def stored(self, group: str) -> StoredGroup | None:
        """What an earlier process left of a group; None where none did. Only where :attr:`heads` are known."""
        (kind, plain), (found_kind, placed) = self._names(group)
        stream = self._store.get(kind, plain)
        if stream is not None:
            return StoredGroup(stream)
        content = self._store.get(found_kind, placed)
        if content is None:
            return None
        line, _, stream = content.partition(b"\n")
        try:
            return StoredGroup(stream, tuple(Problem(*item) for item in json.loads(line)))
        except (ValueError, TypeError, RecursionError):
            return None

    def compiled(self, groups: Iterable[str]) -> Iterator[tuple[str, StoredGroup | None]]:
        """Each of ``groups`` compiled from the files that decide it; None where the whole tree must be asked."""
        assert self.heads is not None
        from trimtab_config.compilation.fleet import FleetCompiler

        names = list(groups)
        own = {self.heads.needed(name)[0].content for name in names}
        shared = self._files_of({head.content for name in names for head in self.heads.needed(name)[1:]})
        files = {*shared, *self._files_of(own)}
        name = self._pack_name(shared)
        pack = self._pack(name)
        reads = [(self._reading(file), self._placed(file)) for file in sorted(files)]
        fleet = FleetCompiler(self._options, most_objects=0).open_part(reads)
        if pack is not None:
            fleet.compiler.know(*pack.forms)
        for group in names:
            rendered = fleet.attempt(group)
            if rendered is None:
                yield group, None
                continue
            self.keep(group, rendered)
            yield group, StoredGroup(rendered.stream, rendered.findings)
        if pack is None:
            self._keep_pack(name, fleet, shared)

    def keep(self, group: str, rendered: RenderedGroup) -> None:
        """Leave a group for later processes. Only where :attr:`heads` are known."""
        self._made.append(group)
        (kind, plain), (found_kind, placed) = self._names(group)
        if not rendered.findings:
            self._store.put(kind, plain, rendered.stream)
            return
        listed = [[p.code, p.file, p.line, p.field, p.got, p.expected, p.hint] for p in rendered.findings]
        line = json.dumps(listed, separators=(",", ":")).encode()
        self._store.put(found_kind, placed, line + b"\n" + rendered.stream)

    def _placed(self, file: str) -> tuple[Head, ...]:
        digest = self._digests[file]
        return tuple(Head.from_json(item, place_of(file, digest)) for item in self._known[digest])

    def _reading(self, file: str) -> FileRead:
        """A file as it is read: in this process, by an earlier one, or now."""
        read = self._reads.get(file)
        if read is None:
            from trimtab_config.compilation.readings import thawed

            content = self._store.get(_READING, self._reading_name(file))
            read = None if content is None else thawed(content)
        if read is None or read.file != file:
            from trimtab_config.spec.reader import read_file

            read = read_file(file, self._tree.content(file))
            self._keep_reading(read)
        return read

    def _pack(self, name: str) -> Pack | None:
        """What an earlier process left of files that are needed together: one entry to open instead of a hundred."""
        content = self._store.get(_PACK, name)
        if content is None:
            return None
        from trimtab_config.compilation.readings import thawed_pack

        pack = thawed_pack(content)
        if pack is not None:
            self._reads.update((read.file, read) for read in pack.reads)
        return pack

    def _files_of(self, contents: set[str]) -> list[str]:
        """The files with a document of one of these contents."""
        known = self._known
        return [file for file, digest in self._digests.items() if any(item[4] in contents for item in known[digest])]

    def _pack_name(self, files: Iterable[str]) -> str:
        return hashlib.sha256("\n".join(map(self._reading_name, files)).encode()).hexdigest()

    def _keep_packs(self, fleet: CompiledFleet) -> None:
        """Packs for what the groups that were compiled here share, of which there are few unless every group is different."""
        assert self._heads is not None
        counts: dict[tuple[str, ...], int] = {}
        for group in self._made:
            contents = tuple(head.content for head in self._heads.needed(group)[1:])
            counts[contents] = counts.get(contents, 0) + 1
        for contents, groups in sorted(counts.items(), key=itemgetter(1), reverse=True)[:_MOST_PACKS]:
            if groups > 1:
                files = self._files_of(set(contents))
                if not self._store.has(_PACK, name := self._pack_name(files)):
                    self._keep_pack(name, fleet, files)

    def _keep_pack(self, name: str, fleet: CompiledFleet, shared: Iterable[str]) -> None:
        from trimtab_config.compilation.readings import Pack, frozen

        files = set(shared)
        reads = tuple(read for read in fleet.reads if read.file in files)
        documents = [document for read in reads for document in read.documents]
        with contextlib.suppress(ValueError):
            self._store.put(_PACK, name, frozen(Pack(reads, fleet.compiler.forms(documents))))

    def _keep_reading(self, read: FileRead) -> None:
        """Leave a reading for later processes. Groups change most, and one of them alone is read for what it gets."""
        if all(document.kind == GROUP for document in read.documents):
            return
        from trimtab_config.compilation.readings import frozen

        name = self._reading_name(read.file)
        if not self._store.has(_READING, name):
            with contextlib.suppress(ValueError):  # read again, then
                self._store.put(_READING, name, frozen(read))

    def _reading_name(self, file: str) -> str:
        return f"{self._maker} {self._digests[file]} {file}"

    def _names(self, group: str) -> tuple[tuple[str, str], tuple[str, str]]:
        """Kind and name of the entry without findings, and of that with them, which name files and lines."""
        assert self.heads is not None
        key = self.heads.key(group, self._options, self._maker)
        return (_GROUP, key), (_FOUND, f"{key} {self.heads.places(group)}")

    def learn(self, fleet: CompiledFleet) -> None:
        """Remember that the whole tree is sound."""
        self._heads = fleet.heads
        self._fleet = fleet
        by_file = fleet.heads_by_file
        self._known = {
            digest: [head.to_json() for head in by_file.get(file, ())] for file, digest in self._digests.items()
        }
        self._remember(self._heads.soundness)
        for read in fleet.reads:
            self._keep_reading(read)

    def close(self) -> None:
        """Write the index, if anything is new, and keep the store within its limit."""
        if self._fleet is not None:
            self._keep_packs(self._fleet)
        if self._changed:
            here = set(self._digests.values())
            files = {digest: heads for digest, heads in self._known.items() if digest in here}
            if not self._add_to_index(files, self._tree.sightings):
                # The name tells what adds to this index from what added to the one before.
                name = hashlib.sha256("".join(sorted(here)).encode() + os.urandom(16)).hexdigest()
                index = {"name": name, "files": files, "sound": self._sound, "seen": self._tree.sightings}
                self._store.put(_INDEX, self._place, _json(index))
            self._changed = False
        self._store.trim()

    def _add_to_index(self, files: Mapping[str, Any], seen: Mapping[str, object]) -> bool:
        """Write what the index lacks beside it, where that is little: an index takes longer to write than a group."""
        new = {digest: heads for digest, heads in files.items() if digest not in self._base_files}
        newly = {file: sighting for file, sighting in seen.items() if self._base_seen.get(file) != sighting}
        if not self._base or len(new) + len(newly) > _MOST_ADDED:
            return False
        addition = {"name": self._base, "files": new, "sound": self._sound, "seen": newly}
        self._store.put(_ADDITION, self._place, _json(addition))
        return True

    def _remember(self, soundness: str) -> None:
        self._sound = [soundness, *(other for other in self._sound if other != soundness)][:_MOST_SOUND]
        self._changed = True

    def _load(self) -> None:
        """The index of this place. What is not as it was written is as good as not there."""
        content = self._store.get(_INDEX, self._place)
        if content is None:
            return
        try:
            name, known, seen, sound = _index_of(content)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return
        self._base, self._base_files, self._base_seen = name, frozenset(known), seen
        addition = self._store.get(_ADDITION, self._place)
        if addition is not None:
            with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError, RecursionError):
                added_to, more_known, more_seen, newer = _index_of(addition)
                if added_to == name:
                    known, seen, sound = known | more_known, seen | more_seen, newer
        self._known, self._sound, self._sightings = known, sound, seen

    def _judged(self) -> Heads | None:
        if not self._sound:
            return None
        missing = [file for file, digest in self._digests.items() if digest not in self._known]
        if missing:
            from trimtab_config.compilation.heads import heads_of
            from trimtab_config.spec.reader import read_file

            for file in missing:
                read = read_file(file, self._tree.content(file))
                if read.problems or read.lost or not read.whole:
                    return None
                self._reads[file] = read
                self._known[self._digests[file]] = [head.to_json() for head in heads_of(read, self._digests[file])]
            self._changed = True
        try:
            heads = Heads([head for file in self._digests for head in self._placed(file)])
        except (ValueError, TypeError):
            return None
        return heads if heads.soundness in self._sound else None


def _index_of(content: bytes) -> tuple[str, dict[str, Any], dict[str, object], list[str]]:
    """Name, heads by digest, sightings, what is sound. Raises ValueError, TypeError or KeyError for what is no index."""
    data = json.loads(content)
    sound = [text for text in data["sound"] if isinstance(text, str)]
    return str(data["name"]), dict(data["files"]), dict(data["seen"]), sound


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
