"""A ResourceList: its items, its function's configuration, and the results that go with them.

The format is the KRM Functions Specification v1 (kustomize, cmd/config/docs/api-conventions/functions-spec.md); v1beta1
differs in nothing that is used here, and is answered in kind.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from trimtab_kernel.problems import InputError, Problem, quoted
from trimtab_plugins.krm.nodes import (
    Mapping,
    Scalar,
    Sequence,
    anchors_are_whole,
    mapping_node,
    number_node,
    parse,
    plain_node,
    sequence_node,
    text_node,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trimtab_plugins.krm.nodes import Node
    from trimtab_plugins.krm.results import Result

VERSIONS = ("config.kubernetes.io/v1", "config.kubernetes.io/v1beta1")
KIND = "ResourceList"
PATH = ("internal.config.kubernetes.io/path", "config.kubernetes.io/path")
INDEX = ("internal.config.kubernetes.io/index", "config.kubernetes.io/index")
ORIGIN = "config.kubernetes.io/origin"  # kustomize writes it where buildMetadata has originAnnotations
# A double: exponents beyond these are no amounts of anything here, and would be written with hundreds of digits.
_EXPONENT = re.compile(r"[-+]?[0-9]{1,17}(?:\.[0-9]{1,17})?[eE](?:[-+]?0?[0-9]|[-+]?[12][0-9])", re.ASCII)
_STEP = re.compile(r"([^.\[\]]+)|\[([0-9]{1,9})\]")
_HOSTS = ("config.kubernetes.io", "config.k8s.io", "kustomize.config.k8s.io")


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes two items the same object."""

    api_version: str
    kind: str
    namespace: str
    name: str


@dataclass(slots=True)
class Item:
    """One object of the list."""

    root: Mapping

    @property
    def identity(self) -> Identity:
        """Parts that are missing are ""."""
        metadata = self.root.child("metadata")
        name, namespace = (metadata.text("name"), metadata.text("namespace")) if metadata else ("", "")
        return Identity(self.root.text("apiVersion"), self.root.text("kind"), namespace, name)

    @property
    def annotations(self) -> dict[str, str]:
        """By name; what is no text is left out."""
        return self._texts("annotations")

    @property
    def labels(self) -> dict[str, str]:
        """By name; what is no text is left out."""
        return self._texts("labels")

    @property
    def path(self) -> str:
        """The file that it was read from, "" where nobody said."""
        annotations = self.annotations
        path = next((annotations[name] for name in PATH if annotations.get(name)), "")
        return path or _path_of_origin(annotations.get(ORIGIN, ""))

    @property
    def index(self) -> int | None:
        """Its place in that file, from 0; None where nobody said, or only said it without a file."""
        annotations = self.annotations
        if not any(annotations.get(name) for name in PATH):
            return None
        text = next((annotations[name] for name in INDEX if name in annotations), "")
        return int(text) if text.isdecimal() and len(text) < 10 else None

    def text_at(self, field: str) -> str:
        """The text at a dotted path such as ``spec.versions[0].version``; "" where there is none."""
        node: Node | None = self.root
        for key, index in _STEP.findall(field):
            if index:
                at = int(index)
                node = node.items[at] if isinstance(node, Sequence) and at < len(node.items) else None
            else:
                node = node.get(key) if isinstance(node, Mapping) else None
        return node.text if isinstance(node, Scalar) else ""

    def source(self) -> bytes:
        """The object as its author wrote it: without the annotations of the host tools, and with decimal numbers.

        kustomize writes 0.0000126 as 1.26e-05, which a manifest may not say: digits are what people review.
        """
        entries = [
            (key, _without_hosts(value) if _says(key, "metadata") else _decimal(value))
            for key, value in self.root.entries
        ]
        return write(Mapping(self.root.start, entries)).encode()

    def take_host_annotations(self, other: Item) -> None:
        """Carry over what host tools wrote on ``other``, whose place this item takes."""
        theirs = [(key, value) for key, value in other.annotations.items() if _is_of_host(key)]
        metadata = self.root.child("metadata")
        if not theirs or metadata is None:
            return
        annotations = metadata.child("annotations")
        if annotations is None:
            annotations = mapping_node(())
            metadata.put("annotations", annotations)
        for key, value in theirs:
            annotations.put(key, text_node(value))

    def _texts(self, part: str) -> dict[str, str]:
        metadata = self.root.child("metadata")
        found = metadata.child(part) if metadata else None
        if found is None:
            return {}
        pairs = ((key, value) for key, value in found.entries if isinstance(key, Scalar) and isinstance(value, Scalar))
        return {key.text: value.text for key, value in pairs}


@dataclass(slots=True)
class ResourceList:
    """What goes through a function."""

    api_version: str
    items: list[Item]
    function: Mapping | None

    def write(self, results: Iterable[Result]) -> str:
        """The answer: the items as they are now, the function's configuration as it came, and the results."""
        entries: list[tuple[str, Node]] = [
            ("apiVersion", text_node(self.api_version)),
            ("kind", text_node(KIND)),
            ("items", sequence_node(item.root for item in self.items)),
        ]
        if self.function is not None:
            entries.append(("functionConfig", self.function))
        told = [_result_node(result) for result in results]
        if told:
            entries.append(("results", sequence_node(told)))
        return write(mapping_node(entries))


def read_resource_list(content: bytes) -> ResourceList:
    """Raises InputError: A501 for what is no ResourceList of a known version, A504 for what is too much."""
    roots = parse(content)
    root = roots[0] if len(roots) == 1 else None
    if not isinstance(root, Mapping):
        raise _refused(f"{len(roots)} documents" if len(roots) != 1 else "no object", "one ResourceList")
    version, kind = root.text("apiVersion"), root.text("kind")
    if kind != KIND or version not in VERSIONS:
        raise _refused(f"{quoted(version)} {quoted(kind)}", f"{KIND} of {' or '.join(VERSIONS)}")
    items = root.get("items")
    if (
        items is not None
        and not isinstance(items, Sequence)
        and not (isinstance(items, Scalar) and items.text in {"", "null", "~"})
    ):
        raise _refused("items that are no list", "a list of objects")
    function = root.get("functionConfig")
    if function is not None and not isinstance(function, Mapping):
        raise _refused("a functionConfig that is no object", "an object")
    found = []
    for number, item in enumerate(items.items if isinstance(items, Sequence) else []):
        if not isinstance(item, Mapping):
            raise _refused(f"item {number} that is no object", "a list of objects")
        if not anchors_are_whole(item):
            raise _refused(f"an alias in item {number} to something outside it", "items that stand alone")
        found.append(Item(item))
    if function is not None and not anchors_are_whole(function):
        raise _refused("an alias in functionConfig to something outside it", "a configuration that stands alone")
    return ResourceList(version, found, function)


def items_of_stream(stream: bytes) -> list[Item]:
    """The objects of a rendered stream."""
    return [Item(root) for root in parse(stream) if isinstance(root, Mapping)]


def _result_node(result: Result) -> Node:
    entries: list[tuple[str, Node]] = [("message", text_node(result.message)), ("severity", text_node(result.severity))]
    if result.identity is not None:
        parts = {
            "apiVersion": result.identity.api_version,
            "kind": result.identity.kind,
            "namespace": result.identity.namespace,
            "name": result.identity.name,
        }
        entries.append(("resourceRef", mapping_node((key, text_node(value)) for key, value in parts.items() if value)))
    if result.field:
        parts = {"path": result.field, "currentValue": result.current, "proposedValue": result.proposed}
        entries.append(("field", mapping_node((key, text_node(value)) for key, value in parts.items() if value)))
    if result.path:
        place: list[tuple[str, Node]] = [("path", text_node(result.path))]
        if result.index is not None:
            place.append(("index", number_node(result.index)))
        entries.append(("file", mapping_node(place)))
    if result.tags:
        entries.append(("tags", mapping_node((key, text_node(value)) for key, value in result.tags)))
    return mapping_node(entries)


def _says(key: Node, text: str) -> bool:
    return isinstance(key, Scalar) and key.text == text


def _without_hosts(metadata: Node) -> Node:
    if not isinstance(metadata, Mapping):
        return metadata
    entries: list[tuple[Node, Node]] = []
    for key, value in metadata.entries:
        if _says(key, "annotations") and isinstance(value, Mapping):
            kept = [pair for pair in value.entries if not (isinstance(pair[0], Scalar) and _is_of_host(pair[0].text))]
            if kept or not value.entries:
                entries.append((key, Mapping(value.start, kept)))
        else:
            entries.append((key, value))
    return Mapping(metadata.start, entries)


def _decimal(node: Node) -> Node:
    """The same value without exponents, where it stood plain."""
    if isinstance(node, Mapping):
        return Mapping(node.start, [(key, _decimal(value)) for key, value in node.entries])
    if isinstance(node, Sequence):
        return Sequence(node.start, [_decimal(item) for item in node.items])
    if isinstance(node, Scalar) and not node.event.style and _EXPONENT.fullmatch(node.text):
        return plain_node(f"{Decimal(node.text):f}", node)
    return node


def _is_of_host(name: str) -> bool:
    domain = name.partition("/")[0]
    return any(domain == host or domain.endswith(f".{host}") for host in _HOSTS)


def _path_of_origin(text: str) -> str:
    """``path`` of an origin annotation, which is YAML; of one from another repository nothing, as no file here is meant."""
    if not text or len(text) > 4096:
        return ""
    try:
        roots = parse(text.encode())
    except InputError:
        return ""
    root = roots[0] if roots else None
    return root.text("path") if isinstance(root, Mapping) and not root.text("repo") else ""


def _refused(got: str, expected: str) -> InputError:
    return InputError(Problem("A501", got=got, expected=expected))
