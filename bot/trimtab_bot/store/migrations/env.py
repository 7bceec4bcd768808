"""Where Alembic finds its connection: the transaction that the store has begun, so that all steps count or none."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
