"""What a remedy is: a step that plans a change of its own field, or says why there is none. It never carries it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trimtab_bot.changes.history import FleetAt, History
    from trimtab_bot.changes.likely import Moves
    from trimtab_bot.records import FactLine, Incident, VerifiedState
    from trimtab_kernel.canonical import Json


@dataclass(frozen=True, slots=True)
class Situation:
    """What a remedy may look at. ``head`` is the branch's newest commit; ``at`` is Unix seconds.

    ``groups`` are told at ``head`` to run the bad version; ``reporting`` are those of them whose figures are known.
    """

    history: History
    head: str
    incident: Incident
    moves: Moves
    groups: tuple[str, ...]
    reporting: tuple[str, ...]
    states: Sequence[VerifiedState]
    search_commits: int
    at: float


@dataclass(frozen=True, slots=True)
class Draft:
    """A change worth proposing: ``changes`` by path in the repository (None removes), and what must be told of it.

    ``facts`` hold the proof that the change does what it says. ``hold_until`` is a date. ``model``, ``version`` and
    ``groups`` are what a wish turned out to be about; ``removes_version``: nobody may be told to run it afterwards.
    """

    title: str
    changes: Mapping[str, bytes | None]
    good_version: str
    restored_commit: str
    verified: bool
    hold_until: str
    facts: tuple[FactLine, ...]
    model: str = ""
    version: str = ""
    groups: tuple[str, ...] = ()
    removes_version: bool = True


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asked for: a remedy's ``target`` (an object, or ``MODEL VERSION``) and options, on the branch's head.

    ``by`` is a person's id, or the bot's; ``at`` is Unix seconds; ``case`` the id of the case, "" while it has none.
    """

    history: History
    fleet: FleetAt
    target: str
    options: Mapping[str, str]
    reason: str
    by: str
    at: float
    case: str
    states: Sequence[VerifiedState]
    reporting: tuple[str, ...]
    search_commits: int

    @property
    def prefix(self) -> str:
        """The fleet's folder, as a prefix of paths in the repository."""
        return f"{self.history.path}/" if self.history.path else ""


@dataclass(frozen=True, slots=True)
class Impossible:
    """Why the remedy cannot be had: a code of family B3 and one lowercase sentence with the next step."""

    code: str
    reason: str


Outcome: TypeAlias = Draft | Impossible


class Remedy(Protocol):
    """One registered step."""

    @property
    def name(self) -> str:
        """What it is called in configuration, records and ledger."""
        ...

    @property
    def schema(self) -> Mapping[str, Json]:
        """JSON Schema (2020-12) of its options."""
        ...

    def plan(self, situation: Situation, options: object) -> Outcome:
        """The change to propose. Pure apart from reading the repository; raises OutsideError where that fails."""
        ...


class AskedRemedy(Protocol):
    """One registered step that people ask for, or that the bot asks for when its gate is passed."""

    @property
    def name(self) -> str:
        """What it is called in commands, records and ledger."""
        ...

    @property
    def says(self) -> str:
        """What it does, in a few words."""
        ...

    @property
    def schema(self) -> Mapping[str, Json]:
        """JSON Schema (2020-12) of its options."""
        ...

    @property
    def bars_authors(self) -> bool:
        """Whether who brought the version may not decide about it."""
        ...

    def plan(self, wish: Wish) -> Outcome:
        """The change to propose. Pure apart from reading the repository; raises OutsideError where that fails."""
        ...
