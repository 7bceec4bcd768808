"""The port to a ledger, and what is written to it.

An entry is written before the effect that it announces and completed by another one after it, so that whoever reads
the ledger sees what was about to happen even where nothing else survived.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from trimtab_kernel.problems import TrimtabError

if TYPE_CHECKING:
    from trimtab_kernel.canonical import Json

GENESIS = "0" * 64
"""The hash that the first entry links to."""


class EntryKind(Enum):
    """What an entry tells."""

    EVIDENCE = "evidence"
    """What was measured, and what follows from it."""
    DECISION = "decision"
    """What a person or a rule decided, refusals included."""
    INTENT = "intent"
    """An effect on the outside that is about to be asked for."""
    EFFECT = "effect"
    """How an announced effect ended."""


@dataclass(frozen=True, slots=True)
class Record:
    """What is to be written. ``key`` names it for ever: writing the same record twice leaves one entry.

    ``at`` is RFC 3339 text, ``subject`` the incident or proposal it belongs to, ``body`` canonical JSON values.
    """

    key: str
    kind: EntryKind
    at: str
    subject: str
    body: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Head:
    """The newest entry: its 1-based index and its hash (64 hex digits)."""

    index: int
    hash: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One durable entry: its place, the hash of the entry before, its own hash, and the record."""

    index: int
    previous: str
    hash: str
    record: Record


class LedgerConflictError(TrimtabError):
    """A key was written before with another record (code B506): two writers, or a mistake in the program."""


class LedgerStore(Protocol):
    """Where entries go. Implementations promise: what :meth:`append` has returned survives a crash of the machine."""

    def append(self, record: Record) -> Entry:
        """Write ``record`` durably, or return the entry of an equal earlier one. Raises :class:`LedgerConflictError`."""
        ...

    def head(self) -> Head | None:
        """The newest entry, or None in an empty ledger."""
        ...

    def entries(self, subject: str | None = None) -> Iterator[Entry]:
        """All entries in order, or those about one incident or proposal."""
        ...
