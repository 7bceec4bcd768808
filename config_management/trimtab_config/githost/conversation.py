"""The port to what people say about a proposal on its Git host, and what is said to them there.

Who wrote something is the host's numeric id of the account: names can be changed and taken over. Nothing here decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime


class Opinion(Enum):
    """What a review says."""

    APPROVED = "approved"
    CHANGES_REQUESTED = "changes requested"
    DISMISSED = "dismissed"
    COMMENTED = "commented"


@dataclass(frozen=True, slots=True)
class HostAccount:
    """An account as the host knows it."""

    id: int
    login: str


@dataclass(frozen=True, slots=True)
class Remark:
    """A comment. ``edited``: it is not what was written at first, by whomever. ``by_program``: no person typed it."""

    id: int
    account: int
    login: str
    body: str
    at: datetime
    edited: bool
    by_program: bool

    @property
    def writer(self) -> HostAccount:
        """Who wrote it."""
        return HostAccount(self.account, self.login)


@dataclass(frozen=True, slots=True)
class HostReview:
    """A person's review of exactly ``commit``."""

    id: int
    account: int
    login: str
    opinion: Opinion
    commit: str
    body: str
    at: datetime
    by_program: bool

    @property
    def writer(self) -> HostAccount:
        """Who wrote it."""
        return HostAccount(self.account, self.login)


class CheckState(Enum):
    """What a check says of a commit."""

    PASSED = "success"
    FAILED = "failure"
    WAITING = "pending"


@dataclass(frozen=True, slots=True)
class Check:
    """A check of one commit. ``summary`` is Markdown; where the host has no room for it, the title alone is shown."""

    name: str
    state: CheckState
    title: str
    summary: str


class Conversation(Protocol):
    """What is said about one proposal. Methods raise OutsideError, with ``retry_after`` where the host asks for patience."""

    def remarks(self, number: int) -> tuple[Remark, ...]:
        """All comments on a proposal, in the order in which they were written."""
        ...

    def reviews(self, number: int) -> tuple[HostReview, ...]:
        """All submitted reviews of a proposal, in the order in which they were written."""
        ...

    def answer(self, number: int, key: str, text: str) -> None:
        """Say this on the proposal, once for each ``key`` however often it is called; ``text`` is Markdown."""
        ...

    def check(self, commit: str, check: Check) -> str:
        """Say this of the commit; gives how (``check run`` or ``status``). Where it says so already, nothing is written."""
        ...
