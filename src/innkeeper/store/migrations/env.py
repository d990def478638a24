"""Alembic's environment: it works on the connection that ``Database`` opened."""

from __future__ import annotations

from alembic import context

from innkeeper.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite changes a table by making it anew.
    render_as_batch=True,
    # ``Database`` holds the transaction: all steps, or none.
    transaction_per_migration=False,
)
context.run_migrations()
