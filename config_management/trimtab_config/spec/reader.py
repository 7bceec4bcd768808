"""Fleet files to typed objects: every problem collected, nothing raised, nothing read but the bytes given.

A fleet folder may also hold plain Kubernetes YAML (ConfigMaps, Kustomizations, values files): documents of other API
groups are skipped and listed as :class:`Skipped`, because judging them is their owner's business and refusing them would
force a layout on people. What merely looks like ours (``apexlogic.ai/v2``, ``EdgeAIDeploymnt``) is a Problem: skipping it
would drop a deployment in silence.
"""

from __future__ import annotations

import contextlib
import re
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from trimtab_config.spec.coherence import check_coherence
from trimtab_config.spec.kinds import KINDS, Document, Kind, Metadata, Origin
from trimtab_config.spec.limits import MAX_FILES, MAX_TOTAL_BYTES
from trimtab_config.spec.nearest import did_you_mean, look_alike, mended, nearest
from trimtab_config.spec.nodes import (
    LOST,
    ListNode,
    MapNode,
    TextNode,
    is_null,
    join_path,
    parse_stream,
    says_boolean,
    says_number,
)
from trimtab_config.spec.scalars import Accepts, Scalar
from trimtab_config.spec.shapes import (
    BooleanShape,
    ChoiceShape,
    ListShape,
    MapShape,
    ObjectShape,
    ScalarShape,
    shape_of,
)
from trimtab_kernel.problems import Collector, Problem, quoted
from trimtab_kernel.records import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from trimtab_config.spec.nodes import Node, RawDocument
    from trimtab_config.spec.shapes import Shape

T = TypeVar("T")
MAX_PROBLEMS = 100  # of one document: beyond that it is not a manifest with mistakes but something else


@dataclass(frozen=True, slots=True)
class Skipped:
    """A document that is not ours; ``api_version`` and ``kind`` are "" where it has none."""

    file: str
    line: int
    api_version: str
    kind: str


@dataclass(frozen=True, slots=True)
class Lost:
    """What is written down but could not be read, so that nobody reports references to it as unknown.

    ``names`` are (kind, name) pairs. ``files`` could not be read to their end: anything may have been in them.
    """

    names: frozenset[tuple[str, str]] = frozenset()
    files: tuple[str, ...] = ()

    def may_hold(self, kind: str, name: str | None = None) -> bool:
        """Whether an object of this kind (and name, if given) may be among what was lost."""
        if self.files:
            return True
        return any(lost[0] == kind and (name is None or lost[1] in {"", name}) for lost in self.names)


@dataclass(frozen=True, slots=True)
class ReadResult:
    """What was read. ``documents`` are sound in themselves, in order of file and place; references are not judged here."""

    documents: tuple[Document, ...]
    problems: tuple[Problem, ...]
    skipped: tuple[Skipped, ...] = ()
    lost: Lost = field(default_factory=Lost)


@dataclass(frozen=True, slots=True)
class FileRead:
    """What one file holds: a function of its name and its bytes, whatever else is in the tree.

    ``lost`` are (kind, name) pairs of what could not be read; ``whole`` is False where the file could not be read to its
    end.
    """

    file: str
    documents: tuple[Document, ...]
    problems: tuple[Problem, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    lost: frozenset[tuple[str, str]] = frozenset()
    whole: bool = True


def read_documents(files: Mapping[str, bytes]) -> ReadResult:
    """Read all documents of ``files`` (paths relative to the fleet folder, with "/", to their bytes).

    Pure: equal bytes give an equal result. Raises nothing; a document with a problem is not among ``documents``.
    """
    if excess := excess_problem(files):
        return ReadResult((), (excess,), (), Lost(frozenset(), ("",)))
    return together(read_file(file, files[file]) for file in sorted(files))


def read_file(file: str, content: bytes) -> FileRead:
    """Read the documents of one file. Raises nothing."""
    collector = Collector()
    documents: list[Document] = []
    skipped: list[Skipped] = []
    lost: set[tuple[str, str]] = set()
    stream = parse_stream(file, content)
    collector.extend(stream.problems)
    for raw in stream.documents:
        outcome = _read_document(file, raw, collector)
        if isinstance(outcome, Document):
            documents.append(outcome)
        elif isinstance(outcome, Skipped):
            skipped.append(outcome)
        else:
            lost.add(outcome)
    problems = tuple(collector.problems)
    return FileRead(file, tuple(documents), problems, tuple(skipped), frozenset(lost), not stream.problems)


def together(reads: Iterable[FileRead]) -> ReadResult:
    """What all files of a tree hold together; ``reads`` in the order of their names. An object twice is a problem."""
    collector = Collector()
    documents: list[Document] = []
    skipped: list[Skipped] = []
    lost_names: set[tuple[str, str]] = set()
    lost_files: list[str] = []
    for read in reads:
        documents += read.documents
        collector.extend(read.problems)
        skipped += read.skipped
        lost_names |= read.lost
        if not read.whole:
            lost_files.append(read.file)
    unique = _without_repeats(documents, collector)
    lost = Lost(frozenset(lost_names), tuple(lost_files))
    return ReadResult(unique, collector.sorted(), tuple(skipped), lost)


@dataclass(frozen=True, slots=True)
class ReadObject(Generic[T]):
    """One plain object: None where there are problems. ``origin`` knows the line of every field."""

    value: T | None
    origin: Origin
    problems: tuple[Problem, ...]


def read_object(file: str, content: bytes, kind: type[T]) -> ReadObject[T]:
    """Read a file that is one object of the dataclass ``kind``, without apiVersion: the configuration of a program.

    It is read as strictly as manifests are, with the same limits and codes. Raises nothing.
    """
    stream = parse_stream(file, content)
    collector = Collector()
    collector.extend(stream.problems)
    if not stream.problems and len(stream.documents) != 1:
        collector.add(Problem("F106", file, 0, "", f"{len(stream.documents)} documents", "one document"))
    if collector.problems:
        return ReadObject(None, Origin(file, 1, 0), collector.sorted())
    (raw,) = stream.documents
    collector.extend(raw.problems)
    root: type[Any] = kind
    reader = _DocumentReader(file, Kind("", "", root, ""), (("", root),))
    value: Any = _BAD
    with contextlib.suppress(_EnoughError):
        value = reader.take_object(shape_of(root), raw.root, "", raw.line)
    collector.extend(reader.problems)
    good = value is not _BAD and not collector.problems
    return ReadObject(value if good else None, Origin(file, raw.line, raw.index, reader.lines), collector.sorted())


def excess_problem(files: Mapping[str, bytes]) -> Problem | None:
    """The problem (F103) of a tree that has too many files or bytes."""
    if len(files) > MAX_FILES:
        return Problem("F103", "", 0, "", f"{len(files)} files", f"at most {MAX_FILES} files")
    total = sum(map(len, files.values()))
    if total > MAX_TOTAL_BYTES:
        return Problem("F103", "", 0, "", f"{total} bytes", f"at most {MAX_TOTAL_BYTES} bytes in all files together")
    return None


def _without_repeats(documents: Iterable[Document], collector: Collector) -> tuple[Document, ...]:
    first: dict[tuple[str, str, str], Document] = {}
    for document in documents:
        key = (document.kind, document.metadata.namespace, document.metadata.name)
        known = first.setdefault(key, document)
        if known is not document:
            collector.add(
                Problem(
                    "F108",
                    document.origin.file,
                    document.origin.line_of("metadata.name"),
                    "metadata.name",
                    f"{document.kind} {quoted(document.metadata.name)} in namespace {document.metadata.namespace} twice",
                    "each object once",
                    f"the first one is at {known.origin.file}:{known.origin.line}",
                )
            )
    return tuple(first.values())


# ---------------------------------------------------------------- which kind is it


_BY_NAME: Final = {(kind.api_version, kind.name): kind for kind in KINDS}
_OURS: Final = {kind.api_version: tuple(k.name for k in KINDS if k.api_version == kind.api_version) for kind in KINDS}
_GROUPS: Final = {api.partition("/")[0]: api for api in _OURS}
_API_OF: Final = {kind.name: kind.api_version for kind in KINDS}
# Nobody else has kinds of these names, so they are ours whatever their API group says. "Model" and "Hold" may be others'.
_DISTINCTIVE: Final = ("EdgeAIDeployment", "OnDeviceModel", "FinOpsPolicy", "AIAlignmentPolicy")
_TOP: Final = ("apiVersion", "kind", "metadata", "spec")


def _read_document(file: str, raw: RawDocument, collector: Collector) -> Document | Skipped | tuple[str, str]:
    root = raw.root
    if not isinstance(root, MapNode):
        return Skipped(file, raw.line, "", "")
    api, kind = _text_of(root, "apiVersion"), _text_of(root, "kind")
    known = _BY_NAME.get((api, kind))
    if known is None:
        problem = _judge_foreign(file, root, api, kind)
        if problem is None:
            return Skipped(file, raw.line, api, kind)
        collector.add(problem)
        collector.extend(raw.problems)
        return (nearest(kind, _API_OF) or kind, _name_of(root))
    reader = _DocumentReader(file, known)
    document = reader.read(raw)
    collector.extend(raw.problems)
    collector.extend(reader.problems)
    if document is None or raw.problems:
        return (known.name, _name_of(root))
    return document


def _text_of(node: MapNode, key: str) -> str:
    entry = node.entries.get(key)
    return entry.value.text if entry and isinstance(entry.value, TextNode) else ""


def _name_of(root: MapNode) -> str:
    entry = root.entries.get("metadata")
    return _text_of(entry.value, "name") if entry and isinstance(entry.value, MapNode) else ""


def _in_our_domain(api: str) -> bool:
    return api.partition("/")[0].casefold().endswith((".apexlogic.ai", ".apexlogic.com"))


def _near_group(api: str) -> str:
    """Our API version that ``api`` was probably meant to be, or "". A subdomain of ours is a group of its own."""
    group = api.partition("/")[0].casefold()
    if group not in _GROUPS and _in_our_domain(api):
        return ""
    near = nearest(group, _GROUPS, 0.8)
    return _GROUPS[near] if near else ""


def _judge_foreign(file: str, root: MapNode, api: str, kind: str) -> Problem | None:
    """A Problem if the document is one of ours, miswritten; None if it is somebody else's."""
    if api in _OURS:
        return _unknown_kind(file, root, api, kind)
    if not api and not kind:
        return _misspelt_head(file, root)
    if api == "v1" and kind == "List":
        return _list_of_ours(file, root)
    near_kind, near_api = nearest(kind, _API_OF, 0.85), _near_group(api)
    if near_kind and (near_kind in _DISTINCTIVE or not api or near_api or _in_our_domain(api)):
        expected = _API_OF[near_kind]
    elif near_api:
        expected = near_api
    else:
        return None
    code, got = ("F109", quoted(api)) if api else ("F106", "nothing")
    return Problem(code, file, _line_of(root, "apiVersion"), "apiVersion", got, quoted(expected), look_alike(api))


def _unknown_kind(file: str, root: MapNode, api: str, kind: str) -> Problem:
    line = _line_of(root, "kind")
    if not kind:
        return Problem("F106", file, line, "kind", "nothing", f"one of {', '.join(_OURS[api])}")
    near = nearest(kind, _API_OF)
    if near and near not in _OURS[api]:
        return Problem("F109", file, _line_of(root, "apiVersion"), "apiVersion", quoted(api), quoted(_API_OF[near]))
    return Problem(
        "F109", file, line, "kind", quoted(kind), f"one of {', '.join(_OURS[api])}", did_you_mean(kind, _OURS[api])
    )


def _misspelt_head(file: str, root: MapNode) -> Problem | None:
    """A document without apiVersion and kind is somebody's values file, unless it has the rest of an object."""
    if not {"metadata", "spec"} & root.entries.keys():
        return None
    for key, entry in root.entries.items():
        near = nearest(key, _TOP[:2])
        if near:
            hint = look_alike(key) or f"did you mean {quoted(near)}?"
            return Problem("F105", file, entry.line, join_path("", key), quoted(key), "a known field", hint)
    if {"metadata", "spec"} <= root.entries.keys():
        return Problem("F106", file, root.line, "apiVersion", "nothing", f"one of {', '.join(_OURS)}")
    return None


def _list_of_ours(file: str, root: MapNode) -> Problem | None:
    entry = root.entries.get("items")
    if entry is None or not isinstance(entry.value, ListNode):
        return None
    for item in entry.value.items:
        if isinstance(item, MapNode) and _text_of(item, "apiVersion") in _OURS:
            return Problem(
                "F109",
                file,
                item.line,
                "items",
                'objects of Trimtab in a "List"',
                "each object in a document of its own",
                'separate them with lines of "---"',
            )
    return None


def _line_of(root: MapNode, key: str) -> int:
    entry = root.entries.get(key)
    return entry.line if entry else root.line


# ---------------------------------------------------------------- one document


class _EnoughError(Exception):
    """So much is wrong with this document that more would not help."""


class _Bad:
    """Stands for a value that could not be read; its problem is recorded already."""


_BAD: Final = _Bad()
_OTHER_WORDS: Final = {
    **dict.fromkeys(("x86_64", "x86-64", "x64"), "amd64"),
    **dict.fromkeys(("aarch64", "armv8"), "arm64"),
    **dict.fromkeys(("armv6l", "armv7", "armv7l", "armhf"), "arm"),
}
_LEADING_ZERO = re.compile(r"[-+]?0[0-9_]+", re.ASCII)
_CLUSTER_FIELDS: Final = frozenset(
    {
        "creationTimestamp",
        "deletionTimestamp",
        "finalizers",
        "generateName",
        "generation",
        "managedFields",
        "ownerReferences",
        "resourceVersion",
        "selfLink",
        "status",
        "uid",
    }
)


class _DocumentReader:
    """Reads one document of a known kind. Paths are dotted, list places in brackets."""

    def __init__(self, file: str, kind: Kind, roots: tuple[tuple[str, type], ...] = ()) -> None:
        """``roots``: where the known fields begin, by path; metadata and spec unless given."""
        self.file = file
        self.kind = kind
        self.roots = roots or (("metadata", Metadata), ("spec", kind.spec))
        self.problems: list[Problem] = []
        self.lines: dict[str, int] = {}
        self.readers: dict[type, Callable[[Any, Node, str, int], Any]] = {
            ScalarShape: self.take_scalar,
            BooleanShape: self.take_boolean,
            ChoiceShape: self.take_choice,
            ListShape: self.take_list,
            MapShape: self.take_mapping,
            ObjectShape: self.take_object,
        }

    def read(self, raw: RawDocument) -> Document | None:
        root = raw.root
        assert isinstance(root, MapNode)
        shapes: dict[str, ObjectShape] = {"metadata": shape_of(Metadata), "spec": shape_of(self.kind.spec)}
        parts: dict[str, Any] = {}
        try:
            for key, entry in root.entries.items():
                self.lines[key] = entry.line
                if shape := shapes.get(key):
                    parts[key] = self.take_object(shape, entry.value, key, entry.line)
                elif key not in _TOP:
                    self.unknown(key, entry.line, "", _TOP)
        except _EnoughError:
            return None
        for key, shape in shapes.items():
            if key not in parts:
                self.problems.append(Problem("F106", self.file, root.line, key, "nothing", _expected(shape)))
        if self.problems:
            return None
        origin = Origin(self.file, raw.line, raw.index, self.lines)
        document = Document(self.kind.api_version, self.kind.name, parts["metadata"], parts["spec"], origin)
        self.problems.extend(check_coherence(document))
        return None if self.problems else document

    def add(self, code: str, path: str, line: int, got: str, expected: str, hint: str = "") -> _Bad:
        if len(self.problems) >= MAX_PROBLEMS:
            raise _EnoughError
        self.problems.append(Problem(code, self.file, line, path, got, expected, hint))
        return _BAD

    def wrong_type(self, node: Node, path: str, line: int, expected: str) -> _Bad:
        if node is LOST:
            return _BAD
        hint = "give it a value, or remove the line" if is_null(node) else ""
        return self.add("F113", path, line, _describe(node), expected, hint)

    def unknown(self, key: str, line: int, path: str, names: Iterable[str]) -> str:
        """Tell of an unknown field. The value is the known one that was probably meant, or ""."""
        names = tuple(names)
        expected = f"one of {', '.join(names)}" if len(names) <= 15 else "a known field"
        homes = _homes(self.roots).get(key, ())
        hint = did_you_mean(key, names)
        if hint:
            pass
        elif key in _CLUSTER_FIELDS and path in {"", "metadata"}:
            hint = "the cluster writes this; leave it out of Git"
        elif homes:
            hint = f"did you mean {' or '.join(homes[:3])}?"
        self.add("F105", join_path(path, key), line, quoted(key), expected, hint)
        return nearest(key, names)

    def take_object(self, shape: ObjectShape, node: Node, path: str, line: int) -> Any:  # noqa: ANN401 - shape.type
        if type(node) is not MapNode:
            if shape.bare and type(node) is TextNode and not is_null(node):
                fill = shape.fields[shape.bare]
                value = self.readers[type(fill.shape)](fill.shape, node, path, line)
                return value if value is _BAD else shape.type(**{fill.name: value})
            return self.wrong_type(node, path, line, f"an object with {', '.join(list(shape.fields)[:6])}")
        values: dict[str, Any] = {}
        meant: set[str] = set()
        good = True
        for key, entry in node.entries.items():
            where = join_path(path, key)
            self.lines[where] = entry.line
            known = shape.fields.get(key)
            if known is None:
                meant.add(self.unknown(key, entry.line, path, shape.fields))
                good = False
                continue
            value = self.readers[type(known.shape)](known.shape, entry.value, where, entry.line)
            values[known.name] = value
            good = good and value is not _BAD
        for known in shape.fields.values():
            if known.required and known.name not in values:
                good = False
                if known.yaml not in meant:
                    self.add("F106", join_path(path, known.yaml), line, "nothing", _expected(known.shape))
        return shape.type(**values) if good else _BAD

    def take_list(self, shape: ListShape, node: Node, path: str, line: int) -> tuple[Any, ...] | _Bad:
        if type(node) is not ListNode:
            hint = f"write [{node.text}]" if type(node) is TextNode and node.text and len(node.text) < 40 else ""
            return self.add("F113", path, line, _describe(node), "a list", hint)
        read = self.readers[type(shape.item)]
        scalars = isinstance(shape.item, ScalarShape | ChoiceShape)
        values: list[Any] = []
        seen: set[Any] = set()
        good = True
        for index, item in enumerate(node.items):
            where = f"{path}[{index}]"
            self.lines[where] = item.line
            value = read(shape.item, item, where, item.line)
            if scalars and value is not _BAD:
                if value in seen:
                    value = self.add("F116", where, item.line, f"{_describe(item)} twice", "each entry once")
                seen.add(value)
            values.append(value)
            good = good and value is not _BAD
        if len(values) < shape.minimum:
            return self.add("F116", path, line, "an empty list", "at least one entry")
        return tuple(values) if good else _BAD

    def take_mapping(self, shape: MapShape, node: Node, path: str, line: int) -> dict[str, Any] | _Bad:
        if type(node) is not MapNode:
            return self.wrong_type(node, path, line, "an object")
        read = self.readers[type(shape.value)]
        values: dict[str, Any] = {}
        good = True
        for key, entry in node.entries.items():
            where = join_path(path, key)
            self.lines[where] = entry.line
            name = self.take_scalar(_key_shape(shape.key), TextNode(key, entry.plain, entry.line), where, entry.line)
            value = read(shape.value, entry.value, where, entry.line)
            if name is _BAD or value is _BAD:
                good = False
            else:
                values[name] = value
        if len(values) < shape.minimum and good:
            return self.add("F116", path, line, "an empty object", "at least one entry")
        return values if good else _BAD

    def take_scalar(self, shape: ScalarShape, node: Node, path: str, line: int) -> Any:  # noqa: ANN401 - what it parses to
        scalar = shape.scalar
        if type(node) is not TextNode or is_null(node):
            return self.wrong_type(node, path, line, scalar.expected)
        text = node.text
        if scalar.accepts is Accepts.TEXT:
            if node.plain and (says_number(node) or says_boolean(node)):
                what = "a number" if says_number(node) else "a boolean"
                hint = f'write it in quotes: "{text}"' if len(text) < 80 else "write it in quotes"
                return self.add("F113", path, node.line, f"{_bare(text)} ({what})", scalar.expected, hint)
        elif scalar.accepts is Accepts.NUMBER and not node.plain:
            return self.add("F113", path, node.line, f"{quoted(text)} (text)", scalar.expected, "leave out the quotes")
        elif node.plain and _LEADING_ZERO.fullmatch(text):
            hint = "some readers take a number that starts with 0 for an octal one"
            return self.add("F104", path, node.line, _bare(text), scalar.expected, hint)
        try:
            return scalar.parse(text)
        except ValueError as error:
            says = str(error)
            expected, hint = (says[9:], "") if says.startswith("expected ") else (scalar.expected, says)
            return self.add(
                "F104", path, node.line, _describe(node), expected, hint or look_alike(text) or mended(scalar, text)
            )

    def take_boolean(self, shape: BooleanShape, node: Node, path: str, line: int) -> bool | _Bad:
        text = node.text if type(node) is TextNode and node.plain else ""
        if text in {"true", "True", "TRUE"}:
            return True
        if text in {"false", "False", "FALSE"}:
            return False
        return self.wrong_type(node, path, line, "true or false")

    def take_choice(self, shape: ChoiceShape, node: Node, path: str, line: int) -> Any:  # noqa: ANN401 - an Enum
        expected = f"one of {', '.join(shape.values)}"
        if type(node) is not TextNode or is_null(node):
            return self.wrong_type(node, path, line, expected)
        value = shape.values.get(node.text)
        if value is not None:
            return value
        meant = _OTHER_WORDS.get(node.text.lower(), "")
        hint = f"did you mean {quoted(meant)}?" if meant in shape.values else did_you_mean(node.text, shape.values)
        return self.add("F104", path, node.line, quoted(node.text), expected, hint)


@cache
def _key_shape(scalar: Scalar) -> ScalarShape:
    return ScalarShape(scalar)


def _bare(text: str) -> str:
    """Text that stood in the file without quotes, as it is shown after "got"."""
    return quoted(text)[1:-1]


def _describe(node: Node) -> str:
    if is_null(node):
        return "nothing"
    if isinstance(node, TextNode):
        return _bare(node.text) if says_number(node) or says_boolean(node) else quoted(node.text)
    return "a list" if isinstance(node, ListNode) else "an object"


def _expected(shape: Shape) -> str:
    if isinstance(shape, ScalarShape):
        return shape.scalar.expected
    if isinstance(shape, ChoiceShape):
        return f"one of {', '.join(shape.values)}"
    if isinstance(shape, ListShape):
        return "a list"
    if isinstance(shape, ObjectShape):
        names = [name for name, each in shape.fields.items() if each.required] or list(shape.fields)[:6]
        return f"an object with {', '.join(names)}"
    return "an object" if isinstance(shape, MapShape) else "true or false"


@cache
def _homes(roots: tuple[tuple[str, type], ...]) -> dict[str, tuple[str, ...]]:
    """Where below ``roots`` each field name is known, as dotted paths, shallow ones first."""
    homes: dict[str, list[str]] = {}
    queue: list[tuple[str, ObjectShape]] = [(path, shape_of(kind)) for path, kind in roots]
    while queue:
        path, shape = queue.pop(0)
        for name, each in shape.fields.items():
            homes.setdefault(name, []).append(join_path(path, name))
            below, suffix = each.shape, ""
            while isinstance(below, ListShape | MapShape):
                suffix += "[]" if isinstance(below, ListShape) else ".*"
                below = below.item if isinstance(below, ListShape) else below.value
            if isinstance(below, ObjectShape) and not below.bare:
                queue.append((f"{join_path(path, name)}{suffix}", below))
    return {name: tuple(paths) for name, paths in homes.items()}
