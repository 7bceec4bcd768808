"""The tables. A column beside ``body`` is there to be searched by or to hold a rule; ``body`` is the whole record."""

from __future__ import annotations

import sqlalchemy as sa

METADATA = sa.MetaData()

SCHEMA = sa.Table("schema_version", METADATA, sa.Column("version", sa.Integer, primary_key=True, autoincrement=False))

INCIDENTS = sa.Table(
    "incidents",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("concern", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("is_open", sa.Boolean, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
)
ONE_OPEN_INCIDENT = sa.Index(
    "one_open_incident",
    INCIDENTS.c.concern,
    INCIDENTS.c.model,
    INCIDENTS.c.version,
    unique=True,
    sqlite_where=INCIDENTS.c.is_open.is_(True),
    postgresql_where=INCIDENTS.c.is_open.is_(True),
)

PROPOSALS = sa.Table(
    "proposals",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("key", sa.Text, nullable=False, unique=True),
    sa.Column("incident_id", sa.Text, sa.ForeignKey("incidents.id"), nullable=False, index=True),
    sa.Column("is_settled", sa.Boolean, nullable=False, index=True),
    sa.Column("body", sa.Text, nullable=False),
)

TIMELINE = sa.Table(
    "timeline",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("subject", sa.Text, nullable=False, index=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
)

VERIFIED = sa.Table(
    "verified_states",
    METADATA,
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("device_group", sa.Text, primary_key=True),
    sa.Column("commit_id", sa.Text, primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
)

CHAT = sa.Table(
    "chat_messages",
    METADATA,
    sa.Column("incident", sa.Text, primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
)

OUTBOX = sa.Table(
    "ledger_outbox",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("key", sa.Text, nullable=False, unique=True),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("entry_index", sa.Integer),
    sa.Column("entry_hash", sa.Text),
)
sa.Index("ledger_outbox_pending", OUTBOX.c.number, sqlite_where=OUTBOX.c.entry_index.is_(None))
