"""The hidden line of a pull request's body in which the GitHub adapter keeps what GitHub has no field for.

It is the first line, an HTML comment that nobody sees on the page. The content is base64, so no text in it can end the
comment. Whoever may edit the body may forge the line: it counts only in a pull request that the bot's own account opened,
and nothing in it is a permission.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trimtab_kernel.canonical import canonical_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trimtab_kernel.canonical import Json

_HEAD = "<!-- trimtab:proposal:1:"
_TAIL = " -->"
MAX_LINE = 60_000


@dataclass(frozen=True, slots=True)
class ProposalNote:
    """The idempotency key, the commit that was proposed at first, and the caller's ``meta``."""

    key: str
    commit: str
    meta: Mapping[str, Json]

    def to_json(self) -> dict[str, Json]:
        """As the note is kept."""
        return {"key": self.key, "commit": self.commit, "meta": dict(self.meta)}


def with_note(note: ProposalNote, body: str) -> str:
    """The body as it is sent to GitHub."""
    coded = base64.urlsafe_b64encode(canonical_json(note.to_json())).decode()
    return f"{_HEAD}{coded}{_TAIL}\n{body}"


def split_note(text: str) -> tuple[ProposalNote | None, str]:
    """The note and the body as people see it. Text without a readable note comes back whole, with None."""
    line, _, body = text.replace("\r\n", "\n").partition("\n")
    if not line.startswith(_HEAD) or not line.endswith(_TAIL) or len(line) > MAX_LINE:
        return None, text
    try:
        content: Any = json.loads(base64.urlsafe_b64decode(line[len(_HEAD) : -len(_TAIL)]))
        key, commit, meta = content["key"], content["commit"], content["meta"]
    except (binascii.Error, ValueError, KeyError, TypeError, RecursionError):
        return None, text
    if not isinstance(key, str) or not isinstance(commit, str) or not isinstance(meta, dict):
        return None, text
    return ProposalNote(key, commit, meta), body
