"""Who leads, what came in from outside, and what is to be said outside.

The row in ``schema_version`` makes programs from before Alembic refuse the store.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One step forward."""
    connection = op.get_bind()
    if "schema_version" not in sa.inspect(connection).get_table_names():
        op.create_table("schema_version", sa.Column("version", sa.Integer, primary_key=True, autoincrement=False))
    op.execute("INSERT INTO schema_version (version) VALUES (1000)")
    op.create_table(
        "leadership",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
    )
    op.create_table(
        "deliveries",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("at", sa.Float, nullable=False, index=True),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("answer", sa.Text),
        sa.UniqueConstraint("source", "key", name="deliveries_once"),
    )
    op.create_table(
        "chat_outbox",
        sa.Column("incident", sa.Text, primary_key=True),
        sa.Column("changed", sa.Integer, nullable=False, index=True),
    )
    op.execute("INSERT INTO chat_outbox (incident, changed) SELECT id, number FROM incidents")
    op.create_table(
        "notices",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("key", sa.Text, nullable=False, unique=True),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("done_at", sa.Float),
    )
    op.create_index(
        "notices_pending",
        "notices",
        ["number"],
        sqlite_where=sa.text("done_at IS NULL"),
        postgresql_where=sa.text("done_at IS NULL"),
    )
