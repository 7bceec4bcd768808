"""YAML as it came: a tree of the parser's own events, so that what is passed through is written as it was read.

No scalar becomes a number or a boolean on the way (``1.10`` stays ``1.10``), and its quotes stay. Comments are lost;
kustomize and kpt put them back by the id that they gave each item.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

from trimtab_kernel.problems import InputError, Problem, quoted

MAX_BYTES = 64 * 1024 * 1024
MAX_NODES = 5_000_000
MAX_DEPTH = 100
_TAG = "tag:yaml.org,2002:"

_ORDINARY = re.compile(r"[A-Za-z/](?:[A-Za-z0-9_./ -]*[A-Za-z0-9])?", re.ASCII)
_NOT_TEXT = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}  # to a reader of YAML 1.1

Event: TypeAlias = Any  # the type stubs know nothing of the fields of an event


@dataclass(slots=True)
class Scalar:
    """A text, in its quotes."""

    event: Event

    @property
    def text(self) -> str:
        """What it says."""
        return str(self.event.value)


@dataclass(slots=True)
class Alias:
    """Stands for what has its anchor."""

    event: Event


@dataclass(slots=True)
class Sequence:
    """A list."""

    start: Event
    items: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Mapping:
    """An object; its entries in their order."""

    start: Event
    entries: list[tuple[Node, Node]] = field(default_factory=list)

    def get(self, key: str) -> Node | None:
        """The value of a key, None where there is none."""
        return next((value for name, value in self.entries if isinstance(name, Scalar) and name.text == key), None)

    def text(self, key: str) -> str:
        """The text of a key, "" where there is none."""
        value = self.get(key)
        return value.text if isinstance(value, Scalar) else ""

    def child(self, key: str) -> Mapping | None:
        """The object below a key, None where there is none."""
        value = self.get(key)
        return value if isinstance(value, Mapping) else None

    def put(self, key: str, value: Node) -> None:
        """Set a key: in its place where it is there, else at the end."""
        for at, (name, _) in enumerate(self.entries):
            if isinstance(name, Scalar) and name.text == key:
                self.entries[at] = (name, value)
                return
        self.entries.append((text_node(key), value))


Node: TypeAlias = Scalar | Alias | Sequence | Mapping


def parse(content: bytes) -> list[Node]:
    """The roots of all documents. Raises InputError: A501 for what is not YAML in UTF-8, A504 for what is too much."""
    if len(content) > MAX_BYTES:
        raise _too_much(f"more than {MAX_BYTES} bytes")
    try:
        return list(_roots(yaml.parse(content.decode(), Loader=yaml.CSafeLoader)))
    except UnicodeDecodeError:
        raise InputError(Problem("A501", got="bytes that are not UTF-8", expected="a ResourceList")) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}: " if mark else ""
        says = place + str(getattr(error, "problem", None) or error)
        raise InputError(Problem("A501", got=quoted(says, 200), expected="a ResourceList as YAML or JSON")) from None


def _roots(events: Iterable[Event]) -> Iterator[Node]:
    """Built without recursion, so that a deep document meets the limit and not the end of the stack."""
    stack: list[Sequence | Mapping] = []
    keys: list[list[Node]] = []
    count = 0
    for event in events:
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            node = Scalar(event)
        elif isinstance(event, yaml.AliasEvent):
            node = Alias(event)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            if len(stack) >= MAX_DEPTH:
                raise _too_much(f"more than {MAX_DEPTH} levels")
            stack.append(Mapping(event) if isinstance(event, yaml.MappingStartEvent) else Sequence(event))
            keys.append([])
            continue
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            node = stack.pop()
            keys.pop()
        else:
            continue
        count += 1
        if count > MAX_NODES:
            raise _too_much(f"more than {MAX_NODES} values")
        if not stack:
            yield node
            continue
        parent = stack[-1]
        if isinstance(parent, Sequence):
            parent.items.append(node)
        elif keys[-1]:
            parent.entries.append((keys[-1].pop(), node))
        else:
            keys[-1].append(node)


def write(*roots: Node, explicit_start: bool = False) -> str:
    """The documents as text, every node as it was read or made."""
    events: list[Event] = [yaml.StreamStartEvent(encoding=None)]
    for root in roots:
        events.append(yaml.DocumentStartEvent(explicit=explicit_start))
        events.extend(_events(root))
        events.append(yaml.DocumentEndEvent(explicit=False))
    events.append(yaml.StreamEndEvent())
    text: str = yaml.emit(events, Dumper=yaml.CSafeDumper, width=2**31 - 1, allow_unicode=True)
    return text


def _events(node: Node) -> Iterator[Event]:
    if isinstance(node, (Scalar, Alias)):
        yield node.event
    elif isinstance(node, Sequence):
        yield node.start
        for item in node.items:
            yield from _events(item)
        yield yaml.SequenceEndEvent()
    else:
        yield node.start
        for key, value in node.entries:
            yield from _events(key)
            yield from _events(value)
        yield yaml.MappingEndEvent()


def text_node(text: str) -> Scalar:
    """A text, quoted where a reader would take it for something else."""
    plain = _ORDINARY.fullmatch(text) is not None and text.lower() not in _NOT_TEXT
    return Scalar(yaml.ScalarEvent(None, f"{_TAG}str", (plain, True), text, style=None if plain else '"'))


def number_node(number: int) -> Scalar:
    """A whole number."""
    return Scalar(yaml.ScalarEvent(None, f"{_TAG}int", (True, False), str(number)))


def plain_node(text: str, instead_of: Scalar) -> Scalar:
    """A plain scalar in the place of another one, whose anchor it keeps."""
    return Scalar(yaml.ScalarEvent(instead_of.event.anchor, None, (True, False), text))


def mapping_node(entries: Iterable[tuple[str, Node]]) -> Mapping:
    """An object in block style."""
    start = yaml.MappingStartEvent(None, f"{_TAG}map", True, flow_style=False)
    return Mapping(start, [(text_node(key), value) for key, value in entries])


def sequence_node(items: Iterable[Node]) -> Sequence:
    """A list in block style."""
    return Sequence(yaml.SequenceStartEvent(None, f"{_TAG}seq", True, flow_style=False), list(items))


def anchors_are_whole(node: Node) -> bool:
    """Whether every alias below ``node`` has its anchor there too, so that the node can stand alone."""
    known: set[str] = set()
    for event in _events(node):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in known:
                return False
        elif getattr(event, "anchor", None):
            known.add(event.anchor)
    return True


def _too_much(got: str) -> InputError:
    return InputError(Problem("A504", got=got, expected="less; split the fleet over several functions"))
