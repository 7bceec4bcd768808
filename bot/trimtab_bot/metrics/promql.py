"""The little PromQL that is ever sent: a recorded name from the kernel's rules, with exact label matchers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trimtab_kernel.rules import Query

_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n"}


def check_match(query: Query) -> None:
    """Raises ValueError where a query matches a label that its rule does not keep, or one label twice."""
    names = [name for name, _ in query.match]
    for name in names:
        if name not in query.rule.by:
            raise ValueError(f"rule {query.rule.name} keeps {', '.join(query.rule.by)}, not {name!r}")
    if len(set(names)) != len(names):
        raise ValueError(f"expected each label once, got {', '.join(names)}")


def quoted_string(text: str) -> str:
    """``text`` as a PromQL string. Raises ValueError for a lone surrogate, which no label value can hold.

    Source: Prometheus documentation, "Querying basics", String literals: in double quotes a backslash begins an escape
    sequence, as in Go; everything but the quote, the backslash and the line feed stands for itself. Other control
    characters are escaped too, since a log or a proxy on the way may not take them.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("expected text without lone surrogates") from None
    parts = (_ESCAPES.get(c, c if c >= " " and c != "\x7f" else f"\\x{ord(c):02x}") for c in text)
    return f'"{"".join(parts)}"'


def selector(name: str, match: tuple[tuple[str, str], ...] = ()) -> str:
    """An instant vector selector; ``name`` is one of our own recorded names. Raises ValueError for a bad label."""
    for label, _ in match:
        if not _LABEL_NAME.fullmatch(label):
            raise ValueError(f"expected the name of a label, got {label!r}")
    matchers = ", ".join(f"{label}={quoted_string(value)}" for label, value in match)
    return f"{name}{{{matchers}}}" if matchers else name
