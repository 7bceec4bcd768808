"""The store over SQLAlchemy Core: SQLite, or PostgreSQL for replicas. One instance may be used from any thread."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import sqlalchemy as sa

from trimtab_bot.codec import CodecError, decode, encode
from trimtab_bot.ledger.interface import EntryKind, Head, Record
from trimtab_bot.records import ChatMessage, Incident, IncidentPhase, Proposal, TimelineRecord, VerifiedState
from trimtab_bot.store import tables
from trimtab_bot.store.engine import FAILURES, open_postgresql, open_sqlite, reading_options
from trimtab_bot.store.interface import Delivery, Pending, PendingNotice, Sealed, Ticket, Unsaid
from trimtab_bot.store.migrations import migrate
from trimtab_kernel.canonical import canonical_json
from trimtab_kernel.problems import OutsideError, printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trimtab_bot.store.interface import Reading, Writing

T = TypeVar("T")
_WRITERS = 0x7472696D01  # the advisory lock of those who write the store
_LEADERSHIP = 1  # the only row of its table


class SqlStore:
    """A :class:`trimtab_bot.store.interface.Store`."""

    def __init__(self, engine: sa.Engine, place: str) -> None:
        """Migrates first. ``place`` names the database in messages. Raises InputError (B109) and OutsideError."""
        self._engine = engine
        self._place = place
        try:
            with self._answering(), engine.begin() as connection:
                migrate(connection, place)
        except BaseException:
            engine.dispose()
            raise

    @classmethod
    def open(cls, path: Path) -> SqlStore:
        """The store in one SQLite file, made where there is none."""
        return cls(open_sqlite(path), path.name)

    @classmethod
    def connect(cls, url: str) -> SqlStore:
        """The store in a PostgreSQL database. Raises InputError (B111, B109) and OutsideError."""
        return cls(open_postgresql(url, _WRITERS), "PostgreSQL")

    def close(self) -> None:
        """Lets go of the database."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Reading]:
        """See the port."""
        options = reading_options(self._engine)
        with self._answering(), self._engine.connect().execution_options(**options) as connection:
            yield _Session(connection)

    @contextmanager
    def transaction(self) -> Iterator[Writing]:
        """See the port."""
        with self._answering(), self._engine.begin() as connection:
            session = _Session(connection)
            yield session
            session.mark_unsaid()

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Turns what the database says of the disk or of locks into our error."""
        try:
            yield
        except FAILURES as error:
            reason = printable(str(error.orig), 300)
            raise OutsideError(f"the state in {self._place} does not answer: {reason}") from error
        except CodecError as error:
            reason = f"a record in {self._place} cannot be read ({error}); restore the state directory from a backup"
            raise OutsideError(reason) from error


class _Session:
    """Typed reads and writes over one connection's transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._changed: list[str] = []

    # ------------------------------------------------ reading

    def incident(self, incident_id: str) -> Incident | None:
        found = self._bodies(Incident, tables.INCIDENTS, tables.INCIDENTS.c.id == incident_id)
        return found[0] if found else None

    def incidents(self, *, open_only: bool = False) -> tuple[Incident, ...]:
        only = tables.INCIDENTS.c.is_open.is_(True) if open_only else sa.true()
        return self._bodies(Incident, tables.INCIDENTS, only)

    def proposal(self, proposal_id: str) -> Proposal | None:
        found = self._bodies(Proposal, tables.PROPOSALS, tables.PROPOSALS.c.id == proposal_id)
        return found[0] if found else None

    def proposals(self, incident_id: str | None = None, *, unsettled_only: bool = False) -> tuple[Proposal, ...]:
        only = sa.true() if incident_id is None else tables.PROPOSALS.c.incident_id == incident_id
        if unsettled_only:
            only = sa.and_(only, tables.PROPOSALS.c.is_settled.is_(False))
        return self._bodies(Proposal, tables.PROPOSALS, only)

    def timeline(self, subject: str) -> tuple[TimelineRecord, ...]:
        query = (
            sa.select(tables.TIMELINE).where(tables.TIMELINE.c.subject == subject).order_by(tables.TIMELINE.c.number)
        )
        return tuple(TimelineRecord(row.subject, row.at, row.text) for row in self._connection.execute(query))

    def newest_timeline(self) -> int:
        newest: int | None = self._connection.execute(sa.select(sa.func.max(tables.TIMELINE.c.number))).scalar()
        return newest or 0

    def verified_states(self, model: str) -> tuple[VerifiedState, ...]:
        query = sa.select(tables.VERIFIED.c.body).where(tables.VERIFIED.c.model == model)
        return tuple(decode(VerifiedState, json.loads(row.body)) for row in self._connection.execute(query))

    def chat_message(self, incident_id: str, workspace: str = "") -> ChatMessage | None:
        table = tables.CHAT
        query = sa.select(table.c.body).where(table.c.workspace == workspace, table.c.incident == incident_id)
        row = self._connection.execute(query).first()
        return None if row is None else decode(ChatMessage, json.loads(row.body))

    def pending_records(self) -> tuple[Pending, ...]:
        query = sa.select(tables.OUTBOX).where(tables.OUTBOX.c.entry_index.is_(None)).order_by(tables.OUTBOX.c.number)
        return tuple(Pending(row.number, _record(row.body)) for row in self._connection.execute(query))

    def ledger_head(self) -> Head | None:
        written = tables.OUTBOX.c.entry_index
        query = sa.select(tables.OUTBOX).where(written.is_not(None)).order_by(written.desc()).limit(1)
        row = self._connection.execute(query).first()
        return None if row is None else Head(row.entry_index, row.entry_hash)

    def epoch(self) -> int:
        found: int | None = self._connection.execute(sa.select(tables.LEADERSHIP.c.epoch)).scalar()
        return found or 0

    def unsaid(self, workspace: str = "") -> tuple[Unsaid, ...]:
        outbox, said = tables.CHAT_OUTBOX, tables.CHAT_SAID
        same = sa.and_(said.c.incident == outbox.c.incident, said.c.workspace == workspace)
        query = (
            sa.select(outbox.c.incident, outbox.c.changed)
            .select_from(outbox.outerjoin(said, same))
            .where(sa.or_(said.c.changed.is_(None), said.c.changed < outbox.c.changed))
            .order_by(outbox.c.changed, outbox.c.incident)
        )
        return tuple(Unsaid(row.incident, row.changed) for row in self._connection.execute(query))

    def sealed(self, kind: str, key: str) -> Sealed | None:
        table = tables.SEALED
        row = self._connection.execute(sa.select(table).where(table.c.kind == kind, table.c.key == key)).first()
        return None if row is None else Sealed(*row)

    def all_sealed(self, kind: str) -> tuple[Sealed, ...]:
        table = tables.SEALED
        query = sa.select(table).where(table.c.kind == kind).order_by(table.c.key)
        return tuple(Sealed(*row) for row in self._connection.execute(query))

    def delivery(self, source: str, key: str) -> Delivery | None:
        table = tables.DELIVERIES
        row = self._connection.execute(sa.select(table).where(table.c.source == source, table.c.key == key)).first()
        return None if row is None else Delivery(*row)

    def unanswered(self, source: str) -> tuple[Delivery, ...]:
        table = tables.DELIVERIES
        query = sa.select(table).where(table.c.source == source, table.c.answer.is_(None)).order_by(table.c.number)
        return tuple(Delivery(*row) for row in self._connection.execute(query))

    def pending_notices(self, limit: int = 100) -> tuple[PendingNotice, ...]:
        table = tables.NOTICES
        query = sa.select(table).where(table.c.done_at.is_(None)).order_by(table.c.number).limit(limit)
        return tuple(PendingNotice(row.number, row.key, row.body) for row in self._connection.execute(query))

    def _bodies(self, kind: type[T], table: sa.Table, only: sa.ColumnElement[bool]) -> tuple[T, ...]:
        query = sa.select(table.c.body).where(only).order_by(table.c.number)
        return tuple(decode(kind, json.loads(row.body)) for row in self._connection.execute(query))

    # ------------------------------------------------ writing

    def put_incident(self, incident: Incident) -> None:
        self._put(
            tables.INCIDENTS,
            incident.id,
            concern=incident.concern,
            model=incident.model,
            version=incident.version,
            is_open=incident.phase is not IncidentPhase.CLOSED,
            body=_text(incident),
        )
        self._changed.append(incident.id)

    def put_proposal(self, proposal: Proposal) -> None:
        self._put(
            tables.PROPOSALS,
            proposal.id,
            key=proposal.key,
            incident_id=proposal.incident_id,
            is_settled=proposal.closed_on_host,
            body=_text(proposal),
        )
        self._changed.append(proposal.incident_id)

    def add_timeline(self, entry: TimelineRecord) -> None:
        text = entry.text.replace("\0", "\N{REPLACEMENT CHARACTER}")  # which no column of PostgreSQL takes
        self._connection.execute(tables.TIMELINE.insert().values(subject=entry.subject, at=entry.at, text=text))
        self._changed.append(entry.subject)

    def add_verified(self, state: VerifiedState) -> bool:
        table = tables.VERIFIED
        same = (table.c.model == state.model, table.c.device_group == state.group, table.c.commit_id == state.commit)
        if self._connection.execute(sa.select(table.c.model).where(*same)).first() is not None:
            return False
        self._connection.execute(
            table.insert().values(
                model=state.model, device_group=state.group, commit_id=state.commit, body=_text(state)
            )
        )
        return True

    def put_chat_message(self, message: ChatMessage) -> None:
        table = tables.CHAT
        same = {"workspace": message.workspace, "incident": message.incident}
        where = (table.c.workspace == message.workspace, table.c.incident == message.incident)
        if self._connection.execute(table.update().where(*where).values(body=_text(message))).rowcount == 0:
            self._connection.execute(table.insert().values(**same, body=_text(message)))

    def add_record(self, record: Record) -> None:
        table = tables.OUTBOX
        if self._connection.execute(sa.select(table.c.number).where(table.c.key == record.key)).first() is None:
            body = {
                "key": record.key,
                "kind": record.kind.value,
                "at": record.at,
                "subject": record.subject,
                "body": record.body,
            }
            self._connection.execute(table.insert().values(key=record.key, body=canonical_json(body).decode()))

    def mark_written(self, number: int, head: Head) -> None:
        update = tables.OUTBOX.update().where(tables.OUTBOX.c.number == number)
        self._connection.execute(update.values(entry_index=head.index, entry_hash=head.hash))

    def take_leadership(self, holder: str) -> int:
        table, epoch = tables.LEADERSHIP, self.epoch() + 1
        values = {"epoch": epoch, "holder": holder}
        if self._connection.execute(table.update().values(**values)).rowcount == 0:
            self._connection.execute(table.insert().values(id=_LEADERSHIP, **values))
        return epoch

    def mark_unsaid(self) -> None:
        """Queue for chat what this transaction changed; the store calls it before the commit."""
        table = tables.CHAT_OUTBOX
        if not self._changed:
            return
        newest: int = self._connection.execute(sa.select(sa.func.max(table.c.changed))).scalar() or 0
        for number, incident in enumerate(dict.fromkeys(self._changed), newest + 1):
            update = table.update().where(table.c.incident == incident).values(changed=number)
            if self._connection.execute(update).rowcount == 0:
                self._connection.execute(table.insert().values(incident=incident, changed=number))

    def mark_said(self, said: Unsaid, workspace: str = "") -> None:
        table = tables.CHAT_SAID
        where = (table.c.workspace == workspace, table.c.incident == said.incident)
        if self._connection.execute(table.update().where(*where).values(changed=said.changed)).rowcount == 0:
            values = {"workspace": workspace, "incident": said.incident, "changed": said.changed}
            self._connection.execute(table.insert().values(**values))

    def name_workspace(self, workspace: str, channel: str) -> None:
        table, said = tables.CHAT, tables.CHAT_SAID
        for row in self._connection.execute(sa.select(table.c.body).where(table.c.workspace == "")).all():
            message = decode(ChatMessage, json.loads(row.body))
            if message.channel == channel and self.chat_message(message.incident, workspace) is None:
                self.put_chat_message(replace(message, workspace=workspace))
                for each in (table, said):
                    self._connection.execute(
                        each.delete().where(each.c.workspace == "", each.c.incident == message.incident)
                    )

    def put_sealed(self, sealed: Sealed) -> None:
        table = tables.SEALED
        owned = sa.select(table.c.key).where(table.c.kind == sealed.kind, table.c.owner == sealed.owner)
        if self._connection.execute(owned.where(table.c.key != sealed.key)).first() is not None:
            raise ValueError(f"{sealed.kind}: {sealed.owner} has another one")
        self.drop_sealed(sealed.kind, sealed.key)
        values = {name: getattr(sealed, name) for name in Sealed.__slots__}
        self._connection.execute(table.insert().values(**values))

    def drop_sealed(self, kind: str, key: str) -> bool:
        table = tables.SEALED
        return self._connection.execute(table.delete().where(table.c.kind == kind, table.c.key == key)).rowcount > 0

    def add_ticket(self, ticket: Ticket, forget_before: float) -> None:
        table = tables.TICKETS
        self._connection.execute(table.delete().where(table.c.expires_at < forget_before))
        values = {name: getattr(ticket, name) for name in Ticket.__slots__}
        self._connection.execute(table.insert().values(**values))

    def use_ticket(self, digest: str, at: float) -> Ticket | None:
        table = tables.TICKETS
        row = self._connection.execute(sa.select(table).where(table.c.digest == digest)).first()
        if row is None:
            return None
        if row.used_at is None:
            self._connection.execute(table.update().where(table.c.digest == digest).values(used_at=at))
        return Ticket(*row)

    def add_delivery(self, source: str, key: str, at: float, body: str) -> bool:
        if self.delivery(source, key) is not None:
            return False
        self._connection.execute(tables.DELIVERIES.insert().values(source=source, key=key, at=at, body=body))
        return True

    def answer_delivery(self, source: str, key: str, answer: str) -> None:
        table = tables.DELIVERIES
        same = (table.c.source == source, table.c.key == key)
        self._connection.execute(table.update().where(*same).values(answer=answer))

    def forget_deliveries(self, before: float) -> int:
        table = tables.DELIVERIES
        gone = self._connection.execute(table.delete().where(table.c.at < before, table.c.answer.is_not(None)))
        return gone.rowcount

    def add_notice(self, key: str, body: str) -> None:
        table = tables.NOTICES
        if self._connection.execute(sa.select(table.c.number).where(table.c.key == key)).first() is None:
            self._connection.execute(table.insert().values(key=key, body=body))

    def mark_notice(self, number: int, at: float) -> None:
        self._connection.execute(tables.NOTICES.update().where(tables.NOTICES.c.number == number).values(done_at=at))

    def _put(self, table: sa.Table, record_id: str, **values: object) -> None:
        try:
            if self._connection.execute(table.update().where(table.c.id == record_id).values(**values)).rowcount == 0:
                self._connection.execute(table.insert().values(id=record_id, **values))
        except sa.exc.IntegrityError as error:
            raise ValueError(f"{table.name}: {record_id} breaks a rule of the store: {error.orig}") from error


def _text(record: object) -> str:
    return canonical_json(encode(record)).decode()


def _record(text: str) -> Record:
    data = json.loads(text)
    return Record(data["key"], EntryKind(data["kind"]), data["at"], data["subject"], data["body"])
