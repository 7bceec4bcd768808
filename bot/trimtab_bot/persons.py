"""Who may decide: people with exact Git identities, a token each, and roles.

A person is one human being, however many Git identities they write under. Matching is exact: no e-mail fall-back, no
case folding, because a guess here would let somebody approve what they wrote themselves. Tokens are kept as SHA-256
digests and compared in constant time. Tokens are meant to be random (32 bytes or more), so a plain digest suffices:
a slow password hash protects guessable secrets, and these are not.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from trimtab_bot.inbox.interface import PersonView
from trimtab_kernel.problems import Problem, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from trimtab_config.git.identity import GitIdentity
    from trimtab_kernel.identity import Digest


class Role(Enum):
    """What a person may do. Roles add up; nobody has one by default."""

    VIEWER = "viewer"
    """See proposals and their evidence."""
    APPROVER = "approver"
    """Approve and deny proposals, where they had no hand in the change itself."""
    LEAD = "lead"
    """Nothing by itself; a rule of approval may demand one among the approvers."""
    BREAK_GLASS = "break-glass"
    """Let a proposal through alone, with a reason, for a second person to review afterwards."""


@dataclass(frozen=True, slots=True)
class Person:
    """One person, with the Git identities that are theirs, exactly as commits carry them."""

    id: str
    name: str
    git: frozenset[GitIdentity]
    token_digest: Digest
    roles: frozenset[Role]


@dataclass(frozen=True, slots=True)
class Authorship:
    """The authors of a change as persons, and the Git identities that belong to nobody we know."""

    persons: frozenset[str]
    unknown: tuple[GitIdentity, ...]


class People:
    """Everybody who is configured. Answers by id, by Git identity and by token."""

    def __init__(self, persons: Iterable[Person]) -> None:
        """Raises ValueError where two persons share an id, a Git identity or a token (see :func:`conflicts`)."""
        self._persons = tuple(persons)
        found = conflicts(self._persons)
        if found:
            raise ValueError("; ".join(str(problem) for problem in found))
        self._by_id = {person.id: person for person in self._persons}
        self._by_git = {identity: person for person in self._persons for identity in person.git}

    def __iter__(self) -> Iterator[Person]:
        return iter(self._persons)

    def person(self, person_id: str) -> Person | None:
        """The person of this id."""
        return self._by_id.get(person_id)

    def of_git(self, identity: GitIdentity) -> Person | None:
        """The person who lists exactly this Git identity."""
        return self._by_git.get(identity)

    def authorship(self, identities: Iterable[GitIdentity]) -> Authorship:
        """Which persons stand behind these Git identities, and which identities stand alone."""
        known: set[str] = set()
        unknown: set[GitIdentity] = set()
        for identity in identities:
            person = self._by_git.get(identity)
            if person is None:
                unknown.add(identity)
            else:
                known.add(person.id)
        return Authorship(frozenset(known), tuple(sorted(unknown)))

    # ------------------------------------------------ the inbox's Directory

    def by_token(self, token: str) -> PersonView | None:
        """The person whose token this is; every configured digest is compared, each in constant time."""
        offered = hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest().encode()
        match: Person | None = None
        for person in self._persons:
            if hmac.compare_digest(offered, person.token_digest.hex.encode()):
                match = person
        return None if match is None else _view(match)

    def by_id(self, person_id: str) -> PersonView | None:
        """The person, if still configured."""
        person = self._by_id.get(person_id)
        return None if person is None else _view(person)


def _view(person: Person) -> PersonView:
    return PersonView(person.id, person.name, Role.APPROVER in person.roles)


def conflicts(persons: Iterable[Person]) -> tuple[Problem, ...]:
    """What two persons must not share: their id, a Git identity, their token (codes B104 to B106)."""
    found: list[Problem] = []
    ids: set[str] = set()
    tokens: dict[str, str] = {}
    identities: dict[GitIdentity, str] = {}
    for index, person in enumerate(persons):
        place = f"people[{index}]"
        if person.id in ids:
            found.append(Problem("B104", field=f"{place}.id", got=quoted(person.id), expected="each id once"))
        ids.add(person.id)
        other = tokens.setdefault(person.token_digest.hex, person.id)
        if other != person.id:
            found.append(
                Problem(
                    "B105",
                    field=f"{place}.tokenSha256",
                    got=f"the token of {quoted(other)}",
                    expected="a token of one's own",
                )
            )
        for identity in sorted(person.git):
            other = identities.setdefault(identity, person.id)
            if other != person.id:
                found.append(
                    Problem(
                        "B106",
                        field=f"{place}.git",
                        got=f"{quoted(str(identity))}, which {quoted(other)} lists too",
                        expected="each Git identity with one person",
                    )
                )
    return tuple(found)
