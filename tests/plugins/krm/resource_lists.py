"""ResourceLists for tests, made as host tools make them: nodes of YAML as they were read, with annotations added."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml


def resource_list(
    files: Mapping[str, bytes],
    function: Mapping[str, Any] | None = None,
    *,
    version: str = "config.kubernetes.io/v1",
    more: Iterable[str] = (),
    annotate: bool = True,
) -> str:
    """All documents of ``files`` as items that say where they are from, then ``more``, as they stand."""
    items: list[yaml.Node] = []
    number = 0
    for path, content in files.items():
        for index, node in enumerate(yaml.compose_all(content, Loader=yaml.CSafeLoader)):
            number += 1
            if annotate:
                marks = {"path": path, "index": str(index), "id": str(number)}
                _annotate(node, {f"internal.config.kubernetes.io/{key}": value for key, value in marks.items()})
                _annotate(node, {"config.kubernetes.io/path": path, "config.kubernetes.io/index": str(index)})
            items.append(node)
    items += [compose(text) for text in more]
    entries: list[tuple[str, yaml.Node]] = [
        ("apiVersion", _scalar(version)),
        ("kind", _scalar("ResourceList")),
        ("items", yaml.SequenceNode("tag:yaml.org,2002:seq", items, flow_style=False)),
    ]
    if function is not None:
        entries.append(("functionConfig", compose(yaml.safe_dump(dict(function)))))
    root = yaml.MappingNode("tag:yaml.org,2002:map", [(_scalar(key), node) for key, node in entries], flow_style=False)
    text: str = yaml.serialize(root, Dumper=yaml.CSafeDumper)
    return text


def compose(text: str) -> yaml.Node:
    """The node of one document."""
    node = yaml.compose(text, Loader=yaml.CSafeLoader)
    assert node is not None
    return node


def fleet_render(**spec: object) -> dict[str, Any]:
    return {"apiVersion": "fn.apexlogic.ai/v1", "kind": "FleetRender", "metadata": {"name": "f"}, "spec": spec}


def config_map(**data: str) -> dict[str, Any]:
    named = {key.replace("_", "-"): value for key, value in data.items()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "f"}, "data": named}


def _annotate(node: yaml.Node, annotations: Mapping[str, str]) -> None:
    place = node
    for key in ("metadata", "annotations"):
        found = next((value for name, value in place.value if name.value == key), None)
        if found is None:
            found = yaml.MappingNode("tag:yaml.org,2002:map", [], flow_style=False)
            place.value.append((_scalar(key), found))
        place = found
        place.flow_style = False
    place.value += [(_scalar(key), _scalar(value, "'")) for key, value in annotations.items()]


def _scalar(text: str, style: str | None = None) -> yaml.ScalarNode:
    return yaml.ScalarNode("tag:yaml.org,2002:str", text, style=style)
