"""Who Git says did something: ``Name <mail>``, compared exactly."""

from __future__ import annotations

import re
from dataclasses import dataclass

_WRITTEN = re.compile(r"(?P<name>[^<>\x00-\x1f\x7f]*)<(?P<email>[^<>\x00-\x1f\x7f]*)>")
_FORBIDDEN = re.compile(r"[<>\x00\n]")
MAX_LENGTH = 512


@dataclass(frozen=True, slots=True, order=True)
class GitIdentity:
    """An identity as commits carry it.

    White space around the name and around the mail address is trimmed on construction; beyond that two identities are
    equal only where they are equal character by character. Case is not folded, Unicode is not normalised and
    ``.mailmap`` is not read: whoever can push could write one. Raises ValueError for what no commit can carry.
    """

    name: str
    email: str

    def __post_init__(self) -> None:
        """Trim, then refuse what would break a commit's header."""
        object.__setattr__(self, "name", self.name.strip())
        object.__setattr__(self, "email", self.email.strip())
        for part in (self.name, self.email):
            if _FORBIDDEN.search(part):
                raise ValueError('expected an identity such as "Ada Lovelace <ada@example.org>", on one line')
        if len(self.name) + len(self.email) > MAX_LENGTH:
            raise ValueError(f"expected an identity of at most {MAX_LENGTH} characters")

    @classmethod
    def parse(cls, text: str) -> GitIdentity:
        """An identity as a person writes it in a configuration; both parts are required. Raises ValueError."""
        match = _WRITTEN.fullmatch(text.strip())
        if match is None or not match["name"].strip() or not match["email"].strip():
            raise ValueError('expected an identity such as "Ada Lovelace <ada@example.org>"')
        return cls(match["name"], match["email"])

    @classmethod
    def lenient(cls, text: str) -> GitIdentity:
        """Whatever a commit claims, as an identity that equals nobody's where it is malformed: nothing is dropped.

        ``Bob`` without an address becomes an identity with an empty address, which :meth:`parse` never gives.
        """
        try:
            return cls.parse(text)
        except ValueError:
            return cls(_FORBIDDEN.sub("?", text.strip())[:MAX_LENGTH], "")

    def __str__(self) -> str:
        """``Name <mail>``."""
        return f"{self.name} <{self.email}>"
