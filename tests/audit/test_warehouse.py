"""The door to ClickHouse keeps its promises with the real engine, and says one sentence when there is none.

Run with chdb in this process, and with a stand-in for a server that listens but never serves.
Never needs a ClickHouse server."""

from __future__ import annotations

import asyncio
import base64
import socket
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from audit.entries import ENTRY_COLUMNS
from audit.warehouse import Warehouse, WarehouseError, embedded_directory

_NOW = datetime.now(UTC)


def _row(logged_at: datetime, sent_at: datetime, offset: int) -> tuple[object, ...]:
    return (logged_at, sent_at, "a", "b", "t", "h", 1, 1, bytes(32), bytes(32), 1, "f", "v", "sent", "", bytes(32), 0, offset)


async def test_opening_again_changes_nothing(dsn: str) -> None:
    """Migrations are applied once; what was written stays."""
    first = await Warehouse.open(dsn)
    await first.insert("indexed", ("next_sequence", "last_leaf"), [(7, bytes(32))])
    await first.close()

    second = await Warehouse.open(dsn)
    migrations = await second.rows("SELECT number, count() AS times FROM migrations GROUP BY number ORDER BY number")
    indexed = await second.rows("SELECT next_sequence FROM indexed")
    await second.close()

    assert migrations == [{"number": number, "times": 1} for number in (1, 2)]
    assert indexed == [{"next_sequence": 7}]


async def test_a_crash_between_a_migration_and_its_mark_is_repaired(warehouse: Warehouse, dsn: str) -> None:
    """Its statements run again over the tables that are there already."""
    await warehouse.command("TRUNCATE TABLE migrations")
    await warehouse.close()

    again = await Warehouse.open(dsn)
    migrations = await again.rows("SELECT number FROM migrations ORDER BY number")
    await again.close()

    assert migrations == [{"number": 1}, {"number": 2}]


@pytest.mark.parametrize(
    ("number", "complaint"),
    [(1, r"migration 001_record\.sql has been changed since it was applied"), (999, "made by a newer Riverbank: it has migration 999")],
)
async def test_other_migrations_than_ours_are_refused(warehouse: Warehouse, dsn: str, number: int, complaint: str) -> None:
    """A migration that was edited after it was applied, and one from the future."""
    await warehouse.command("TRUNCATE TABLE migrations")
    await warehouse.insert("migrations", ("number", "digest"), [(number, b"x" * 32)])
    await warehouse.close()

    with pytest.raises(WarehouseError, match=complaint):
        await Warehouse.open(dsn)


async def test_thirteen_months_by_the_logs_clock(warehouse: Warehouse) -> None:
    """The broker's time decides what is dropped: an entry cannot be dated so that it disappears early."""
    old, young = _NOW - timedelta(days=14 * 31), _NOW - timedelta(days=12 * 30)
    await warehouse.insert(
        "entries", ENTRY_COLUMNS, [_row(old, _NOW, 1), _row(young, _NOW, 2), _row(_NOW, datetime(1980, 1, 1, tzinfo=UTC), 3)]
    )
    await warehouse.command("OPTIMIZE TABLE entries FINAL")

    assert await warehouse.rows("SELECT log_offset FROM entries ORDER BY log_offset") == [{"log_offset": 2}, {"log_offset": 3}]
    for table in ("entries", "refused"):
        (made,) = await warehouse.rows("SELECT create_table_query AS sql FROM system.tables WHERE name = {table:String}", {"table": table})
        assert "TTL toDateTime(logged_at) + toIntervalMonth(13)" in str(made["sql"])
        assert "fsync_after_insert = 1, fsync_part_directory = 1, concurrent_part_removal_threshold = 1000000" in str(made["sql"])


async def test_the_engine_is_kept_small(warehouse: Warehouse) -> None:
    """Its caps are in force: they are for a process beside others, not for a server of its own."""
    server = await warehouse.rows(
        "SELECT name, value FROM system.server_settings WHERE name IN ('max_server_memory_usage', 'mark_cache_size') ORDER BY name"
    )
    session = await warehouse.rows("SELECT value FROM system.settings WHERE name = 'max_memory_usage'")

    assert [row["value"] for row in server] == ["16777216", "1000000000"]
    assert session == [{"value": "400000000"}]


async def test_the_event_loop_goes_on(warehouse: Warehouse) -> None:
    """While the engine works, nothing else waits."""
    query = asyncio.create_task(warehouse.rows("SELECT sleep(0.3) AS slept"))
    longest = 0.0
    while not query.done():
        before = time.monotonic()
        await asyncio.sleep(0.01)
        longest = max(longest, time.monotonic() - before)

    assert longest < 0.2


async def test_an_error_of_the_engine_is_one_line(warehouse: Warehouse) -> None:
    """It names the place and what is wrong."""
    with pytest.raises(WarehouseError, match=r"^ClickHouse at /.*audit: .*nowhere") as error:
        await warehouse.rows("SELECT 1 FROM nowhere")
    assert "\n" not in str(error.value)

    await warehouse.close()
    with pytest.raises((WarehouseError, RuntimeError)):
        await warehouse.rows("SELECT 1")


async def test_a_full_disk_is_an_error_of_the_warehouse(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An insert that cannot write its temporary file is retried by the writer, so it must not end the process."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))

    with pytest.raises(WarehouseError, match="No such file"):
        await warehouse.insert("indexed", ("next_sequence", "last_leaf"), [(7, bytes(32))])


@pytest.mark.usefixtures("warehouse")
async def test_one_process_owns_a_directory(dsn: str) -> None:
    """A second process gets one clear sentence, without the engine's own."""
    script = "import asyncio, sys; from audit.warehouse import Warehouse; asyncio.run(Warehouse.open(sys.argv[1]))"
    second = await asyncio.create_subprocess_exec(sys.executable, "-c", script, dsn, stderr=asyncio.subprocess.PIPE)
    _, said = await second.communicate()

    last = said.decode().strip().splitlines()[-1]
    assert last.startswith("audit.warehouse.WarehouseInUse: /")
    assert last.endswith("is in use: one process at a time owns an embedded ClickHouse directory, usually the audit writer")


async def test_a_writer_waits_for_somebody_who_asks(warehouse: Warehouse, dsn: str) -> None:
    """The directory is free a moment later, and that is early enough."""
    waiting = asyncio.create_task(Warehouse.open(dsn, wait_s=5))
    await asyncio.sleep(0.1)
    assert not waiting.done()

    await warehouse.close()
    await (await waiting).close()


@pytest.mark.usefixtures("warehouse")
async def test_one_directory_per_process(tmp_path: Path) -> None:
    """The engine's own limit, said clearly."""
    with pytest.raises(WarehouseError, match="this process has another embedded ClickHouse directory open"):
        await Warehouse.open(f"chdb://{tmp_path / 'other'}")


async def test_a_directory_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    """A file where a folder should be."""
    (tmp_path / "file").write_text("")

    with pytest.raises(WarehouseError, match=r"cannot use the audit's directory .*file/audit: Not a directory"):
        await Warehouse.open(f"chdb://{tmp_path}/file/audit")


async def test_only_its_owner_reads_the_directory(warehouse: Warehouse, dsn: str) -> None:
    """Nobody else on this machine."""
    directory = embedded_directory(dsn)

    assert directory is not None
    assert directory.stat().st_mode & 0o777 == 0o700
    assert await warehouse.rows("SELECT 1 AS one") == [{"one": 1}]


@pytest.mark.parametrize("dsn", ["chdb://", "chdb:///", "chdb://host/x", "postgres://x/y", "clickhouse://", "nonsense"])
async def test_an_address_that_is_none_is_refused(dsn: str) -> None:
    """The sentence shows what an address looks like."""
    with pytest.raises(WarehouseError, match=r"as in chdb:///|chdb:///directory, clickhouse://"):
        await Warehouse.open(dsn)


async def test_nobody_at_the_address_is_one_sentence_without_the_password() -> None:
    """Where it looked, and nothing that must stay secret."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

        with pytest.raises(WarehouseError) as error:
            await Warehouse.open(f"clickhouse://auditor:sesame@127.0.0.1:{port}/audit")

    assert str(error.value) == f"no ClickHouse answers at 127.0.0.1:{port}/audit"


class _Refusing(BaseHTTPRequestHandler):
    """Answers every request as ClickHouse answers a wrong password."""

    asked: list[tuple[str, str]]

    def _answer(self) -> None:
        self.asked.append((self.path, self.headers.get("Authorization", "")))
        body = b"Code: 516. DB::Exception: auditor: Authentication failed. (AUTHENTICATION_FAILED)"
        self.send_response(403)
        self.send_header("X-ClickHouse-Exception-Code", "516")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _answer  # noqa: N815 The base class asks for these names.

    def log_message(self, *_: object) -> None:
        """Silence is what a test wants."""


@pytest.fixture
def refusing() -> Iterator[tuple[int, list[tuple[str, str]]]]:
    asked: list[tuple[str, str]] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Refusing,), {"asked": asked})) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_port, asked
        server.shutdown()


@pytest.mark.parametrize("apart", [False, True])
async def test_user_password_and_database_reach_the_server(refusing: tuple[int, list[tuple[str, str]]], *, apart: bool) -> None:
    """From the address, or the password apart; a refusal is one sentence without it."""
    port, asked = refusing
    address = f"clickhouse://auditor{'' if apart else ':sesame'}@127.0.0.1:{port}/ledger"

    with pytest.raises(WarehouseError) as error:
        await Warehouse.open(address, "sesame" if apart else "")

    assert str(error.value) == f"ClickHouse at 127.0.0.1:{port}/ledger refuses the user or the password"
    assert asked[0][1] == "Basic " + base64.b64encode(b"auditor:sesame").decode()


async def test_https_means_https_on_any_port() -> None:
    """The driver would look at the port alone and send the password in the clear."""
    first: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first.append(await reader.read(1))
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
        with pytest.raises(WarehouseError):
            await Warehouse.open(f"https://auditor:sesame@127.0.0.1:{server.sockets[0].getsockname()[1]}/ledger")

    assert set(first) == {b"\x16"}, "a TLS handshake, nothing else"
