"""What was said in chat."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One step forward."""
    op.create_table(
        "chat_messages",
        sa.Column("incident", sa.Text, primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
    )
