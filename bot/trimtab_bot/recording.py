"""From the bot's memory to the ledger and to whoever follows along: a transactional outbox.

A change of state and the record that tells of it are written in one transaction; :meth:`Scribe.flush` then carries what
is waiting to the ledger, in order. It runs right after every change and again before every effect on the outside, so that
no effect begins before its intent is durable in the ledger. A crash anywhere is harmless: the ledger knows each key.
"""

from __future__ import annotations

import json
import sys
import threading
from typing import TYPE_CHECKING, Protocol, TextIO

from trimtab_bot.ledger.interface import EntryKind, Head, Record
from trimtab_bot.moments import moment_text
from trimtab_kernel.problems import printable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from trimtab_bot.ledger.interface import LedgerStore
    from trimtab_bot.store.interface import Store
    from trimtab_kernel.canonical import Json


class Followers(Protocol):
    """Who is told of events as they happen."""

    def tell(self, at: str, event: Mapping[str, Json]) -> None:
        """``at`` is RFC 3339; ``event`` has the key ``event`` and what belongs to it. Must not raise."""
        ...


class EventLines:
    """Tells people in one line each, and programs in one JSON object a line appended to a file."""

    def __init__(self, people: TextIO | None = None, file: Path | None = None) -> None:
        """``people`` is stderr unless given."""
        self._people = people or sys.stderr
        self._file = file
        self._lock = threading.Lock()

    def tell(self, at: str, event: Mapping[str, Json]) -> None:
        """See :class:`Followers`. A full disk or a closed terminal must not stop the bot; the ledger has it all."""
        with self._lock:
            try:
                if self._file is not None:
                    with self._file.open("a", encoding="utf-8") as file:
                        file.write(json.dumps({"at": at, **event}, ensure_ascii=False, sort_keys=True) + "\n")
                self._people.write(f"{at} {event_text(event)}\n")
                self._people.flush()
            except (OSError, ValueError):
                return


def event_text(event: Mapping[str, Json]) -> str:
    """One line for people: the event, what it is about, and its text."""
    parts = [str(event.get("event", ""))]
    for key in ("incident", "proposal"):
        if event.get(key):
            parts.append(str(event[key]))
    if event.get("model"):
        parts.append(f"{event['model']} {event.get('version', '')}".strip())
    if event.get("text"):
        parts.append(f"- {event['text']}")
    return printable(" ".join(parts), 500)


def record(key: str, kind: EntryKind, at: float, subject: str, event: str, **body: Json) -> Record:
    """A ledger record that is an event too."""
    return Record(key, kind, moment_text(at), subject, {"event": event, **body})


class Scribe:
    """Carries records from the store's outbox to the ledger, and tells followers. Safe from any thread."""

    def __init__(self, store: Store, ledger: LedgerStore, followers: Followers) -> None:
        self._store = store
        self._ledger = ledger
        self._followers = followers
        self._lock = threading.Lock()

    def flush(self) -> Head | None:
        """Write what is waiting; gives the newest entry known to be durable.

        Raises OutsideError where the store does not answer and LedgerConflictError where the ledger holds something else.
        """
        with self._lock:
            with self._store.reading() as view:
                waiting = view.pending_records()
                head = view.ledger_head()
            written = []
            for item in waiting:
                entry = self._ledger.append(item.record)
                head = Head(entry.index, entry.hash)
                written.append((item, head))
                # Before it is marked: after a crash an event may be told twice (its entry is the same), never not at all.
                self._followers.tell(item.record.at, {**item.record.body, "entry": entry.index})
            if written:
                with self._store.transaction() as work:
                    for item, place in written:
                        work.mark_written(item.number, place)
            return head
