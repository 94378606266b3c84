"""Opens the database, brings its tables up to date, and hands out connections.

Called by `web.identity.house`; read() for looking, write() for a transaction that is the only one of its kind at a time.
Never lets two transactions decide on the same rows at once: SQLite begins them immediately, PostgreSQL locks what they select for update."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, event, insert, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from web.database.tables import owner

_DRIVERS: Final = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
_BUSY_MS: Final = 10_000
# Two portals of one institution may start at once; the number is ours alone, and means "migrating".
_MIGRATING: Final = 0x5256_4D47
_READING: Final = "riverbank_reading"


class DatabaseError(Exception):
    """The database cannot be used; the sentence says which and why."""


def address(dsn: str, password: str | None) -> URL:
    """SQLAlchemy's address of `sqlite:///path` or `postgresql://user@host/name`."""
    url = make_url(dsn)
    url = url.set(drivername=_DRIVERS[url.drivername])
    return url if password is None else url.set(password=password)


def migrations(connection: Connection) -> Config:
    """Alembic's configuration for this connection."""
    config = Config()
    config.set_main_option("script_location", str(files("web.database") / "migrations"))
    config.attributes["connection"] = connection
    return config


class Database:
    """One engine; made by `open_database`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._reading = engine.execution_options(**{_READING: True})
        # Who waits for SQLite's lock polls for it, so that of many writers one may wait in vain; here they queue instead.
        self._turn: contextlib.AbstractAsyncContextManager[object] = contextlib.nullcontext() if self.is_postgresql else asyncio.Lock()

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for looking: a snapshot that waits for nobody."""
        async with self._reading.connect() as connection:
            yield connection

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction: committed at the end, rolled back when the body raises."""
        async with self._turn, self._engine.begin() as connection:
            yield connection

    @property
    def is_postgresql(self) -> bool:
        """Whether rows have to be locked one by one."""
        return self._engine.dialect.name == "postgresql"

    async def close(self) -> None:
        """Free every connection."""
        await self._engine.dispose()


async def open_database(dsn: str, *, belongs_to: str, password: str | None = None) -> Database:
    """The database with its tables as of today; DatabaseError when it is away, or somebody else's than `belongs_to`."""
    url = address(dsn, password)
    if url.get_backend_name() == "sqlite" and url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_async_engine(url, pool_pre_ping=url.get_backend_name() == "postgresql")
    if engine.dialect.name == "sqlite":
        _prepare_sqlite(engine)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_migrate)
            await _claim(connection, belongs_to)
    except (OSError, DBAPIError) as error:
        await engine.dispose()
        cause = error.orig if isinstance(error, DBAPIError) else error
        raise DatabaseError(f"the database {url.render_as_string(hide_password=True)} cannot be used: {cause}") from error
    except BaseException:
        await engine.dispose()
        raise
    return Database(engine)


def _migrate(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:ours)"), {"ours": _MIGRATING})
    command.upgrade(migrations(connection), "head")


async def _claim(connection: AsyncConnection, name: str) -> None:
    found = (await connection.execute(select(owner.c.name))).scalar_one_or_none()
    if found is None:
        await connection.execute(insert(owner).values(name=name))
    elif found != name:
        raise DatabaseError(f"this database belongs to {found}, not to {name}: every portal has one of its own")


def _prepare_sqlite(engine: AsyncEngine) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # We say ourselves when a transaction begins.
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON", f"busy_timeout={_BUSY_MS}"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begun(connection: Connection) -> None:
        # A transaction that began by reading could not write once another has: SQLite would refuse it, so it takes the right at once.
        reading = connection.get_execution_options().get(_READING, False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
