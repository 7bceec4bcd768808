"""Single fields of an object to another value, the text around them untouched. Pure.

What a person wrote stays as it stands: comments, order, quotes of other fields, the other documents of the file. Each
edit is read again and compared with what it must say, entry by entry; one that would say anything else is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

import yaml

from trimtab_config.restore.holds import quote
from trimtab_config.restore.layout import Layout, ObjectKey, Region, lay_out, same_node
from trimtab_config.restore.objects import NOTHING, Action, Edit, Restoration
from trimtab_config.restore.proof import object_key
from trimtab_config.spec.nodes import Entry, ListNode, MapNode, Node, TextNode, join_path
from trimtab_config.spec.plain import plain_document
from trimtab_config.spec.reader import read_documents
from trimtab_kernel.problems import Collector, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trimtab_config.spec.kinds import Document
    from trimtab_kernel.canonical import Json

Value: TypeAlias = str | int | Decimal | bool | tuple[str, ...] | None
"""What a field is set to: text (written in quotes), a number, a truth value, a list of texts; None takes the field away."""
FieldPath: TypeAlias = tuple[str, ...]
_STEP = 2  # spaces of indentation where a mapping is begun


def field_path(dotted: str) -> FieldPath:
    """``spec.resourceLimits.cpu`` as a path; for keys that hold no dot."""
    return tuple(dotted.split("."))


def set_fields(
    current: Mapping[str, bytes], key: ObjectKey, fields: Mapping[FieldPath, Value]
) -> tuple[Restoration, tuple[Problem, ...]]:
    """Give fields of the object ``key`` new values, in the file where it stands; paths of files are relative to the fleet.

    A field that is not there is added, with the objects above it; one that is set to None goes, and with it an object above
    it that would be empty. A value that is there already changes nothing. Fields that came by an alias or a merge key are
    written down beside it; the anchor and its other users stay what they are.

    Problems, and then no changes: G301 no such object, G302 and G303 a file that cannot be read or edited safely, G304 an
    edit that would change something else, G305 an object that is there twice.
    """
    problems = Collector()
    found: list[Layout] = []
    name = key.name.encode()
    for file in sorted(current):
        # A name can hide behind an escape or in two lines only where there is a backslash.
        if name not in current[file] and b"\\" not in current[file]:
            continue
        layout = lay_out(file, current[file])
        if isinstance(layout, Problem):
            if layout.code == "G302" or name in current[file]:
                problems.add(layout)
        elif any(region.key == key for region in layout.regions):
            found.append(layout)
    places = [(layout, region) for layout in found for region in layout.regions if region.key == key]
    if not places and not problems.problems:
        problems.add(Problem("G301", got=f"no {key}", expected="an object of the tree"))
    if len(places) > 1:
        second = places[1][0].file
        problems.add(Problem("G305", second, 0, "", f"{key} twice", "each object once", f"also in {places[0][0].file}"))
    if problems.problems:
        return NOTHING, problems.sorted()
    ((layout, region),) = places
    if not region.sound:
        fault = Problem("G303", layout.file, 0, "", f"{key} with faults", "a sound object", "repair it first")
        return NOTHING, (fault,)
    content = layout.content
    for path, value in sorted(fields.items()):
        edited = _set(layout.file, content, key, path, value)
        if isinstance(edited, Problem):
            return NOTHING, (edited,)
        content = edited
    if content == layout.content:
        return Restoration({}, (Edit(key, Action.UNCHANGED, layout.file),)), ()
    return Restoration({layout.file: content}, (Edit(key, Action.REPLACED, layout.file),)), ()


# ---------------------------------------------------------------- what an edit did, by the compiler's own reader


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """One field of one object before and after, as plain JSON; None where it is not written (or holds its default)."""

    key: ObjectKey
    field: str
    before: Json
    after: Json


def differences(base: Mapping[str, bytes], result: Mapping[str, bytes]) -> tuple[Difference, ...]:
    """Every field that differs between two trees, lists as one value each; a whole object as the field ``""``.

    Made from parsed objects, so comments, quotes, order and names of files do not count. Raises ValueError where one of the
    trees has a problem: what cannot be read cannot be compared.
    """
    before, after = _objects(base), _objects(result)
    found: list[Difference] = []
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if old is None or new is None:
            found.append(Difference(key, "", _plain(old), _plain(new)))
        elif old != new:
            found.extend(_compare(key, "", plain_document(old), plain_document(new)))
    return tuple(found)


def _plain(document: Document | None) -> Json:
    return None if document is None else plain_document(document)


def _objects(files: Mapping[str, bytes]) -> dict[ObjectKey, Document]:
    read = read_documents(files)
    if read.problems:
        raise ValueError(str(read.problems[0]))
    return {object_key(document): document for document in read.documents}


def _compare(key: ObjectKey, path: str, old: Json, new: Json) -> Iterable[Difference]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() | new.keys()):
            yield from _compare(key, join_path(path, name), old.get(name), new.get(name))
    elif isinstance(old, dict) and new is None:
        for name in sorted(old):
            yield from _compare(key, join_path(path, name), old[name], None)
    elif isinstance(new, dict) and old is None:
        for name in sorted(new):
            yield from _compare(key, join_path(path, name), None, new[name])
    elif old != new:
        yield Difference(key, path, old, new)


# ---------------------------------------------------------------- one field


def _set(file: str, content: bytes, key: ObjectKey, path: FieldPath, value: Value) -> bytes | Problem:
    layout = lay_out(file, content)
    assert isinstance(layout, Layout), "it was laid out before, and every edit of it was checked"
    (region,) = (each for each in layout.regions if each.key == key)
    assert region.root is not None
    wanted = _changed(region.root, path, value)
    if wanted is None:
        return _refused(file, key, path, "stands below something that is no object")
    if same_node(wanted, region.root):
        return content
    text = region.text(content).decode("utf-8")
    for candidate in _candidates(_marked(text), text, path, value):
        edited = content[: region.start] + candidate.encode("utf-8") + content[region.end :]
        if _says(file, edited, layout, region, wanted):
            return edited
    return _refused(file, key, path, "cannot be written there without changing what stands beside it")


def _refused(file: str, key: ObjectKey, path: FieldPath, reason: str) -> Problem:
    field = ".".join(path)
    return Problem(
        "G304", file, 0, field, f"a field of {key} that {reason}", "a field in a block of its own", "edit it by hand"
    )


def _says(file: str, content: bytes, before: Layout, region: Region, wanted: Node) -> bool:
    """Whether the file now holds ``wanted`` in place of the region, every other document as it was, byte by byte."""
    after = lay_out(file, content)
    if isinstance(after, Problem) or len(after.regions) != len(before.regions):
        return False
    for old, new in zip(before.regions, after.regions, strict=True):
        if old is region:
            if not new.sound or new.key != old.key or not same_node(new.root, wanted):
                return False
        elif old.text(before.content) != new.text(content):
            return False
    return True


def _written(value: Value) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(quote(text) for text in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return f"{value:f}"
    return quote(value) if isinstance(value, str) else str(value)


def _node(value: Value) -> Node:
    if isinstance(value, tuple):
        made = ListNode(0)
        made.items = [TextNode(text, False, 0) for text in value]
        return made
    return TextNode(value, False, 0) if isinstance(value, str) else TextNode(_written(value), True, 0)


def _changed(root: Node, path: FieldPath, value: Value) -> Node | None:
    """A copy of ``root`` with the field changed; None where the path leads through something that is no mapping."""
    if not isinstance(root, MapNode):
        return None
    name, *rest = path
    copy = MapNode(root.line)
    copy.entries = dict(root.entries)
    entry = root.entries.get(name)
    if rest:
        below = _changed(MapNode(0) if entry is None else entry.value, tuple(rest), value)
        if below is None:
            return None
        if isinstance(below, MapNode) and not below.entries and value is None:
            copy.entries.pop(name, None)
        else:
            copy.entries[name] = Entry(0, True, below)
    elif value is None:
        copy.entries.pop(name, None)
    elif entry is None or not _same_value(entry.value, value):
        copy.entries[name] = Entry(0, True, _node(value))
    return copy


def _same_value(node: Node, value: Value) -> bool:
    """Whether a field says ``value`` already, however it is quoted."""
    if isinstance(value, tuple):
        return isinstance(node, ListNode) and same_node(node, _node(value))
    if not isinstance(node, TextNode):
        return False
    return node.text == (value if isinstance(value, str) else _written(value)) and (
        node.plain or isinstance(value, str)
    )


# ---------------------------------------------------------------- text


@dataclass(slots=True)
class _Span:
    """Where something stands in the text, in characters; ``entries`` of a mapping are its keys' spans and values."""

    start: int
    end: int
    kind: str
    flow: bool = False
    last: int = 0
    entries: list[tuple[str, _Span, _Span]] | None = None


def _marked(text: str) -> _Span:
    """The document's root with places. Keys that are no text have the name "" here."""
    events: Any = iter(yaml.parse(text, Loader=yaml.CSafeLoader))  # the type stubs know nothing of the fields of events
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            return _span(next(events), events)
    raise AssertionError("a region with an object has a document")


def _span(event: Any, events: Any) -> _Span:  # noqa: ANN401 - as above
    start, end = event.start_mark.index, event.end_mark.index
    of = type(event)
    if of is yaml.ScalarEvent:
        kind = "block" if event.style in ("|", ">") else "anchored" if event.anchor else "text"
        return _Span(start, end, kind, last=end)
    if of is yaml.AliasEvent:
        return _Span(start, end, "alias", last=end)
    children: list[_Span] = []
    names: list[str] = []
    flow = bool(event.flow_style)
    mapping = of is yaml.MappingStartEvent
    while True:
        inner = next(events)
        if type(inner) in (yaml.MappingEndEvent, yaml.SequenceEndEvent):
            break
        names.append(inner.value if type(inner) is yaml.ScalarEvent else "")
        children.append(_span(inner, events))
    last = inner.end_mark.index if flow or not children else children[-1].last
    kind = "anchored" if event.anchor else "map" if mapping else "list"
    entries = [(names[at], children[at], children[at + 1]) for at in range(0, len(children), 2)] if mapping else None
    return _Span(start, inner.end_mark.index if flow else last, kind, flow, last, entries)


def _candidates(root: _Span, text: str, path: FieldPath, value: Value) -> Iterable[str]:
    """Texts that may say it, the tidiest first."""
    chain: list[tuple[_Span, int]] = []  # each mapping on the way, and which of its entries leads on
    here, rest = root, list(path)
    while rest and here.entries is not None:
        at = next((number for number, (name, _, _) in enumerate(here.entries) if name == rest[0]), None)
        if at is None:
            break
        chain.append((here, at))
        here = here.entries[at][2]
        rest.pop(0)
    if value is None:
        if not rest:
            yield from _without(text, chain)
        return
    if not rest:
        if here.kind in ("text", "list", "map") and (here.kind == "text" or here.flow):
            yield text[: here.start] + _like(text[here.start : here.end], value) + text[here.end :]
            yield text[: here.start] + _written(value) + text[here.end :]
        return
    if here.entries is not None:
        yield from _with(text, here, rest, value)


def _like(old: str, value: Value) -> str:
    """Text in single quotes stays in single quotes where that can be."""
    if isinstance(value, str) and old.startswith("'") and "'" not in value and quote(value) == f'"{value}"':
        return f"'{value}'"
    return _written(value)


def _with(text: str, mapping: _Span, rest: list[str], value: Value) -> Iterable[str]:
    """``rest`` below ``mapping``, which has no such key."""
    entries = mapping.entries or []
    if mapping.flow:
        inside = _written(value)
        for name in reversed(rest[1:]):
            inside = f"{{{name}: {inside}}}"
        entry = f"{rest[0]}: {inside}"
        if entries:
            at = entries[-1][2].end
            yield f"{text[:at]}, {entry}{text[at:]}"
        else:
            yield f"{text[: mapping.start]}{{{entry}}}{text[mapping.end :]}"
        return
    first = entries[0][1].start
    line = text.rfind("\n", 0, first) + 1
    indent = text[line:first]
    if indent.strip():
        return
    ending = "\r\n" if "\r\n" in text else "\n"
    lines = [f"{indent}{' ' * (_STEP * depth)}{name}:" for depth, name in enumerate(rest)]
    lines[-1] += f" {_written(value)}"
    block = "".join(each + ending for each in lines)
    after = text.find("\n", mapping.last)
    if after < 0:
        yield f"{text}{ending}{block}"
    elif text[mapping.last - 1] != "\n":
        yield text[: after + 1] + block + text[after + 1 :]
    yield text[:line] + block + text[line:]


def _without(text: str, chain: list[tuple[_Span, int]]) -> Iterable[str]:
    """Without the entry at the end of the chain, and without the mappings above it that would be empty."""
    while len(chain) > 1 and len(chain[-1][0].entries or ()) == 1:
        chain = chain[:-1]
    mapping, at = chain[-1]
    entries = mapping.entries or []
    _, key, value = entries[at]
    if mapping.flow:
        if at + 1 < len(entries):
            yield text[: key.start] + text[entries[at + 1][1].start :]
        elif at:
            yield text[: entries[at - 1][2].end] + text[value.end :]
        else:
            yield text[: key.start] + text[value.end :]
        return
    begin = text.rfind("\n", 0, key.start) + 1
    if text[begin : key.start].strip():
        return
    end = text.find("\n", value.last)
    if value.last and text[value.last - 1] == "\n":  # a block scalar ends where the next line begins
        end = value.last - 1
    yield text[:begin] + (text[end + 1 :] if end >= 0 else "")
