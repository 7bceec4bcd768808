"""Decisions that wait for their label: a bounded store by request id.

Labels come minutes or weeks after the decision, or never. So the store has a fixed number of rows, and the decision that
was used longest ago makes room. An id is kept as a keyed hash only: it may name a person, and a hash has one length.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_ROWS = 32_768
"""Rows kept in all. At worst each is a request of its own, and the store then takes 11 MB (a test measures it)."""
MAX_ROWS_PER_REQUEST = 4_096
NO_SCORE = 0xFF
_ROW = 4
_LABELLED, _LABEL_POSITIVE = 2, 4
_VERSIONS = 256


@dataclass(frozen=True, slots=True)
class Row:
    """One decision: a bit per cohort it belongs to, its outcome, and its score bin (:data:`NO_SCORE` for none)."""

    cohorts: int
    positive: bool
    score_bin: int = NO_SCORE


class UnknownDecisionError(LookupError):
    """No decision is kept under this id: never made, made without an id, pushed out by newer ones, or forgotten."""


class LabelMismatchError(ValueError):
    """The labels do not fit the decision; the message says how."""


class LabelConflictError(ValueError):
    """The decision was labelled before, and otherwise."""


class PendingDecisions:
    """The store of one server, for all of its models. ``key`` (16 to 64 bytes, random) hides the ids."""

    def __init__(self, key: bytes, max_rows: int = MAX_ROWS) -> None:
        self._key = key
        self._max_rows = max_rows
        self._rows = 0
        # The name of a decision -> the number of its version (4 bytes), then 4 bytes a row: one small object each.
        self._decisions: OrderedDict[bytes, bytes] = OrderedDict()
        self._versions: OrderedDict[str, int] = OrderedDict()
        self._next_version = 0

    def __len__(self) -> int:
        return len(self._decisions)

    @property
    def rows(self) -> int:
        """Rows kept now; never more than the limit."""
        return self._rows

    def keep(self, model: str, version: str, request_id: str, rows: Sequence[Row]) -> bool:
        """Remember the rows of one request. An id used again means the newer request.

        False, and nothing is kept, for a request without rows or of more than :data:`MAX_ROWS_PER_REQUEST`.
        """
        name = self._name(model, request_id)
        self._forget(name)
        if not 0 < len(rows) <= min(MAX_ROWS_PER_REQUEST, self._max_rows):
            return False
        packed = bytearray(self._number(version))
        for row in rows:
            packed += bytes((row.cohorts & 0xFF, row.cohorts >> 8 & 0xFF, int(row.positive), row.score_bin))
        while self._rows + len(rows) > self._max_rows:
            self._forget(next(iter(self._decisions)))
        self._decisions[name] = bytes(packed)
        self._rows += len(rows)
        return True

    def label(
        self, model: str, version: str | None, request_id: str, labels: Sequence[bool]
    ) -> tuple[str, list[tuple[Row, bool]]]:
        """The labels of one request's rows have come: its version, and each row that was not labelled before.

        A repeat of the same labels gives no rows, so that a sender may try again. Raises
        :class:`UnknownDecisionError`, :class:`LabelMismatchError` (another number of rows, another version) and
        :class:`LabelConflictError`.
        """
        name = self._name(model, request_id)
        decision = self._decisions.get(name)
        made_by = None if decision is None else self._version(decision)
        if decision is None or made_by is None:
            raise UnknownDecisionError
        if version is not None and version != made_by:
            raise LabelMismatchError(f"the decision was made by version {made_by}")
        count = len(decision) // _ROW - 1
        if len(labels) != count:
            raise LabelMismatchError(f"{len(labels)} labels, expected {count}: one for each row of the request")
        packed = bytearray(decision)
        fresh = []
        for place, label in enumerate(labels, start=1):
            low, high, flags, score_bin = packed[place * _ROW : (place + 1) * _ROW]
            if flags & _LABELLED:
                if bool(flags & _LABEL_POSITIVE) != label:
                    raise LabelConflictError("it was labelled before, and otherwise")
                continue
            packed[place * _ROW + 2] |= _LABELLED | (_LABEL_POSITIVE if label else 0)
            fresh.append((Row(low | high << 8, bool(flags & 1), score_bin), label))
        self._decisions[name] = bytes(packed)
        self._decisions.move_to_end(name)
        return made_by, fresh

    def _number(self, version: str) -> bytes:
        """A number in 4 bytes for a version; the versions used last have one, decisions of others are unknown."""
        number = self._versions.get(version)
        if number is None:
            number = self._versions[version] = self._next_version
            self._next_version = (self._next_version + 1) % 2**32
            if len(self._versions) > _VERSIONS:
                self._versions.popitem(last=False)
        self._versions.move_to_end(version)
        return number.to_bytes(_ROW, "big")

    def _version(self, decision: bytes) -> str | None:
        number = int.from_bytes(decision[:_ROW], "big")
        return next((version for version, known in self._versions.items() if known == number), None)

    def _name(self, model: str, request_id: str) -> bytes:
        digest = hashlib.blake2b(model.encode("utf-8", "replace"), digest_size=16, key=self._key)
        digest.update(b"\x00" + request_id.encode("utf-8", "surrogatepass"))
        return digest.digest()

    def _forget(self, name: bytes) -> None:
        decision = self._decisions.pop(name, None)
        if decision is not None:
            self._rows -= len(decision) // _ROW - 1
