"""Names of refs, judged before git sees them."""

from __future__ import annotations

import re

# The rules of git-check-ref-format(1), one alternative each.
_REFUSED = re.compile(
    r"[\x00-\x20\x7f~^:?*\[\\]"  # control characters, space and what revision syntax needs
    r"|\.\.|@\{|//"
    r"|(?:^|/)\."  # a component starts with a dot
    r"|\.lock(?:/|$)"
    r"|[./]$|^/"
)
MAX_LENGTH = 255
OBJECT_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.ASCII)


def is_object_id(text: str) -> bool:
    """Whether ``text`` is a whole object id: 40 (SHA-1) or 64 (SHA-256) hex digits in lower case."""
    return OBJECT_ID.fullmatch(text) is not None


def is_full_ref(text: str) -> bool:
    """Whether ``text`` is a full ref name such as ``refs/heads/main`` that git accepts."""
    return (
        text.startswith("refs/")
        and text.count("/") > 1
        and not re.search("[\ud800-\udfff]", text)
        and len(text.encode()) <= MAX_LENGTH
        and _REFUSED.search(text) is None
    )


def branch_ref(name: str) -> str:
    """``refs/heads/NAME``. Raises ValueError for what cannot be a branch's name; a leading dash is refused as git does."""
    ref = f"refs/heads/{name}"
    if not is_full_ref(ref) or name.startswith("-") or name == "HEAD":
        raise ValueError('expected a branch name such as "main" (git-check-ref-format)')
    return ref
