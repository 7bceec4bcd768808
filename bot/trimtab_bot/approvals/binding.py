"""What an approval binds to: a digest over everything that would be executed, so that nobody approves A and gets B.

The digest is taken when the proposal is made, shown to the person who decides, sent back with the decision, and taken
again from the present state of the world right before the merge. Any difference voids the proposal and is named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab_bot.codec import encode
from trimtab_kernel.canonical import digest_of

if TYPE_CHECKING:
    from trimtab_kernel.identity import Digest


@dataclass(frozen=True, slots=True)
class Binding:
    """Everything that a decision is about.

    ``proposal`` is the proposal's own key; it makes the digest good for one use. ``undoes`` are the commits that are
    undone, whose authors may not decide. ``targets`` are lines such as ``camera-emea triage 1.1.0 -> 1.0.0``. ``evidence`` and ``policy`` are digests of what was claimed and of the rules
    of approval. ``expires_at`` is RFC 3339 text. ``terms`` is a digest of what the bot's own record says that the proposal is
    (see :func:`trimtab_bot.circumstances.terms_of`): who may decide, and how many must, follows from it.
    """

    proposal: str
    repository: str
    branch: str
    base: str
    head: str
    tree: str
    undoes: tuple[str, ...]
    targets: tuple[str, ...]
    evidence: str
    policy: str
    expires_at: str
    terms: str = ""

    def digest(self) -> Digest:
        """SHA-256 over the canonical JSON of all fields."""
        return digest_of({"trimtab": "approval/1", "binding": encode(self)})


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that is no longer what was bound."""

    field: str
    code: str
    bound: str
    now: str

    def reason(self) -> str:
        """For people: which field, what it was, what it is."""
        return (
            f"{_NAMES[self.field]} changed from {_short(self.bound)} to {_short(self.now)} after the proposal was made"
        )


# Field -> the code of a decision that is void because of it, and what people call it.
_CODES = {
    "base": "B412",
    "head": "B413",
    "tree": "B414",
    "undoes": "B415",
    "targets": "B415",
    "evidence": "B416",
    "policy": "B417",
    "expires_at": "B418",
    "repository": "B419",
    "branch": "B419",
    "terms": "B415",
    "proposal": "B401",
}
_NAMES = {
    "base": "the base branch",
    "head": "the proposed commit",
    "tree": "the proposed tree",
    "undoes": "what would be undone",
    "targets": "what would be changed",
    "evidence": "the evidence",
    "policy": "the rules of approval",
    "expires_at": "the expiry",
    "repository": "the repository",
    "branch": "the name of the base branch",
    "terms": "what the proposal is",
    "proposal": "the proposal's key",
}


def _short(text: str) -> str:
    hexadecimal = text.removeprefix("sha256:")
    if len(hexadecimal) in (40, 64) and all(character in "0123456789abcdef" for character in hexadecimal):
        return hexadecimal[:12]
    return text if len(text) <= 200 else f"{text[:200]}..."


def differences(bound: Binding, now: Binding) -> tuple[Difference, ...]:
    """The fields in which two bindings differ, most telling first."""
    found = []
    for field, code in _CODES.items():
        before, after = getattr(bound, field), getattr(now, field)
        if before != after:
            texts = ["; ".join(value) if isinstance(value, tuple) else str(value) for value in (before, after)]
            found.append(Difference(field, code, texts[0] or "nothing", texts[1] or "nothing"))
    return tuple(found)
