"""The door to ClickHouse: the engine inside this process (chdb:///directory) or a server, with the same code and the same tables.

Called by the audit writer and by whoever asks the audit; the only module that touches clickhouse-connect.
Never shows a password, and never runs anything on the caller's event loop: one thread of its own talks to the engine."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, Final, ParamSpec, TypeVar
from urllib.parse import SplitResult, unquote, urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError

from federation.ids import digest_of

Value = str | int
Row = dict[str, Value]

_MIGRATIONS: Final = Path(__file__).with_name("migrations")
_CONNECT_TIMEOUT_S: Final = 5
_ANSWER_TIMEOUT_S: Final = 60
_LOCK_LOOK_S: Final = 0.05
# Caps, so that the process stays small however large the audit grows: the engine's own defaults are for a whole server.
_ENGINE: Final = {
    "max_server_memory_usage": "1000000000",
    "mark_cache_size": "16777216",
    "primary_index_cache_size": "16777216",
    "index_mark_cache_size": "4194304",
}
_SESSION: Final = {
    "max_threads": 2,
    "max_memory_usage": 400_000_000,
    "max_bytes_before_external_group_by": 100_000_000,
    "max_bytes_before_external_sort": 100_000_000,
}

P = ParamSpec("P")
T = TypeVar("T")


class WarehouseError(Exception):
    """ClickHouse cannot be used, or refuses a statement; one sentence that names the place and no password."""


class WarehouseInUse(WarehouseError):
    """Another process owns the embedded directory now."""


def embedded_directory(dsn: str) -> Path | None:
    """The directory of an embedded engine, None for a server's address; WarehouseError for a DSN that is neither."""
    parts = urlsplit(dsn)
    if parts.scheme == "chdb":
        if parts.netloc or parts.path in {"", "/"}:
            raise WarehouseError("a chdb address needs a directory, as in chdb:///var/lib/riverbank/audit")
        return Path(unquote(parts.path))
    if parts.scheme not in {"clickhouse", "http", "https"} or not parts.hostname:
        raise WarehouseError("a ClickHouse address is chdb:///directory, clickhouse://user@host:8123/database, http://... or https://...")
    return None


class Warehouse:
    """One connection and the thread that owns it. Made by `open`."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="warehouse")
        self._client: Client | None = None
        self._lock: IO[bytes] | None = None

    @classmethod
    async def open(cls, dsn: str, password: str = "", *, wait_s: float = 0.0) -> Warehouse:
        """Connect and bring the tables up to date; WarehouseError if that cannot be done.

        WarehouseInUse: another process still owns the embedded directory after `wait_s` seconds.
        """
        directory = embedded_directory(dsn)
        warehouse = cls(str(directory) if directory else _server(urlsplit(dsn)))
        try:
            if directory is not None:
                await warehouse._own(directory, wait_s)
            await warehouse._call(warehouse._connect, dsn, directory, password)
            await warehouse._call(warehouse._migrate)
        except BaseException:
            await warehouse.close()
            raise
        return warehouse

    async def rows(self, sql: str, parameters: Mapping[str, Value] | None = None) -> list[Row]:
        """The answer to a SELECT with `{name:Type}` placeholders, one dictionary per row; WarehouseError."""
        return await self._call(self._rows, sql, parameters)

    async def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows, durable when this returns (the tables say fsync_after_insert); WarehouseError."""
        if rows:
            await self._call(self._insert, table, columns, rows)

    async def command(self, sql: str) -> None:
        """Run a statement that answers nothing; WarehouseError."""
        await self._call(self._command, sql)

    async def close(self) -> None:
        """Wait for what is running, give the engine up and end the thread."""
        client, self._client = self._client, None
        if client is not None:
            await self._call(client.close)
        if self._lock is not None:
            self._lock.close()
        self._thread.shutdown(wait=False)

    async def _own(self, directory: Path, wait_s: float) -> None:
        give_up = time.monotonic() + wait_s
        while not await self._call(self._locked, directory):
            if time.monotonic() >= give_up:
                raise WarehouseInUse(
                    f"{directory} is in use: one process at a time owns an embedded ClickHouse directory, usually the audit writer"
                )
            await asyncio.sleep(_LOCK_LOOK_S)

    async def _call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: function(*args, **kwargs))
        except (ClickHouseError, OSError) as error:  # OSError: an insert goes through a temporary file, and disks fill up.
            raise WarehouseError(self._sentence(error)) from error

    # --- on the thread ---------------------------------------------------------------------------------------------
    def _locked(self, directory: Path) -> bool:
        # The engine has a lock of its own, but its reason goes to stderr and not into the exception.
        try:
            if self._lock is None:
                directory.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._lock = (directory / "owner.lock").open("ab")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise WarehouseError(f"cannot use the audit's directory {directory}: {error.strerror}") from error
        return True

    def _connect(self, dsn: str, directory: Path | None, password: str) -> None:
        logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)  # Its failures reach us as exceptions.
        if directory is None:
            interface = "https" if urlsplit(dsn).scheme == "https" else None  # It would look at the port only, and speak in the clear.
            self._client = clickhouse_connect.get_client(
                dsn=dsn, password=password, connect_timeout=_CONNECT_TIMEOUT_S, send_receive_timeout=_ANSWER_TIMEOUT_S,
                autogenerate_session_id=False, interface=interface,
            )  # fmt: skip
            return
        self._client = clickhouse_connect.get_client(dsn=dsn, chdb_options=_ENGINE, settings=_SESSION)

    def _migrate(self) -> None:
        self._command(
            "CREATE TABLE IF NOT EXISTS migrations (number UInt32, digest FixedString(32), applied_at DateTime64(3, 'UTC') DEFAULT now64(3))"
            " ENGINE = ReplacingMergeTree ORDER BY number SETTINGS fsync_after_insert = 1, fsync_part_directory = 1"
        )
        applied = {row["number"]: row["digest"] for row in self._rows("SELECT number, lower(hex(digest)) AS digest FROM migrations FINAL")}
        files = {int(path.name.partition("_")[0]): path for path in sorted(_MIGRATIONS.glob("*.sql"))}
        if unknown := sorted(set(applied) - set(files)):
            raise WarehouseError(f"{self._place} was made by a newer Riverbank: it has migration {unknown[-1]}, which is not known here")
        for number, path in files.items():
            text = path.read_text()
            digest = digest_of(text.encode())
            if number not in applied:
                for statement in _statements(text):
                    self._command(statement)  # Every one may run again: a crash before the next line repeats the file.
                self._insert("migrations", ("number", "digest"), [(number, digest)])
            elif applied[number] != digest.hex():
                raise WarehouseError(f"migration {path.name} has been changed since it was applied to {self._place}")

    def _rows(self, sql: str, parameters: Mapping[str, Value] | None = None) -> list[Row]:
        result = self._connected().query(sql, parameters=dict(parameters or {}))
        return [dict(zip(result.column_names, row, strict=True)) for row in result.result_rows]

    def _insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        self._connected().insert(table, rows, column_names=columns)

    def _command(self, sql: str) -> None:
        self._connected().command(sql)

    def _connected(self) -> Client:
        if self._client is None:
            raise WarehouseError(f"the connection to {self._place} is closed")
        return self._client

    def _sentence(self, error: ClickHouseError | OSError) -> str:
        text = str(error)
        if "already initialized with path" in text:
            return f"cannot open {self._place}: this process has another embedded ClickHouse directory open"
        if "AUTHENTICATION_FAILED" in text or "REQUIRED_PASSWORD" in text:
            return f"ClickHouse at {self._place} refuses the user or the password"
        if isinstance(error, OperationalError) and "Connection" in text:
            return f"no ClickHouse answers at {self._place}"
        return f"ClickHouse at {self._place}: {' '.join(text.split())[:300]}"


def _server(parts: SplitResult) -> str:
    """Where a server is, without the user and the password."""
    return f"{parts.hostname}:{parts.port or (8443 if parts.scheme == 'https' else 8123)}{parts.path}"


def _statements(text: str) -> list[str]:
    """The statements of a migration: comments removed, cut at each semicolon that ends a line."""
    bare = re.sub(r"^\s*--.*$", "", text, flags=re.MULTILINE)
    return [statement.strip() for statement in re.split(r";\s*$", bare, flags=re.MULTILINE) if statement.strip()]
