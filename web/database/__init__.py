"""The portal's own database: who may log in, with what, and what people here are working on.

Opened by `web.wiring` and by `riverbank users`; SQLite beside the portal's files, or PostgreSQL.
Never holds an event, a model or another institution's anything."""
