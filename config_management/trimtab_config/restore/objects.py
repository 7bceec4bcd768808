"""Objects back to what they were: the edit of files, with the check of its own work."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from trimtab_config.restore.layout import Layout, ObjectKey, Region, lay_out, same_node
from trimtab_kernel.problems import Collector, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_BORDER = b"---\n"
_LINE_ENDS = b"\r\n"


class Action(Enum):
    """What became of an object."""

    REPLACED = "replaced"
    ADDED = "added"
    REMOVED = "removed"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Edit:
    """One object: what was done, in which file. ``moved_from`` is its file at the good commit, where it was another one."""

    key: ObjectKey
    action: Action
    file: str
    moved_from: str = ""

    def __str__(self) -> str:
        """One line for a person."""
        moved = f" (was in {self.moved_from})" if self.moved_from else ""
        return f"{self.action.value} {self.key} in {self.file}{moved}"


@dataclass(frozen=True, slots=True)
class Restoration:
    """New contents of the files that change (None for a file that goes), by path, and what was done to each object."""

    changes: Mapping[str, bytes | None]
    edits: tuple[Edit, ...]

    def applied_to(self, files: Mapping[str, bytes]) -> dict[str, bytes]:
        """All files after the change."""
        after = {**files, **self.changes}
        return {path: content for path, content in after.items() if content is not None}


NOTHING = Restoration({}, ())


@dataclass(frozen=True, slots=True)
class _Place:
    layout: Layout
    region: Region


def restore_objects(
    current: Mapping[str, bytes],
    good: Mapping[str, bytes],
    keys: Iterable[ObjectKey],
) -> tuple[Restoration, tuple[Problem, ...]]:
    """Make the objects ``keys`` in ``current`` what they are in ``good``; paths are relative to the fleet folder.

    An object that is in both is exchanged where it stands now, between the comments that stand around it there. One that
    was removed since is added to its old file (made anew if need be), with its comments; one that was added since is
    removed, and a file without any object left goes. All other objects keep their bytes, and all files their names.

    Every changed file is read again and compared, document by document, with what it must hold; what cannot be shown to
    be right is a Problem, and then there are no changes at all: G301 an object that is in neither tree, G302 and G303 a
    file that cannot be read or edited safely, G304 an edit that would change something else, G305 an object that is
    there twice.
    """
    problems = Collector()
    wanted = sorted(set(keys))
    now, then = _Index(current, wanted, problems), _Index(good, wanted, problems)
    for key in wanted:
        if key not in now.places and key not in then.places:
            problems.add(Problem("G301", got=f"no {key}", expected="an object of the current or of the good commit"))
        elif key in then.places and not then.places[key].region.sound:
            file = then.places[key].layout.file
            problems.add(Problem("G303", file, 0, "", f"{key} with faults at the good commit", "a sound object"))
    if problems.problems:
        return NOTHING, problems.sorted()
    files = _Files(current)
    edits = []
    for key in wanted:
        edits.append(_restore(key, now.places.get(key), then.places.get(key), files, problems))
    if problems.problems:
        return NOTHING, problems.sorted()
    changes = {path: content for path, content in sorted(files.after.items()) if current.get(path) != content}
    return Restoration(changes, tuple(edits)), ()


class _Index:
    """Where the wanted objects stand in a tree. What cannot be read might hold one of them, so it is a problem."""

    def __init__(self, files: Mapping[str, bytes], wanted: Iterable[ObjectKey], problems: Collector) -> None:
        self.places: dict[ObjectKey, _Place] = {}
        wanted = set(wanted)
        for path in sorted(files):
            layout = lay_out(path, files[path])
            if isinstance(layout, Problem):
                # An unclear border matters only where something is edited; the names are searched as plain bytes.
                names = [key.name.encode() for key in wanted]
                if layout.code == "G302" or any(name in files[path] for name in names):
                    problems.add(layout)
                continue
            for region in layout.regions:
                if region.key not in wanted or region.key is None:
                    continue
                if region.key in self.places:
                    first = self.places[region.key].layout.file
                    problems.add(
                        Problem("G305", path, 0, "", f"{region.key} twice", "each object once", f"also in {first}")
                    )
                self.places[region.key] = _Place(layout, region)


class _Files:
    """The files while they are edited."""

    def __init__(self, current: Mapping[str, bytes]) -> None:
        self.current = current
        self.after: dict[str, bytes | None] = {}

    def content(self, path: str) -> bytes | None:
        return self.after[path] if path in self.after else self.current.get(path)


def _restore(key: ObjectKey, now: _Place | None, then: _Place | None, files: _Files, problems: Collector) -> Edit:
    if now is None:
        assert then is not None
        path = then.layout.file
        return _add(key, path, then.region.text(then.layout.content), files, problems)
    path = now.layout.file
    if then is None:
        return _remove(key, path, files, problems)
    moved_from = then.layout.file if then.layout.file != path else ""
    body, good = now.region.body(now.layout.content), then.region.body(then.layout.content)
    if body.rstrip(_LINE_ENDS) == good.rstrip(_LINE_ENDS) and same_node(now.region.root, then.region.root):
        return Edit(key, Action.UNCHANGED, path, moved_from)
    before = _laid_out(path, files)
    region = _region_of(before, key)
    content = before.content
    whole = then.region.text(then.layout.content)
    # First between the comments that stand there now; a block scalar whose end depends on blank lines needs all of its region.
    candidates = (
        content[: region.first] + _closed(good, content[region.last :]) + content[region.last :],
        content[: region.start] + _closed(whole, content[region.end :]) + content[region.end :],
    )
    expected = {key: then.region}
    for candidate in candidates:
        if _holds(path, candidate, before, expected, then.layout.content):
            files.after[path] = candidate
            return Edit(key, Action.REPLACED, path, moved_from)
    problems.add(_unsafe(path, key))
    return Edit(key, Action.UNCHANGED, path, moved_from)


def _add(key: ObjectKey, path: str, text: bytes, files: _Files, problems: Collector) -> Edit:
    content = files.content(path)
    if content is None:
        files.after[path] = text
        return Edit(key, Action.ADDED, path)
    before = _laid_out(path, files)
    joined = _closed(content, _BORDER) + _BORDER + text if content.strip() else text
    added = lay_out(path, text)
    expected = {region.key: region for region in added.regions if region.key} if isinstance(added, Layout) else {}
    if key in expected and _holds(path, joined, before, {key: expected[key]}, text):
        files.after[path] = joined
    else:
        problems.add(_unsafe(path, key))
    return Edit(key, Action.ADDED, path)


def _remove(key: ObjectKey, path: str, files: _Files, problems: Collector) -> Edit:
    before = _laid_out(path, files)
    region = _region_of(before, key)
    content = before.content
    if not any(other.root is not None for other in before.regions if other is not region):
        files.after[path] = None
        return Edit(key, Action.REMOVED, path)
    # A file's own head stands above its first object and apart from it by a blank line; it stays.
    head = b"" if region.border != region.start else _head(content[region.start : region.first])
    left = content[: region.border] + head + content[region.end :]
    if head == b"" and region.border == region.start and left[region.border :].startswith(_BORDER):
        left = left[: region.border] + left[region.border + len(_BORDER) :]
    if _holds(path, left, before, {key: None}, b""):
        files.after[path] = left
    else:
        problems.add(_unsafe(path, key))
    return Edit(key, Action.REMOVED, path)


def _head(notes: bytes) -> bytes:
    """The notes up to the last blank line among them."""
    lines = notes.splitlines(keepends=True)
    blank = max((number for number, line in enumerate(lines) if not line.strip()), default=-1)
    return b"".join(lines[: blank + 1])


def _holds(
    path: str, content: bytes, before: Layout, changed: Mapping[ObjectKey, Region | None], source: bytes
) -> bool:
    """Whether ``content`` holds the documents of ``before`` with ``changed`` ones, and nothing else.

    Unchanged documents must have the same bytes and say the same; a changed one must say what its region says, with the
    bytes that it has in ``source``.
    """
    after = lay_out(path, content)
    if isinstance(after, Problem):
        return False
    # A file that ended without a line end gets one where something follows; what a document says decides about that.
    kept = [(r.body(before.content).rstrip(_LINE_ENDS), r) for r in before.regions if r.root and r.key not in changed]
    left = [(r.body(content).rstrip(_LINE_ENDS), r) for r in after.regions if r.root and r.key not in changed]
    if [body for body, _ in kept] != [body for body, _ in left]:
        return False
    if not all(same_node(old.root, new.root) for (_, old), (_, new) in zip(kept, left, strict=True)):
        return False
    for key, region in changed.items():
        found = [r for r in after.regions if r.key == key]
        if region is None:
            if found:
                return False
        elif (
            len(found) != 1
            or not same_node(found[0].root, region.root)
            or found[0].body(content).rstrip() != region.body(source).rstrip()
        ):
            return False
    return True


def _closed(text: bytes, following: bytes) -> bytes:
    """``text`` with a line end, where something follows it."""
    return text + b"\n" if following and text and not text.endswith(b"\n") else text


def _laid_out(path: str, files: _Files) -> Layout:
    content = files.content(path)
    layout = lay_out(path, b"" if content is None else content)
    assert isinstance(layout, Layout), "it was laid out before, and every edit of it was checked"
    return layout


def _region_of(layout: Layout, key: ObjectKey) -> Region:
    (region,) = (region for region in layout.regions if region.key == key)
    return region


def _unsafe(path: str, key: ObjectKey) -> Problem:
    return Problem(
        "G304",
        path,
        0,
        "",
        f"{key}, which cannot be exchanged without changing what stands beside it",
        "an object that can be cut out",
        "restore it by hand",
    )
