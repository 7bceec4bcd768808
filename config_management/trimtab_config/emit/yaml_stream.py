"""Objects as one YAML stream, byte for byte the same for the same objects."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class _Dumper(yaml.CSafeDumper):
    """Without anchors: people and host tools read the output, and objects share parts only by accident."""

    def ignore_aliases(self, data: object) -> bool:
        """Every value is written out where it stands."""
        return True


# Plain text that PyYAML reads as text and other parsers as a boolean (YAML 1.1) or a number (YAML 1.2): to be quoted.
_Dumper.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("[yYnN]$"), list("yYnN"))
_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|0o[0-7]+|0x[0-9a-fA-F]+)$"),
    list("-+.0123456789"),
)


def yaml_stream(objects: Iterable[Mapping[str, Any]]) -> str:
    """Each object as one document that starts with ``---``; keys in the order apiVersion, kind, metadata, then as given.

    Within an object keys are sorted. Text that YAML would read as something else (``"yes"``, ``"1.10"``) is quoted. Long text
    stays on one line. Raises ValueError for no object at all: an empty stream would let a host tool prune everything.
    """
    documents = [_ordered(item) for item in objects]
    if not documents:
        raise ValueError("an empty stream is never written")
    text: str = yaml.dump_all(
        documents,
        Dumper=_Dumper,
        explicit_start=True,
        default_flow_style=False,
        sort_keys=False,
        allow_unicode=True,
        width=2**31 - 1,
    )
    return text


_FIRST = ("apiVersion", "kind", "metadata")


def _ordered(item: Mapping[str, Any]) -> dict[str, Any]:
    rest = sorted(key for key in item if key not in _FIRST)
    return {key: _sorted(item[key]) for key in (*_FIRST, *rest) if key in item}


def _sorted(value: object) -> object:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, (list, tuple)):
        return [_sorted(item) for item in value]
    return value
