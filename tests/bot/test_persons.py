"""Persons: exact identities, a token each, nobody by accident."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_bot.persons import People, Person, Role, conflicts
from trimtab_config.git.identity import GitIdentity
from trimtab_kernel.identity import Digest


def person(name: str, *roles: Role) -> Person:
    return Person(
        id=name,
        name=name.title(),
        git=frozenset({GitIdentity.parse(f"{name.title()} <{name}@example.org>")}),
        token_digest=Digest.of(f"{name}-token".encode()),
        roles=frozenset(roles or (Role.APPROVER,)),
    )


PEOPLE = People([person("ada"), person("bo"), person("vi", Role.VIEWER)])


def test_a_token_leads_to_its_person() -> None:
    found = PEOPLE.by_token("ada-token")
    assert found is not None
    assert (found.id, found.may_decide) == ("ada", True)
    viewer = PEOPLE.by_token("vi-token")
    assert viewer is not None
    assert not viewer.may_decide


@given(st.text())
def test_any_other_token_leads_to_nobody(token: str) -> None:
    if token not in {"ada-token", "bo-token", "vi-token"}:
        assert PEOPLE.by_token(token) is None


@pytest.mark.parametrize("token", ["", "ada-token ", "ADA-TOKEN", str(Digest.of(b"ada-token")), "\ud800"])
def test_what_looks_like_a_token_is_none(token: str) -> None:
    assert PEOPLE.by_token(token) is None


@pytest.mark.parametrize(
    "spelling",
    ["Ada <ADA@example.org>", "ada <ada@example.org>", "Ada  B <ada@example.org>", "\u0410da <ada@example.org>"],
)
def test_a_git_identity_that_only_looks_alike_is_unknown(spelling: str) -> None:
    """Case, a second name, a Cyrillic letter: matching is exact, there is no e-mail fall-back."""
    identity = GitIdentity.parse(spelling)
    assert PEOPLE.of_git(identity) is None
    assert PEOPLE.authorship([identity]).unknown == (identity,)


def test_authorship_tells_persons_from_strangers() -> None:
    ada, stranger = GitIdentity.parse("Ada <ada@example.org>"), GitIdentity.parse("Mallory <m@example.org>")
    found = PEOPLE.authorship([ada, stranger, ada])
    assert (found.persons, found.unknown) == (frozenset({"ada"}), (stranger,))


def test_what_persons_must_not_share_is_named() -> None:
    ada = person("ada")
    twin = replace(person("bo"), token_digest=ada.token_digest, git=ada.git)
    found = conflicts([ada, twin, ada])
    assert [(problem.code, problem.field) for problem in found] == [
        ("B105", "people[1].tokenSha256"),
        ("B106", "people[1].git"),
        ("B104", "people[2].id"),
    ]
    with pytest.raises(ValueError, match="B105"):
        People([ada, twin])
