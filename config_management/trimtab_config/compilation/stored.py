"""Compiling with what earlier processes left on disk: a tree of which little changed is not read again.

The way is a short cut and never another answer. It is taken for a tree whose files are all known or sound in themselves,
and whose heads fit those of a tree that was found sound; a group is taken from the store by its key, or compiled from the
files that decide it. Wherever anything is amiss the whole tree is compiled, which tells every problem with its place.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from trimtab_config.compilation.heads import Head, Heads
from trimtab_config.compilation.maker import compiler_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from trimtab_config.compilation.fleet import CompiledFleet
    from trimtab_config.compilation.store import Store
    from trimtab_config.render.options import RenderOptions

_INDEX = "index"
_GROUP = "group"
_MOST_SOUND = 16


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
        """Whether :meth:`stream` may find something."""
        assert self.heads is not None
        return self._store.has(_GROUP, self.heads.key(group, self._options, self._maker))

    def stream(self, group: str) -> bytes | None:
        """The YAML stream of a group that an earlier process left; None where none did. Only where :attr:`heads` are known."""
        assert self.heads is not None
        return self._store.get(_GROUP, self.heads.key(group, self._options, self._maker))

    def compiled(self, groups: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        """Each of ``groups`` compiled from the files that decide it: its stream, None where the whole tree must be asked."""
        assert self.heads is not None
        from trimtab_config.compilation.fleet import FleetCompiler

        names = list(groups)
        needed = {head.content for name in names for head in self.heads.needed(name)}
        files = {
            file: self._files[file]
            for file, digest in self._digests.items()
            if any(head.content in needed for head in self._known[digest])
        }
        fleet = FleetCompiler(self._options).open_part(files)
        for name in names:
            rendered = fleet.attempt(name)
            if rendered is None or rendered.findings:
                yield name, None
                continue
            self.keep(name, self.heads, rendered.stream)
            yield name, rendered.stream

    def keep(self, group: str, heads: Heads, stream: bytes) -> None:
        """Leave the stream of a group for later processes."""
        self._store.put(_GROUP, heads.key(group, self._options, self._maker), stream)

    def learn(self, fleet: CompiledFleet) -> None:
        """Remember that the whole tree is sound."""
        self._heads = fleet.heads
        by_file = fleet.heads_by_file
        self._known = {self._digests[file]: list(by_file.get(file, ())) for file in self._files}
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
            known = {
                digest: [Head.from_json(item[:-1], item[-1]) for item in items]
                for digest, items in data["files"].items()
            }
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
        heads = Heads(head for digest in self._digests.values() for head in self._known[digest])
        return heads if heads.soundness in self._sound else None
