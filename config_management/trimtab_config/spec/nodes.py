"""YAML text to nodes with positions, under limits. Nothing here knows a kind.

libyaml reads the text (through PyYAML's C parser); this module builds from its events, one at a time and without
recursion, so that a limit is met before the memory or the stack is: depth, nodes after aliases are expanded, documents.

Supported: anchors, aliases and merge keys (``<<``), which people use to say something once. Refused, by name: tags,
an alias inside its own anchor, keys that are not text, one key twice. No plain scalar becomes a number, a date or a
boolean here: a node keeps the text and whether it stood in quotes, and the field that takes it decides.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias

import yaml

from trimtab_config.spec.limits import MAX_FILE_BYTES
from trimtab_kernel.problems import Problem, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DOCUMENTS = 1000  # in one file
MAX_DEPTH = 100  # our kinds need 12; CustomResourceDefinitions, which may lie in the same folder, about 50
MAX_PROBLEMS = 100  # of one document
MAX_NODES = 100_000  # in one document, each alias counted as what it stands for


class TextNode:
    """A scalar: its text, and whether it stood there plain (without quotes)."""

    __slots__ = ("line", "plain", "size", "text")

    def __init__(self, text: str, plain: bool, line: int) -> None:
        self.text = text
        self.plain = plain
        self.line = line
        self.size = 1


class ListNode:
    """A sequence."""

    __slots__ = ("items", "line", "size")

    def __init__(self, line: int) -> None:
        self.items: list[Node] = []
        self.line = line
        self.size = 1


class Entry:
    """One key of a mapping: the line of the key, whether it stood there plain, and its value."""

    __slots__ = ("line", "plain", "value")

    def __init__(self, line: int, plain: bool, value: Node) -> None:
        self.line = line
        self.plain = plain
        self.value = value


class MapNode:
    """A mapping, merge keys already followed."""

    __slots__ = ("entries", "line", "size")

    def __init__(self, line: int) -> None:
        self.entries: dict[str, Entry] = {}
        self.line = line
        self.size = 1


Node: TypeAlias = TextNode | ListNode | MapNode
LOST = TextNode("", True, 0)
"""Stands where an alias was refused: its problem is told, and nobody needs a second one about the empty place."""
Event: TypeAlias = Any  # the type stubs know nothing of the fields of an event


class RawDocument:
    """One document of a file: its root, its place, and what was wrong inside it that did not stop the reading."""

    __slots__ = ("index", "line", "problems", "root")

    def __init__(self, root: Node, index: int, problems: list[Problem]) -> None:
        self.root = root
        self.line = root.line
        self.index = index
        self.problems = problems


class Stream:
    """What a file holds. ``problems`` are those that ended the reading: what comes after them is not known."""

    __slots__ = ("documents", "problems")

    def __init__(self) -> None:
        self.documents: list[RawDocument] = []
        self.problems: list[Problem] = []


_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")
_CONFLICT = re.compile(r"^<{7} .*\n(?s:.*\n)?={7}\n(?s:.*\n)?>{7} ", re.MULTILINE)
_OTHER_MARKS = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)


def parse_stream(file: str, content: bytes) -> Stream:
    """All documents of one file. Raises nothing: whatever is wrong is a Problem."""
    stream = Stream()
    text = _decode(file, content, stream.problems)
    if text is None:
        return stream
    try:
        _Builder(file, stream).run(yaml.parse(text, Loader=yaml.CSafeLoader))
    except _Stop as stop:
        stream.problems.append(stop.problem)
    except yaml.MarkedYAMLError as error:
        stream.problems.append(_syntax_problem(file, text, error))
    except yaml.YAMLError as error:
        stream.problems.append(Problem("F101", file, 0, "", quoted(str(error)), "YAML"))
    return stream


def _decode(file: str, content: bytes, problems: list[Problem]) -> str | None:
    if len(content) > MAX_FILE_BYTES:
        problems.append(
            Problem("F103", file, 0, "", f"{len(content)} bytes", f"at most {MAX_FILE_BYTES} bytes in one file")
        )
        return None
    for mark, encoding in _OTHER_MARKS:
        if content.startswith(mark):
            problems.append(Problem("F102", file, 1, "", encoding, "UTF-8", "save the file as UTF-8"))
            return None
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        problems.append(Problem("F102", file, line, "", f"byte 0x{content[error.start]:02x}", "UTF-8"))
        return None
    if found := _CONTROL.search(text):
        line = text.count("\n", 0, found.start()) + 1
        problems.append(Problem("F102", file, line, "", f"control character U+{ord(found.group()):04X}", "text"))
        return None
    return text


def _syntax_problem(file: str, text: str, error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 0
    says = ": ".join(part for part in (error.context, error.problem) if part)
    if mark:
        lines = text.splitlines()
        here = lines[mark.line] if mark.line < len(lines) else ""
        indentation = here[: len(here) - len(here.lstrip())]
        if "\t" in indentation or here[mark.column : mark.column + 1] == "\t":
            return Problem("F114", file, line, "", "a tab", "spaces", "YAML is indented with spaces only")
    if conflict := _CONFLICT.search(text):
        line = text.count("\n", 0, conflict.start()) + 1
        return Problem(
            "F101", file, line, "", "a merge conflict", "YAML", "keep one side, and take the three marks away"
        )
    return Problem("F101", file, line, "", quoted(says, 200), "YAML", _syntax_hint(says))


def _syntax_hint(says: str) -> str:
    if "mapping values are not allowed" in says:
        return 'text that holds ": " needs quotes, or the indentation of this line is wrong'
    if "block mapping" in says or "block collection" in says:
        return "the indentation of this line fits no line above it"
    if "cannot start any token" in says:
        return "text that starts with @, ` or % needs quotes"
    if "undefined alias" in says:
        return "an anchor (&name) must stand above its alias (*name)"
    return ""


class _Stop(Exception):  # noqa: N818 - control flow within this module
    """The file cannot be read any further."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


class _Open:
    """A collection that is being read: the key that waits for its value, and the anchor that names it."""

    __slots__ = ("anchor", "key", "key_line", "key_plain", "merge", "node", "skip")

    def __init__(self, node: ListNode | MapNode, anchor: str | None) -> None:
        self.node = node
        self.anchor = anchor
        self.key: str | None = None
        self.key_line = 0
        self.key_plain = False
        self.merge: Node | None = None
        self.skip = False  # the value belongs to a key that was refused


class _Builder:
    def __init__(self, file: str, stream: Stream) -> None:
        self.file = file
        self.stream = stream
        self.start()

    def start(self) -> None:
        self.stack: list[_Open] = []
        self.anchors: dict[str, Node] = {}
        self.root: Node | None = None
        self.size = 0
        self.problems: list[Problem] = []

    def run(self, events: Iterator[Event]) -> None:
        index = 0
        for event in events:
            kind = type(event)
            if kind is yaml.ScalarEvent:
                if event.tag is not None:
                    self.tagged(event)
                self.place(TextNode(event.value, not event.style, event.start_mark.line + 1), event.anchor)
            elif kind is yaml.MappingStartEvent:
                self.open(MapNode(event.start_mark.line + 1), event)
            elif kind is yaml.SequenceStartEvent:
                self.open(ListNode(event.start_mark.line + 1), event)
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                self.close()
            elif kind is yaml.AliasEvent:
                self.alias(event)
            elif kind is yaml.DocumentStartEvent:
                self.start()
            elif kind is yaml.DocumentEndEvent:
                if index >= MAX_DOCUMENTS:
                    line = event.start_mark.line + 1
                    raise _Stop(
                        Problem("F103", self.file, line, "", "more documents", f"at most {MAX_DOCUMENTS} in one file")
                    )
                if self.root is not None and not is_null(self.root):
                    self.stream.documents.append(RawDocument(self.root, index, self.problems))
                index += 1

    def path(self) -> str:
        """The field that is being read, as a dotted path."""
        path = ""
        for open_ in self.stack:
            if isinstance(open_.node, ListNode):
                path = f"{path}[{len(open_.node.items)}]"
            elif open_.key is not None:
                path = join_path(path, open_.key)
        return path

    def add(self, code: str, line: int, got: str, expected: str, hint: str = "") -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(code, self.file, line, self.path(), got, expected, hint))

    def tagged(self, event: Event) -> None:
        hint = "put the text in quotes instead" if event.tag.endswith(("!str", ":str")) else "leave the tag out"
        shown = event.tag.replace("tag:yaml.org,2002:", "!!", 1)
        self.add("F111", event.start_mark.line + 1, f"tag {quoted(shown)}", "a value without a tag", hint)

    def count(self, size: int, line: int) -> None:
        self.size += size
        if self.size > MAX_NODES:
            raise _Stop(
                Problem(
                    "F110",
                    self.file,
                    line,
                    self.path(),
                    f"more than {MAX_NODES} values with aliases expanded",
                    f"at most {MAX_NODES}",
                    "use fewer aliases, or split the document",
                )
            )

    def open(self, node: ListNode | MapNode, event: Event) -> None:
        if event.tag is not None:
            self.tagged(event)
        if len(self.stack) >= MAX_DEPTH:
            raise _Stop(
                Problem(
                    "F112", self.file, node.line, "", f"more than {MAX_DEPTH} levels", f"at most {MAX_DEPTH} levels"
                )
            )
        self.count(1, node.line)
        if event.anchor is not None:
            self.anchors.pop(event.anchor, None)  # a name that is given anew means the new node from here on
        self.stack.append(_Open(node, event.anchor))

    def close(self) -> None:
        open_ = self.stack.pop()
        node = open_.node
        if open_.merge is not None and isinstance(node, MapNode):
            self.merge(node, open_.merge)
        if open_.anchor is not None:
            self.anchors[open_.anchor] = node
        self.put(node)

    def place(self, node: TextNode, anchor: str | None) -> None:
        self.count(1, node.line)
        if anchor is not None:
            self.anchors[anchor] = node
        self.put(node)

    def alias(self, event: Event) -> None:
        line = event.start_mark.line + 1
        name = event.anchor or ""
        node = self.anchors.get(name)
        if node is None:
            inside = any(open_.anchor == name for open_ in self.stack)
            got = f"alias {quoted('*' + name)} inside its own anchor" if inside else f"alias {quoted('*' + name)}"
            self.add("F110", line, got, "an alias of something that stands above it and is complete")
            node = LOST
        self.count(node.size, line)
        self.put(node)

    def put(self, node: Node) -> None:
        """Give a finished node to what it stands in."""
        if not self.stack:
            self.root = node
            return
        open_ = self.stack[-1]
        parent = open_.node
        parent.size += node.size
        if isinstance(parent, ListNode):
            parent.items.append(node)
        elif open_.key is None:
            self.key(open_, parent, node)
        else:
            if open_.key == "<<" and open_.key_plain:
                open_.merge = node
            elif not open_.skip:
                parent.entries[open_.key] = Entry(open_.key_line, open_.key_plain, node)
            open_.key = None
            open_.skip = False

    def key(self, open_: _Open, parent: MapNode, node: Node) -> None:
        open_.key_line = node.line
        if not isinstance(node, TextNode):
            # "{{" is an object as the key of another one.
            hint = 'a template such as "{{ name }}" is not filled in' if isinstance(node, MapNode) else ""
            self.add("F113", node.line, "a list or an object as a key", "text as a key", hint)
            open_.key = ""
            open_.skip = True
            return
        open_.key = node.text
        open_.key_plain = node.plain
        twice = open_.merge is not None if node.plain and node.text == "<<" else node.text in parent.entries
        if twice:
            first = parent.entries.get(node.text)
            where = f"the first one is on line {first.line}" if first else 'give a list instead: "<<: [*a, *b]"'
            if node.text == "apiVersion":
                where += '; objects in one file are separated by lines of "---"'
            self.add("F107", node.line, f"{quoted(node.text)} twice", "each key once", where)
            open_.skip = True

    def merge(self, node: MapNode, source: Node) -> None:
        """Add what ``<<`` names; keys that are written down win, then earlier sources."""
        for each in source.items if isinstance(source, ListNode) else [source]:
            if each is LOST:
                continue
            if not isinstance(each, MapNode):
                self.add("F115", each.line, '"<<" with something else', '"<<: *anchor", or a list of such aliases')
                continue
            for key, entry in each.entries.items():
                node.entries.setdefault(key, entry)


def is_null(node: Node) -> bool:
    """Whether the node says nothing: empty, ``~`` or ``null``, without quotes."""
    return isinstance(node, TextNode) and node.plain and node.text in {"", "~", "null", "Null", "NULL"}


def join_path(path: str, key: str) -> str:
    """The dotted path of a key below ``path``; a very long key is cut."""
    shown = key if len(key) <= 80 else f"{key[:80]}..."
    return f"{path}.{shown}" if path else shown


# What YAML 1.1 or 1.2 readers take for something other than text. A field that wants text wants quotes around these.
_BOOLEAN = re.compile(r"[yYnN]|[yY]es|YES|[nN]o|NO|[tT]rue|TRUE|[fF]alse|FALSE|[oO]n|ON|[oO]ff|OFF", re.ASCII)
_NUMBER = re.compile(
    r"[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?0b[01_]+|[-+]?0o[0-7_]+|[-+]?0x[0-9a-fA-F_]+"
    r"|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
    re.ASCII,
)


def says_boolean(node: TextNode) -> bool:
    """Whether some YAML reader takes this plain scalar for a boolean."""
    return node.plain and _BOOLEAN.fullmatch(node.text) is not None


def says_number(node: TextNode) -> bool:
    """Whether some YAML reader takes this plain scalar for a number."""
    return node.plain and _NUMBER.fullmatch(node.text) is not None
