"""The name that was probably meant."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from trimtab_kernel.problems import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trimtab_config.spec.scalars import Scalar

_SEPARATORS = re.compile("[-_ .]")
_MAX_COMPARED = 100  # difflib takes quadratic time


def nearest(name: str, names: Iterable[str], cutoff: float = 0.6) -> str:
    """The nearest of ``names``, or "" where none is near. Case, "-", "_", "." and spaces weigh nothing."""
    known = tuple(names)
    plain = _SEPARATORS.sub("", name).casefold()
    for candidate in known:
        if _SEPARATORS.sub("", candidate).casefold() == plain:
            return candidate
    import difflib  # only where somebody mistyped

    near = difflib.get_close_matches(name[:_MAX_COMPARED], known, 1, cutoff)
    return near[0] if near else ""


def look_alike(text: str) -> str:
    """Names the first character that only looks like the one that belongs there; "" for plain ASCII."""
    for position, character in enumerate(text[:200], start=1):
        if ord(character) > 127:
            name = unicodedata.name(character, "a character without name")
            return f"character {position} is U+{ord(character):04X} {name}, not ASCII"
    return ""


def mended(scalar: Scalar, text: str) -> str:
    """A hint that names what the scalar accepts in place of ``text``, where one usual slip is all that is wrong; else ""."""
    slips = (
        text.removeprefix("v"),
        text.replace(",", "."),
        _SEPARATORS.sub("-", text),
        text.replace(" ", ""),
        text.removesuffix("%"),
        text.upper(),
        text.lower(),
        _SEPARATORS.sub("-", text.lower()),
    )
    for candidate in slips:
        if candidate != text and len(text) <= _MAX_COMPARED:
            try:
                scalar.parse(candidate)
            except ValueError:
                continue
            return f"did you mean {quoted(candidate)}?"
    return ""


def did_you_mean(name: str, names: Iterable[str], cutoff: float = 0.6) -> str:
    """A hint for an unknown name, or ""."""
    near = nearest(name, names, cutoff)
    return look_alike(name) or (f"did you mean {quoted(near)}?" if near else "")
