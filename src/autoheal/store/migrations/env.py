"""Alembic's entry: run the revisions on the connection that `autoheal.store.migrate` hands in."""

from __future__ import annotations

from alembic import context

from autoheal.store.schema import metadata


def run() -> None:
    """On the one connection, in the one transaction, that the caller opened."""
    connection = context.config.attributes["connection"]
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


run()
