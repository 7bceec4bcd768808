"""Compiling with what earlier processes left on disk: a tree of which little changed is not read again.

The way is a short cut and never another answer. It is taken for a tree whose files are all known or sound in themselves,
and whose heads fit those of a tree that was found sound; a group is taken from the store by its key, or compiled from the
files that decide it. Wherever anything is amiss the whole tree is compiled, which tells every problem with its place.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from trimtab_config.compilation.heads import Head, Heads, placed
from trimtab_config.compilation.maker import compiler_version
from trimtab_kernel.problems import Problem
from trimtab_kernel.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from trimtab_config.compilation.fleet import CompiledFleet, RenderedGroup
    from trimtab_config.compilation.store import Store
    from trimtab_config.render.options import RenderOptions

_INDEX = "index"
_GROUP = "group"
_FOUND = "group with findings"
_MOST_SOUND = 16


@dataclass(frozen=True, slots=True)
class StoredGroup:
    """A group as one YAML stream, and what policies say of it without refusing it."""

    stream: bytes
    findings: tuple[Problem, ...] = ()


class StoredFleet:
    """One tree, of which a store knows something."""

    def __init__(self, store: Store, place: str, files: Mapping[str, bytes], options: RenderOptions) -> None:
        """``place`` is where the tree lies: trees of one place share an index, that of the newest one wins."""
        self._store = store
        self._maker = compiler_version()
        self._place = f"{self._maker} {place}"
        self._files = files
        self._options = options
        self._digests = {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
        self._heads: Heads | None = None
        self._known: dict[str, list[Head]] = {}
        self._sound: list[str] = []
        self._changed = False
        self._load()

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
        needed = {head.content for name in names for head in self.heads.needed(name)}
        files = {
            file: self._files[file]
            for file, digest in self._digests.items()
            if any(head.content in needed for head in self._known[digest])
        }
        fleet = FleetCompiler(self._options, most_objects=0).open_part(files)
        for name in names:
            rendered = fleet.attempt(name)
            if rendered is None:
                yield name, None
                continue
            self.keep(name, rendered)
            yield name, StoredGroup(rendered.stream, rendered.findings)

    def keep(self, group: str, rendered: RenderedGroup) -> None:
        """Leave a group for later processes. Only where :attr:`heads` are known."""
        (kind, plain), (found_kind, placed) = self._names(group)
        if not rendered.findings:
            self._store.put(kind, plain, rendered.stream)
            return
        listed = [[p.code, p.file, p.line, p.field, p.got, p.expected, p.hint] for p in rendered.findings]
        line = json.dumps(listed, separators=(",", ":")).encode()
        self._store.put(found_kind, placed, line + b"\n" + rendered.stream)

    def _names(self, group: str) -> tuple[tuple[str, str], tuple[str, str]]:
        """Kind and name of the entry without findings, and of that with them, which name files and lines."""
        assert self.heads is not None
        key = self.heads.key(group, self._options, self._maker)
        return (_GROUP, key), (_FOUND, f"{key} {self.heads.places(group)}")

    def learn(self, fleet: CompiledFleet) -> None:
        """Remember that the whole tree is sound."""
        self._heads = fleet.heads
        by_file = fleet.heads_by_file
        self._known = {digest: list(by_file.get(file, ())) for file, digest in self._digests.items()}
        self._remember(self._heads.soundness)

    def close(self) -> None:
        """Write the index, if anything is new, and keep the store within its limit."""
        if self._changed:
            here = set(self._digests.values())
            files = {
                digest: [[*head.to_json(), head.content] for head in heads]
                for digest, heads in sorted(self._known.items())
                if digest in here
            }
            text = json.dumps({"files": files, "sound": self._sound}, separators=(",", ":"))
            self._store.put(_INDEX, self._place, text.encode())
            self._changed = False
        self._store.trim()

    def _remember(self, soundness: str) -> None:
        self._sound = [soundness, *(other for other in self._sound if other != soundness)][:_MOST_SOUND]
        self._changed = True

    def _load(self) -> None:
        """The index of this place. What is not as it was written is as good as not there."""
        content = self._store.get(_INDEX, self._place)
        if content is None:
            return
        try:
            data = json.loads(content)
            known = {digest: [Head.from_json(item) for item in items] for digest, items in data["files"].items()}
            sound = [text for text in data["sound"] if isinstance(text, str)]
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
            return
        self._known, self._sound = known, sound

    def _judged(self) -> Heads | None:
        if not self._sound:
            return None
        missing = [file for file, digest in self._digests.items() if digest not in self._known]
        if missing:
            from trimtab_config.compilation.heads import heads_of
            from trimtab_config.spec.reader import read_file

            for file in missing:
                read = read_file(file, self._files[file])
                if read.problems or read.lost or not read.whole:
                    return None
                self._known[self._digests[file]] = list(heads_of(read, self._digests[file]))
            self._changed = True
        heads = Heads(
            head for file, digest in self._digests.items() for head in placed(self._known[digest], file, digest)
        )
        return heads if heads.soundness in self._sound else None
