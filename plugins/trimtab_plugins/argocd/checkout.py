"""What the renderer reads of a repository's archive: the manifests of one folder, judged as a folder on disk would be.

The rules are those of ``trimtab_config.sources.folder``, so that this door and `trimtab render` in a checkout see one fleet;
what no checkout can hold (two entries of one name, a file behind a link) is refused.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab_config.sources.selection import MAX_FILE_BYTES, MAX_FILES, MAX_TOTAL_BYTES, SUFFIXES, is_manifest
from trimtab_kernel.problems import InputError, Problem, printable, quoted, sort_problems
from trimtab_plugins.argocd.unpacking import EntryKind

if TYPE_CHECKING:
    from collections.abc import Iterable

_SUFFIXES = tuple(suffix.encode() for suffix in SUFFIXES)
_MAX_HOPS = 40  # as Linux follows them
_MAX_LINKS = 50_000


@dataclass(frozen=True, slots=True)
class FleetFiles:
    """The manifests of the fleet's folder by path relative to it, and what kept others from being read."""

    files: dict[str, bytes]
    problems: tuple[Problem, ...]


def fleet_folder(app_path: str) -> str:
    """The folder that ``appRelPath`` names, "" for the root. Raises InputError (A113) for a path that is not within."""
    path = posixpath.normpath(app_path) if app_path else "."
    if "\0" in path or path.startswith("/") or path == ".." or path.startswith("../") or len(path) > 4096:
        raise InputError(Problem("A113", "", 0, "appRelPath", quoted(app_path), "a folder inside the archive"))
    return "" if path == "." else path


@dataclass(frozen=True, slots=True)
class Batch:
    """What entries did to a checkout that had none of them: names of files and folders inside, and files that are kept.

    ``there`` says that one of them shows the fleet's folder; ``kept`` counts bytes of ``files``.
    """

    names: frozenset[bytes]
    folders: frozenset[bytes]
    files: dict[str, bytes]
    kept: int
    there: bool


class Checkout:
    """The selection of an :class:`~trimtab_plugins.argocd.unpacking.Unpacking`; afterwards :meth:`fleet` has the result."""

    def __init__(self, folder: str) -> None:
        """``folder`` as :func:`fleet_folder` gives it."""
        self._folder = folder
        self._prefix = f"{folder}/".encode() if folder else b""
        self._there = not folder
        self._files: dict[str, bytes] = {}
        self._names: set[bytes] = set()  # plain files of the fleet's folder, by name from the archive's root
        self._folders: set[bytes] = set()
        self._links: dict[bytes, bytes] = {}
        self._problems: list[Problem] = []
        self._told = 0  # of the problems, before the last entry
        self.kept_bytes = 0
        self._next = ""
        self._record: list[tuple[bytes, EntryKind, str | None] | None] | None = None

    @property
    def prefix(self) -> bytes:
        """What the names of the fleet's files begin with."""
        return self._prefix

    def begin(self) -> None:
        """Record what entries do from now on."""
        self._record = []

    def end(self, count: int) -> Batch | None:
        """What the first ``count`` entries of the record did; None where that is not for taking together."""
        record, self._record = self._record, None
        assert record is not None
        names, folders, files, there = set(), set(), {}, False
        for entry in record[:count]:
            if entry is None:
                return None
            name, kind, path = entry
            inside = name.startswith(self._prefix)
            there = there or inside or (kind is EntryKind.FOLDER and name == self._prefix[:-1])
            if kind is EntryKind.FOLDER:
                folders.add(name)
            elif inside:
                names.add(name)
                if path is not None:
                    files[path] = self._files[path]
        kept = sum(map(len, files.values()))
        return Batch(frozenset(names), frozenset(folders), files, kept, there)

    def take(self, batch: Batch) -> bool:
        """Entries that were judged before, all at once. False where they have to be judged one by one; nothing is taken."""
        if not (
            batch.names.isdisjoint(self._names)
            and batch.names.isdisjoint(self._folders)
            and batch.folders.isdisjoint(self._names)
            and (not self._links or (batch.names.isdisjoint(self._links) and batch.folders.isdisjoint(self._links)))
            and len(self._files) + len(batch.files) <= MAX_FILES
            and self.kept_bytes + batch.kept <= MAX_TOTAL_BYTES
        ):
            return False
        self._names |= batch.names
        self._folders |= batch.folders
        self._files.update(batch.files)
        self.kept_bytes += batch.kept
        self._there = self._there or batch.there
        return True

    def entry(self, name: bytes, kind: EntryKind, size: int, target: bytes) -> bool:
        """See :class:`~trimtab_plugins.argocd.unpacking.Selection`. Raises InputError: A110, A111, F103, F118."""
        wanted = self._judged(name, kind, size, target)
        if self._record is not None:
            self._record.append((name, kind, self._next if wanted else None) if self._plain(name, kind) else None)
        return wanted

    def _plain(self, name: bytes, kind: EntryKind) -> bool:
        """Whether an entry did nothing but what a :class:`Batch` can say."""
        if kind is EntryKind.LINK or self._told != len(self._problems):
            self._told = len(self._problems)
            return False
        return kind is EntryKind.FOLDER or not self._prefix.startswith(name + b"/")

    def _judged(self, name: bytes, kind: EntryKind, size: int, target: bytes) -> bool:
        if kind is EntryKind.LINK:
            self._link(name, target)
            return False
        inside = name.startswith(self._prefix)
        if kind is EntryKind.FOLDER:
            if name in self._names or name in self._links:
                _twice(name)
            self._folders.add(name)
            self._there = self._there or inside or name == self._prefix[:-1]
            return False
        if not inside:
            if self._prefix.startswith(name + b"/"):
                self._names.add(name)  # a file where the fleet's folder is said to be
            return False
        return self._file(name, size)

    def content(self, content: bytes) -> None:
        """See :class:`~trimtab_plugins.argocd.unpacking.Selection`."""
        self._files[self._next] = content

    def fleet(self) -> FleetFiles:
        """What was selected. Raises InputError: A110 and A111 for names that contradict each other, A113 where it is not."""
        self._judge_parents()
        if not self._there:
            expected = "a folder of the archive, exact in case"
            raise InputError(Problem("A113", "", 0, "appRelPath", quoted(self._folder), expected, self._nearest()))
        for name, target in self._links.items():
            if name.startswith(self._prefix):
                self._judge_link(name, target)
        return FleetFiles(dict(sorted(self._files.items())), sort_problems(self._problems))

    def names(self) -> Iterable[str]:
        """The plain files of the fleet's folder, by path relative to it."""
        start = len(self._prefix)
        return sorted(
            name[start:].decode("utf-8", "surrogateescape") for name in self._names if name.startswith(self._prefix)
        )

    def folders(self) -> Iterable[str]:
        """The folders below the fleet's folder, by path relative to it."""
        start = len(self._prefix)
        return sorted(
            name[start:].decode("utf-8", "surrogateescape") for name in self._folders if name.startswith(self._prefix)
        )

    def _file(self, name: bytes, size: int) -> bool:
        self._there = True
        if name in self._names or name in self._links or name in self._folders:
            _twice(name)
        self._names.add(name)
        if not name.endswith(_SUFFIXES):
            return False
        rest = name[len(self._prefix) :]
        try:
            path = rest.decode()
        except UnicodeDecodeError:
            shown = rest.decode("utf-8", "backslashreplace")
            if is_manifest(shown):
                self._add("A108", shown, "a name that is not UTF-8", "a name in UTF-8")
            return False
        if not is_manifest(path):
            return False
        if size > MAX_FILE_BYTES:
            self._add("F103", path, f"{size} bytes", f"at most {MAX_FILE_BYTES} bytes in one file")
            return False
        if len(self._files) >= MAX_FILES:
            self._stop("", f"more than {MAX_FILES} files", f"at most {MAX_FILES} files")
        self.kept_bytes += size
        if self.kept_bytes > MAX_TOTAL_BYTES:
            expected = f"at most {MAX_TOTAL_BYTES} bytes in all files together"
            self._stop(path, f"more than {MAX_TOTAL_BYTES} bytes", expected)
        self._next = path
        return True

    def _stop(self, path: str, got: str, expected: str) -> None:
        raise InputError(Problem("F103", f"{self._folder}/{path}".strip("/"), 0, "", got, expected))

    def _add(self, code: str, path: str, got: str, expected: str) -> None:
        self._problems.append(Problem(code, path, 0, "", got, expected))

    def _link(self, name: bytes, target: bytes) -> None:
        if name in self._names or name in self._links or name in self._folders:
            _twice(name)
        if not target or target.startswith(b"/") or _climbs(name, target):
            shown, to = _shown(name), _shown(target)
            got = f'a link to "{to}"' if target else "a link to nothing"
            raise InputError(Problem("A110", shown, 0, "", got, "a relative link that stays inside the repository"))
        self._links[name] = target
        if len(self._links) > _MAX_LINKS:
            raise InputError(Problem("A105", "", 0, "", f"more than {_MAX_LINKS} links", f"at most {_MAX_LINKS}"))

    def _judge_parents(self) -> None:
        """Nothing lies behind a link, and nothing below a file."""
        sound: set[bytes] = set()
        for name in (*self._names, *self._links):
            at = name.rfind(b"/")
            while at > 0 and (parent := name[:at]) not in sound:
                if parent in self._links:
                    raise InputError(
                        Problem("A110", _shown(name), 0, "", "an entry behind a link", "a folder above it")
                    )
                if parent in self._names:
                    _twice(parent)
                sound.add(parent)
                at = name.rfind(b"/", 0, at)
        self._folders |= sound  # also those that have no entry of their own

    def _judge_link(self, name: bytes, target: bytes) -> None:
        path = _text(name[len(self._prefix) :])
        if any(part.startswith(".") for part in path.split("/")):
            return
        found = self._resolve(posixpath.join(posixpath.dirname(name), target))
        inside = found is not None and (found + b"/").startswith(self._prefix)
        if found is None or (found not in self._folders and found not in self._names and inside and found):
            if is_manifest(path):
                self._add("F118", path, "a link to nothing", "a file")
        elif found in self._folders or not found or self._prefix.startswith(found + b"/"):
            if not inside:
                self._add("F118", path, "a link to a folder outside", "files inside the fleet folder")
        elif is_manifest(path) and not (inside and is_manifest(_text(found[len(self._prefix) :]))):
            got = "a link to a file that is no manifest" if inside else "a link to a file outside"
            self._add("F118", path, got, "files inside the fleet folder")

    def _resolve(self, path: bytes) -> bytes | None:
        """Where a path leads when links are followed, b"" for the root; None for a loop or a way out."""
        waiting = path.split(b"/")[::-1]
        found: list[bytes] = []
        hops = 0
        while waiting:
            part = waiting.pop()
            above = b"/".join(found)
            # Nothing is below a file; "." and ".." behind one are passed over, as where a folder on disk is read.
            file = above in self._names and part in {b"", b".", b".."}
            if found and above not in self._folders and not file:
                return None
            if part in {b"", b"."}:
                continue
            if part == b"..":
                if not found:
                    return None
                found.pop()
                continue
            found.append(part)
            target = self._links.get(b"/".join(found))
            if target is not None:
                hops += 1
                if hops > _MAX_HOPS:
                    return None
                found.pop()
                waiting.extend(target.split(b"/")[::-1])
        return b"/".join(found)

    def _nearest(self) -> str:
        wanted = self._folder.casefold()
        for name in self._folders:
            shown = _shown(name)
            if shown.casefold() == wanted:
                return f'did you mean "{shown}"?'
        return ""


def _climbs(name: bytes, target: bytes) -> bool:
    depth = name.count(b"/")
    for part in target.split(b"/"):
        if part == b"..":
            depth -= 1
            if depth < 0:
                return True
        elif part not in {b"", b"."}:
            depth += 1
    return False


def _twice(name: bytes) -> None:
    raise InputError(Problem("A111", _shown(name), 0, "", "the name twice", "once, as a file or as a folder"))


def _text(name: bytes) -> str:
    """The whole of a name, to judge it by: what is shown of it may be its beginning alone."""
    return name.decode("utf-8", "backslashreplace")


def _shown(name: bytes) -> str:
    return printable(_text(name), 200)
