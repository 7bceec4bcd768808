"""Chat in several workspaces, tokens of others under seal, and what is handed out to come back once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One step forward. What was said until now was said in the one workspace there was, which has no name here."""
    op.rename_table("chat_messages", "chat_messages_of_one")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER INDEX chat_messages_pkey RENAME TO chat_messages_of_one_pkey")
    op.create_table(
        "chat_messages",
        sa.Column("workspace", sa.Text, primary_key=True),
        sa.Column("incident", sa.Text, primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.execute(
        "INSERT INTO chat_messages (workspace, incident, body) SELECT '', incident, body FROM chat_messages_of_one"
    )
    op.drop_table("chat_messages_of_one")
    op.create_table(
        "chat_said",
        sa.Column("workspace", sa.Text, primary_key=True),
        sa.Column("incident", sa.Text, primary_key=True),
        sa.Column("changed", sa.Integer, nullable=False),
    )
    # Until now a row went when it was said; now it stays, and what was said is told apart by workspace.
    missing = "SELECT id FROM incidents WHERE id NOT IN (SELECT incident FROM chat_outbox)"
    op.execute(f"INSERT INTO chat_said (workspace, incident, changed) SELECT '', id, 0 FROM ({missing}) AS said")  # noqa: S608 - names of ours
    op.execute(f"INSERT INTO chat_outbox (incident, changed) SELECT id, 0 FROM ({missing}) AS said")  # noqa: S608 - names of ours
    op.create_table(
        "sealed",
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.UniqueConstraint("kind", "owner", name="sealed_one_for_each_owner"),
    )
    op.create_table(
        "tickets",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("browser", sa.Text, nullable=False),
        sa.Column("person", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False, index=True),
        sa.Column("used_at", sa.Float),
    )
