"""The record of every exchange: what, who, when, its digest, its size, its versions; in ClickHouse, embedded or a server.

Run as one process (`audit.writer.run`); asked by the CLI and the live page (`audit.queries`).
Never holds content: no model, no update and no customer, only the digests of what was said."""
