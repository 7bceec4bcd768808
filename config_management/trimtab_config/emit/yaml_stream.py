"""Objects as one YAML stream, byte for byte the same for the same objects.

PyYAML decides how a text is written (plain or quoted); this module only lays objects out, in the block style that PyYAML
writes, which takes a tenth of its time. Whatever is not plainly simple goes to PyYAML: a text it has not been asked about
yet, and an object with text of several lines as a whole. A property test holds the two against each other.
"""

from __future__ import annotations

import re
from functools import lru_cache
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
    text = "".join(_document(item) for item in objects)
    if not text:
        raise ValueError("an empty stream is never written")
    return text


_FIRST = ("apiVersion", "kind", "metadata")


def _document(item: Mapping[str, Any]) -> str:
    rest = sorted(key for key in item if key not in _FIRST)
    ordered = [(key, item[key]) for key in (*_FIRST, *rest) if key in item]
    if not ordered:
        return library_document(item)
    out = ["---\n"]
    try:
        for key, value in ordered:
            _entry(out, "", f"{_key(key)}:", value)
    except _NotSimpleError:
        return library_document(item)
    return "".join(out)


# ---------------------------------------------------------------- simple objects


class _NotSimpleError(Exception):
    """The object holds something whose layout only PyYAML knows."""


_ORDINARY = re.compile(r"[A-Za-z/$][A-Za-z0-9_./$-]*(:[A-Za-z0-9_./$-]+)*", re.ASCII)
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?", re.ASCII)
_LONGEST_WORD = 5  # of those that YAML 1.1 takes for a boolean or nothing: "false"
_SHORT = 100
_MAX_KEY = 100  # PyYAML writes a longer key in another form


def _entry(out: list[str], indent: str, head: str, value: object) -> None:
    """``head`` (a key with its colon, after its indent) and the value after or below it."""
    kind = type(value)
    if kind is str:
        out.append(f"{indent}{head} {_text(value)}\n")  # type: ignore[arg-type] # the exact type is known, mypy does not narrow by it
    elif kind is dict:
        if value:
            out.append(f"{indent}{head}\n")
            _mapping(out, indent + "  ", value)  # type: ignore[arg-type] # likewise
        else:
            out.append(f"{indent}{head} {{}}\n")
    elif kind is list or kind is tuple:
        if value:
            out.append(f"{indent}{head}\n")
            _sequence(out, indent, value)  # type: ignore[arg-type] # likewise
        else:
            out.append(f"{indent}{head} []\n")
    else:
        out.append(f"{indent}{head} {_atom(value)}\n")


def _mapping(out: list[str], indent: str, value: Mapping[str, object]) -> None:
    for key in sorted(value):
        item = value[key]
        if type(item) is str:  # most are: saves a call
            out.append(f"{indent}{_key(key)}: {_text(item)}\n")
        else:
            _entry(out, indent, f"{_key(key)}:", item)


def _sequence(out: list[str], indent: str, value: Iterable[object]) -> None:
    """Items at the indent of their key, as PyYAML has it; the first line of a nested item follows the dash."""
    for item in value:
        if type(item) in {dict, list, tuple} and item:
            place = len(out)
            if type(item) is dict:
                _mapping(out, indent + "  ", item)
            else:
                _sequence(out, indent + "  ", item)  # type: ignore[arg-type] # likewise
            out[place] = f"{indent}- {out[place][len(indent) + 2 :]}"
        else:
            _entry(out, indent, "-", item)


@lru_cache(maxsize=4096)
def _key(key: object) -> str:
    if type(key) is not str or not key or len(key) > _MAX_KEY:
        raise _NotSimpleError
    return _text(key)


def _text(text: str) -> str:
    # The same names, labels and units stand in every group.
    return _known_text(text) if len(text) <= _SHORT else _new_text(text)


def _new_text(text: str) -> str:
    if len(text) > _LONGEST_WORD and _ORDINARY.fullmatch(text):
        return text
    if _NUMBER.fullmatch(text):
        return f"'{text}'"
    if text[:2] == '{"' and text.isascii() and text.isprintable():  # JSON in a ConfigMap
        return "'" + text.replace("'", "''") + "'"
    return _library_text(text)


_known_text = lru_cache(maxsize=16384)(_new_text)


@lru_cache(maxsize=8192)
def _library_text(text: str) -> str:
    """How PyYAML writes a text of one line."""
    if not text.isprintable():
        raise _NotSimpleError
    written: str = _dump([[text]])
    if not written.startswith("- - ") or written.count("\n") != 1:
        raise _NotSimpleError
    return written[4:-1]


def _atom(value: object) -> str:
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if type(value) is int:
        return str(value)
    raise _NotSimpleError


# ---------------------------------------------------------------- everything else


def library_document(item: Mapping[str, Any]) -> str:
    """One object as PyYAML writes it: what :func:`yaml_stream` gives for it, in ten times the time."""
    rest = sorted(key for key in item if key not in _FIRST)
    ordered = {key: _sorted(item[key]) for key in (*_FIRST, *rest) if key in item}
    return _dump(ordered, explicit_start=True)


def _dump(value: object, *, explicit_start: bool = False) -> str:
    text: str = yaml.dump(
        value,
        Dumper=_Dumper,
        explicit_start=explicit_start,
        default_flow_style=False,
        sort_keys=False,
        allow_unicode=True,
        width=2**31 - 1,
    )
    return text


def _sorted(value: object) -> object:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, (list, tuple)):
        return [_sorted(item) for item in value]
    return value
