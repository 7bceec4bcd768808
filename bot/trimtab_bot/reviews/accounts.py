"""Whose GitHub account is whose, by numeric id: as configured, and as people have proven by logging in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


class Links(Protocol):
    """Links that people made themselves."""

    def person(self, account: int) -> str | None:
        """The person who proved that the account is theirs; None for nobody, or nobody any more."""
        ...


class Accounts:
    """Any thread may use it. What is configured comes first: a link never takes an account away from its person."""

    def __init__(self, configured: Mapping[int, str], links: Links | None = None) -> None:
        """``configured`` maps numeric ids to persons' ids."""
        self._configured = dict(configured)
        self._links = links

    def person(self, account: int) -> str:
        """The person's id; "" for nobody's."""
        found = self._configured.get(account)
        if found is None and self._links is not None:
            found = self._links.person(account)
        return found or ""
