"""Alembic's way in: runs the steps on the connection that it is given.

Loaded by Alembic when `web.database.engine` migrates.
Never opens a connection of its own, so that a start that fails leaves nothing half done."""

from __future__ import annotations

from alembic import context

from web.database.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
