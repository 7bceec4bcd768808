"""The tables. A column beside ``body`` is there to be searched by or to hold a rule; ``body`` is the whole record."""

from __future__ import annotations

import sqlalchemy as sa

METADATA = sa.MetaData()

SCHEMA = sa.Table("schema_version", METADATA, sa.Column("version", sa.Integer, primary_key=True, autoincrement=False))
"""How programs before Alembic counted; kept so that they refuse a store of today."""
COUNTED_LAST = 1000

ALEMBIC = sa.Table("alembic_version", METADATA, sa.Column("version_num", sa.String(32), nullable=False))
"""As Alembic makes it, its key's name included."""
ALEMBIC.append_constraint(sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"))

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
    sa.Column("workspace", sa.Text, primary_key=True),
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
sa.Index(
    "ledger_outbox_pending",
    OUTBOX.c.number,
    sqlite_where=OUTBOX.c.entry_index.is_(None),
    postgresql_where=OUTBOX.c.entry_index.is_(None),
)

LEADERSHIP = sa.Table(
    "leadership",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("holder", sa.Text, nullable=False),
)
"""One row: the fencing token. Who leads has taken the newest epoch; a transaction of an older one is refused."""

DELIVERIES = sa.Table(
    "deliveries",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("at", sa.Float, nullable=False, index=True),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("answer", sa.Text),
    sa.UniqueConstraint("source", "key", name="deliveries_once"),
)
"""What came in from outside, written down before it is acknowledged; ``answer`` is None until it was acted upon."""

CHAT_OUTBOX = sa.Table(
    "chat_outbox",
    METADATA,
    sa.Column("incident", sa.Text, primary_key=True),
    sa.Column("changed", sa.Integer, nullable=False, index=True),
)
"""When each incident changed last: one row for each, however much has happened."""

CHAT_SAID = sa.Table(
    "chat_said",
    METADATA,
    sa.Column("workspace", sa.Text, primary_key=True),
    sa.Column("incident", sa.Text, primary_key=True),
    sa.Column("changed", sa.Integer, nullable=False),
)
"""Up to which change each workspace was told of an incident; what changed since is still to be said there."""

SEALED = sa.Table(
    "sealed",
    METADATA,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.UniqueConstraint("kind", "owner", name="sealed_one_for_each_owner"),
)
"""Tokens of others that the bot keeps: ``body`` can be read with the key of a file outside the database alone."""

TICKETS = sa.Table(
    "tickets",
    METADATA,
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("browser", sa.Text, nullable=False),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False, index=True),
    sa.Column("used_at", sa.Float),
)
"""What was handed out to come back once: states of OAuth and links, by digest."""

NOTICES = sa.Table(
    "notices",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("key", sa.Text, nullable=False, unique=True),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("done_at", sa.Float),
)
"""What is to be said to alert receivers, in order."""
sa.Index(
    "notices_pending",
    NOTICES.c.number,
    sqlite_where=NOTICES.c.done_at.is_(None),
    postgresql_where=NOTICES.c.done_at.is_(None),
)
