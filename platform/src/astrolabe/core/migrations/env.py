"""Run by Alembic: apply revisions on the connection that `astrolabe.core.migrate` opened."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from astrolabe.core.database import METADATA

__all__: list[str] = []

_connection: Connection = context.config.attributes["connection"]
context.configure(
    connection=_connection,
    target_metadata=METADATA,
    # SQLite can alter little in place; Alembic then copies the table.
    render_as_batch=_connection.dialect.name == "sqlite",
)
with context.begin_transaction():
    context.run_migrations()
