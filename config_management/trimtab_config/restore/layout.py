"""Where the objects of a YAML file stand, in bytes, so that one can be exchanged and all others stay as they are.

A line that starts with ``---`` always begins a document (YAML 1.2 §9.1.2 forbids it inside one), so the borders are
found in the bytes; what the documents hold is read by the one reader of the compiler. Files that put a border anywhere
else than on a line of its own are not edited but refused by name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab_config.spec.nodes import ListNode, MapNode, TextNode, parse_stream
from trimtab_kernel.problems import Problem

if TYPE_CHECKING:
    from trimtab_config.spec.nodes import Node, RawDocument

_BOM = b"\xef\xbb\xbf"
_BORDER = re.compile(rb"---(?:[ \t]+(?P<rest>[^\r\n]*))?\r?\n?")
# Line breaks for some readers of YAML and not for others; with them, two readers could see different borders.
_OTHER_BREAKS = re.compile(rb"\r(?!\n)|\xc2\x85|\xe2\x80[\xa8\xa9]")
_NOTE = re.compile(rb"[ \t]*(?:#[^\r\n]*)?\r?\n?")  # a blank line or a comment
_CLOSING_NOTE = re.compile(rb"(?:[ \t]*|#[^\r\n]*)\r?\n?")  # further in, "#" may be text of a block scalar


@dataclass(frozen=True, slots=True, order=True)
class ObjectKey:
    """Which object: what Kubernetes tells objects apart by."""

    api_version: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """``Kind namespace/name``."""
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Region:
    """One document of a file, as offsets in its bytes.

    ``border`` is where its ``---`` line starts (equal to ``start`` where it has none), ``start`` what follows that line,
    ``end`` the next border or the end of the file. From ``first`` to ``last`` stands the document without the blank lines
    and comments around it. ``key`` and ``root`` are None where it holds no object. ``sound`` is whether the reader found
    nothing wrong in it.
    """

    border: int
    start: int
    first: int
    last: int
    end: int
    key: ObjectKey | None
    root: Node | None
    sound: bool

    def text(self, content: bytes) -> bytes:
        """Everything after the border line."""
        return content[self.start : self.end]

    def body(self, content: bytes) -> bytes:
        """The document without the blank lines and comments around it."""
        return content[self.first : self.last]


@dataclass(frozen=True, slots=True)
class Layout:
    """The documents of one file, in order. The regions cover the file but for a byte order mark."""

    file: str
    content: bytes
    regions: tuple[Region, ...]


def lay_out(file: str, content: bytes) -> Layout | Problem:
    """The layout of a file, or the Problem (G302 unreadable, G303 borders unclear) that keeps it from being edited."""
    stream = parse_stream(file, content)
    if stream.problems:
        first = stream.problems[0]
        return Problem("G302", file, first.line, "", f"{first.code} {first.got}", "YAML that can be read to its end")
    borders = _borders(file, content)
    if isinstance(borders, Problem):
        return borders
    documents = {document.line: document for document in stream.documents}
    regions = []
    for (border, start), end in zip(borders, [border for border, _ in borders[1:]] + [len(content)], strict=True):
        low = content.count(b"\n", 0, start) + 1
        high = content.count(b"\n", 0, end - 1) + 1 if end > start else low - 1
        inside = [document for line, document in documents.items() if low <= line <= high]
        if len(inside) > 1:
            return _unclear(file, low, "two documents without a border between them")
        regions.append(_region(content, border, start, end, inside[0] if inside else None))
    if sum(region.root is not None for region in regions) != len(stream.documents):
        return _unclear(file, 0, "documents that are not where their borders are")
    return Layout(file, content, tuple(regions))


def same_node(a: Node | None, b: Node | None) -> bool:
    """Whether two documents say the same to every reader: equal text, equally quoted, in the same places."""
    pending = [(a, b)]
    while pending:
        one, other = pending.pop()
        if isinstance(one, TextNode) and isinstance(other, TextNode):
            if (one.text, one.plain) != (other.text, other.plain):
                return False
        elif isinstance(one, ListNode) and isinstance(other, ListNode):
            if len(one.items) != len(other.items):
                return False
            pending.extend(zip(one.items, other.items, strict=True))
        elif isinstance(one, MapNode) and isinstance(other, MapNode):
            if one.entries.keys() != other.entries.keys():
                return False
            pending.extend((entry.value, other.entries[key].value) for key, entry in one.entries.items())
        elif one is not None or other is not None:
            return False
    return True


def _borders(file: str, content: bytes) -> list[tuple[int, int]] | Problem:
    """Where each document's border line starts and where the document after it starts."""
    found = _OTHER_BREAKS.search(content)
    if found:
        return _unclear(file, content.count(b"\n", 0, found.start()) + 1, "a line break that is neither LF nor CRLF")
    position = len(_BOM) if content.startswith(_BOM) else 0
    borders: list[tuple[int, int]] = []
    if not _starts(content[position : position + 4], b"---"):
        borders.append((position, position))
    for number, line in enumerate(content[position:].splitlines(keepends=True), start=1):
        after = position + len(line)
        if _starts(line, b"..."):
            return _unclear(file, number, '"..."')
        if line.startswith(b"%"):
            return _unclear(file, number, 'a line that starts with "%"')
        if _starts(line, b"---"):
            match = _BORDER.fullmatch(line)
            if match is None or (
                (match["rest"] or b"").strip() and not (match["rest"] or b"").lstrip().startswith(b"#")
            ):
                return _unclear(file, number, 'text on the line of "---"')
            borders.append((position, after))
        position = after
    return borders


def _starts(line: bytes, mark: bytes) -> bool:
    return line.startswith(mark) and line[3:4] in (b"", b" ", b"\t", b"\r", b"\n")


def _region(content: bytes, border: int, start: int, end: int, document: RawDocument | None) -> Region:
    first, last = start, end
    lines = content[start:end].splitlines(keepends=True)
    for line in lines:
        if not _NOTE.fullmatch(line):
            break
        first += len(line)
    for line in reversed(lines):
        if last <= first or not _CLOSING_NOTE.fullmatch(line):
            break
        last -= len(line)
    root = None if document is None else document.root
    sound = document is None or not document.problems
    return Region(border, start, first, max(first, last), end, _key(root), root, sound)


def _key(root: Node | None) -> ObjectKey | None:
    metadata = _value(root, "metadata")
    api_version, kind, name = _text(root, "apiVersion"), _text(root, "kind"), _text(metadata, "name")
    if not api_version or not kind or not name:
        return None
    # The namespace that the reader takes where none is written (spec.kinds.Metadata).
    return ObjectKey(api_version, kind, _text(metadata, "namespace") or "default", name)


def _value(node: Node | None, key: str) -> Node | None:
    entry = node.entries.get(key) if isinstance(node, MapNode) else None
    return None if entry is None else entry.value


def _text(node: Node | None, key: str) -> str:
    value = _value(node, key)
    return value.text if isinstance(value, TextNode) else ""


def _unclear(file: str, line: int, got: str) -> Problem:
    return Problem("G303", file, line, "", got, 'documents parted by lines of "---" alone', "restore this file by hand")
