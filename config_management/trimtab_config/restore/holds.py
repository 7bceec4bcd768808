"""A new Hold: its text in safe YAML, a name and a file that nobody has yet."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab_config.restore.layout import Layout, ObjectKey, lay_out
from trimtab_kernel import vocabulary
from trimtab_kernel.identity import MAX_LABEL, MAX_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trimtab_config.spec.kinds import HoldSpec

KIND = "Hold"
FOLDER = "holds"
# What may stand in double quotes as it is (YAML 1.1 and 1.2, c-printable) without being folded or misread.
_ESCAPED = re.compile("[^ !#-\\[\\]-~\xa0-\u2027\u202f-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0"}
_NOT_IN_NAMES = re.compile(r"[^a-z0-9.-]+")
_DOTS = re.compile(r"[-.]*\.[-.]*")


@dataclass(frozen=True, slots=True)
class NewHold:
    """A Hold as a new file: its path relative to the fleet folder, its bytes, and which object it holds."""

    key: ObjectKey
    file: str
    content: bytes


def new_hold(current: Mapping[str, bytes], spec: HoldSpec, namespace: str) -> NewHold:
    """A Hold with a name and a file of its own: ``holds/<model>-<version>.yaml``, with ``-2``, ``-3`` ... where these are taken.

    A file that cannot be read counts as one that holds no Hold; the reader of the whole tree names it.
    """
    held = spec.version or (f"sha256-{spec.digest.hex[:12]}" if spec.digest else "all")
    stem = _name(f"{spec.model}-{held}")
    names = {(key.namespace, key.name) for key in _holds_of(current)}
    number = 1
    while True:
        ending = f"-{number}" if number > 1 else ""
        name = _fitting(stem, ending)
        file = f"{FOLDER}/{name}.yaml"
        if (namespace, name) not in names and file not in current:
            key = ObjectKey(vocabulary.API_EDGE, KIND, namespace, name)
            return NewHold(key, file, hold_text(key, spec).encode())
        number += 1


def add_document(current: Mapping[str, bytes], path: str, text: str) -> tuple[str, bytes]:
    """A free path for a new file, ``path`` itself or with ``-2``, ``-3`` ... before its suffix, and its bytes."""
    stem, dot, suffix = path.rpartition(".")
    free, number = path, 2
    while free in current:
        free = f"{stem}-{number}{dot}{suffix}" if dot else f"{path}-{number}"
        number += 1
    return free, text.encode()


def hold_text(key: ObjectKey, spec: HoldSpec) -> str:
    """The Hold as YAML; every text in double quotes, so that no reader takes it for something else."""
    lines = [
        f"apiVersion: {key.api_version}",
        f"kind: {key.kind}",
        "metadata:",
        f"  name: {quote(key.name)}",
        f"  namespace: {quote(key.namespace)}",
        "spec:",
        f"  model: {quote(spec.model)}",
    ]
    if spec.version is not None:
        lines.append(f"  version: {quote(spec.version)}")
    if spec.digest is not None:
        lines.append(f"  digest: {quote(str(spec.digest))}")
    lines += [
        f"  owner: {quote(spec.owner)}",
        f"  reason: {quote(spec.reason)}",
        f"  until: {quote(spec.until.isoformat())}",
    ]
    if spec.groups:
        lines.append("  groups:")
        lines += [f"    - {quote(group)}" for group in spec.groups]
    return "\n".join(lines) + "\n"


def quote(text: str) -> str:
    """``text`` as a double-quoted YAML scalar on one line. Raises ValueError for a lone surrogate, which YAML cannot write."""
    if re.search("[\ud800-\udfff]", text):
        raise ValueError("expected text without lone surrogates")
    return '"' + _ESCAPED.sub(_escape, text) + '"'


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    if character in _SHORT:
        return _SHORT[character]
    code = ord(character)
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"


def _name(text: str) -> str:
    """A name after RFC 1123 that resembles ``text``; it may still be too long."""
    name = _NOT_IN_NAMES.sub("-", text.lower())
    return _DOTS.sub(".", name).strip("-.") or "hold"


def _fitting(name: str, ending: str) -> str:
    """``name`` with ``ending``, cut so that it and each of its parts between dots are short enough."""
    *parts, last = name[: MAX_NAME - len(ending)].rstrip("-.").split(".")
    cut = [part[:MAX_LABEL].rstrip("-") for part in parts]
    return ".".join([*cut, last[: MAX_LABEL - len(ending)].rstrip("-") + ending])


def _holds_of(current: Mapping[str, bytes]) -> set[ObjectKey]:
    found: set[ObjectKey] = set()
    for path, content in current.items():
        layout = lay_out(path, content)
        if isinstance(layout, Layout):
            found.update(region.key for region in layout.regions if region.key and region.key.kind == KIND)
    return found
