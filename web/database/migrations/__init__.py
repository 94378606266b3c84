"""How the tables came to be what they are, one step a file.

Run by `web.database.engine` at every start, through Alembic.
Never changes a step that was released: a new one is added."""
