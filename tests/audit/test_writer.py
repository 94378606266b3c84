"""Whatever happens, the warehouse holds every entry of the log exactly once, and every other record with its reason.

Run with the real engine and a log in memory.
Never waits for a clock where an event will do."""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.index import Index
from audit.ledger import Ledger, verified_root
from audit.queries import answer
from audit.sources import Exchanges
from audit.warehouse import Row, Warehouse, WarehouseError
from audit.writer import Writer
from federation.ids import digest_of
from federation.messages import LoggedRecord
from streams.codec import encode
from streams.memory import MemoryLog
from streams.ports import Log, LogReader, LogRefused, LogUnavailable, Outgoing, Position, Record
from streams.topology import AUDIT, PARTIES
from tests.audit.town import NOW_MS, Town, entry, until


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger.open(tmp_path / "ledger")
    yield opened
    opened.close()


def _writer(
    town: Town, warehouse: Warehouse, ledger: Ledger, *, log: Log | None = None, batch_records: int = 500, flush_ms: int = 1
) -> Writer:
    return Writer(log or town.log, ledger, Index(warehouse), Exchanges(town.parties()), batch_records=batch_records, flush_ms=flush_ms)


async def _run(writer: Writer, records: int) -> None:
    """Run until this many records were taken, then stop cleanly."""
    stop = asyncio.Event()
    task = asyncio.create_task(writer.run(stop))
    try:
        await until(lambda: writer.written >= records or task.done())
    finally:
        stop.set()
        await task


def _refused_at(offset: int) -> bytes:
    """A ledger's entry for a record that was junk."""
    return encode(
        LoggedRecord(
            logged_at_ms=NOW_MS, topic=AUDIT.full_name(), offset=offset, reason="malformed", accused="", detail="junk", value=b"junk"
        )
    )


async def _counts(warehouse: Warehouse) -> tuple[int, int]:
    (totals,) = await answer(warehouse, "totals")
    return int(totals["entries"]), int(totals["refused"])


async def _indexed(warehouse: Warehouse) -> list[Row]:
    return await warehouse.rows("SELECT max(next_sequence) AS at FROM indexed")


class _Failing(Warehouse):
    """A warehouse whose next insert into one table fails, before or after the rows are there."""

    table: str = ""
    after: bool = False

    async def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        failing = table == self.table
        if failing and not self.after:
            self.table = ""
            raise WarehouseError("no answer")
        await super().insert(table, columns, rows)
        if failing:
            self.table = ""
            raise WarehouseError("no answer, but the rows are there")


class _Flaky:
    """A log that breaks on the n-th poll, once; counts polls down and readers up."""

    def __init__(self, log: Log, polls: int) -> None:
        self._log = log
        self.polls = polls
        self.readers = 0

    async def append(self, records: Sequence[Outgoing]) -> Sequence[int]:
        return await self._log.append(records)

    async def reader(self, start: Sequence[Position]) -> LogReader:
        self.readers += 1
        return _FlakyReader(self, await self._log.reader(start))

    async def close(self) -> None:
        await self._log.close()


class _FlakyReader:
    def __init__(self, log: _Flaky, reader: LogReader) -> None:
        self._log = log
        self._reader = reader

    async def poll(self, records_max: int, wait_ms: int) -> Sequence[Record]:
        self._log.polls -= 1
        if self._log.polls == 0:
            raise LogUnavailable("the broker went away")
        return await self._reader.poll(records_max, wait_ms)

    async def end_offsets(self) -> Mapping[tuple[str, int], int]:
        return await self._reader.end_offsets()

    async def close(self) -> None:
        await self._reader.close()


async def test_every_entry_arrives_and_a_restart_goes_on_from_there(town: Town, warehouse: Warehouse, ledger: Ledger) -> None:
    """Two writers one after the other: nothing twice, nothing missing, and the second reads only what is new."""
    await town.certify("north")
    await town.say(*(entry(number) for number in range(7)))
    await _run(_writer(town, warehouse, ledger, batch_records=3), 7)
    assert await _indexed(warehouse) == [{"at": 7}]

    await town.say(entry(7), entry(8))
    second = _writer(town, warehouse, ledger)
    await _run(second, 2)

    assert second.written == 2
    assert await _counts(warehouse) == (9, 0)
    assert await _indexed(warehouse) == [{"at": 9}]
    found = await answer(warehouse, "search", {"limit": 100})
    assert [row["payload_digest"] for row in found] == [entry(number).digest.hex() for number in reversed(range(9))]


@pytest.mark.parametrize("table", ["entries", "refused", "indexed"])
@pytest.mark.parametrize("after", [False, True])
async def test_a_failed_write_is_made_again_and_nothing_is_twice(
    town: Town, dsn: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, table: str, *, after: bool
) -> None:
    """ClickHouse fails before or after each of the three inserts of a batch: the writer reads again from the saved position."""
    monkeypatch.setattr("audit.writer._PAUSE_FIRST_S", 0.01)
    warehouse = await _Failing.open(dsn)
    assert isinstance(warehouse, _Failing)
    try:
        await town.certify("north")
        await town.say(entry(0), b"junk", entry(1), b"rubbish", entry(2))
        warehouse.table, warehouse.after = table, after
        stop = asyncio.Event()
        running = asyncio.create_task(_writer(town, warehouse, ledger).run(stop))
        await until(lambda: warehouse.table == "")
        await town.say(entry(3))
        async with asyncio.timeout(10):
            while await _indexed(warehouse) != [{"at": 6}]:
                assert not running.done()
        stop.set()
        await running

        assert await _counts(warehouse) == (4, 2)
    finally:
        await warehouse.close()


_CRASHING = """
import asyncio, os, signal, sys
from pathlib import Path
from audit import ledger as ledger_module
from audit.index import Index
from audit.ledger import Ledger
from audit.sources import Exchanges
from audit.warehouse import Warehouse
from audit.writer import Writer
from tests.audit.town import FEDERATION, Town, entry

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

class Crashing(Warehouse):
    async def insert(self, table, columns, rows):
        if table == sys.argv[3]:
            die()
        await super().insert(table, columns, rows)

async def main():
    town = Town()
    await town.certify("north")
    await town.say(*(entry(number) for number in range(50)), b"junk")
    warehouse = await Crashing.open(sys.argv[1])
    if sys.argv[3] == "nodes":
        ledger_module.Nodes.write = die
    if sys.argv[3] == "sync":
        ledger_module.os.fdatasync = die
    ledger = Ledger.open(Path(sys.argv[2]))
    await Writer(town.log, ledger, Index(warehouse), Exchanges(town.parties()), flush_ms=1).run(asyncio.Event())

asyncio.run(main())
"""


@pytest.mark.parametrize("point", ["sync", "nodes", "entries", "refused", "indexed"])
async def test_a_kill_at_any_point_of_a_write_loses_and_doubles_nothing(town: Town, dsn: str, tmp_path: Path, point: str) -> None:
    """SIGKILL before the sync, before the tree's nodes, before each insert: the next writer has every entry once, and the tree fits."""
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", _CRASHING, dsn, str(tmp_path / "ledger"), point)
    assert await child.wait() == -signal.SIGKILL

    warehouse, ledger = await Warehouse.open(dsn), Ledger.open(tmp_path / "ledger")
    try:
        await town.certify("north")
        await town.say(*(entry(number) for number in range(50)), b"junk", entry(50))
        await _run(_writer(town, warehouse, ledger), 52 - ledger.size)

        assert ledger.size == 52
        assert verified_root(tmp_path / "ledger") == (52, ledger.root())
        assert await _counts(warehouse) == (51, 1)
        await warehouse.command("OPTIMIZE TABLE entries FINAL")
        assert await warehouse.rows("SELECT count() AS rows FROM entries") == [{"rows": 51}], "one row each, on disk too"
    finally:
        ledger.close()
        await warehouse.close()


async def test_an_entry_that_was_sent_twice_is_one_row(town: Town, warehouse: Warehouse, ledger: Ledger) -> None:
    """The log may hold the same bytes twice, after a producer's retry."""
    await town.certify("north")
    await town.say(entry(0), entry(0), entry(1), entry(0))
    await _run(_writer(town, warehouse, ledger, batch_records=1), 4)

    assert await _counts(warehouse) == (2, 0)


async def test_two_stories_about_one_exchange_both_stay(town: Town, warehouse: Warehouse, ledger: Ledger) -> None:
    """Nobody can replace an entry, neither his own nor another's, by sending another with its identity."""
    await town.certify("north")
    await town.certify("south")
    await town.say(entry(0), entry(0, size_bytes=5), entry(0, actor="south"))
    await _run(_writer(town, warehouse, ledger), 3)

    assert await _counts(warehouse) == (3, 0)
    assert await answer(warehouse, "contradictions") == [
        {"actor": "north", "action": "MaskedUpdate", "entry": digest_of(b"exchange 0").hex(), "stories": 2}
    ]


async def test_bad_records_are_kept_with_their_reason_and_the_stream_goes_on(town: Town, warehouse: Warehouse, ledger: Ledger) -> None:
    """Junk, a tombstone, a stranger, a forged signature, an impossible time: each counted, each kept whole."""
    await town.certify("north")
    forged = town.sealed(entry(2), keys_of="south")
    await town.say(entry(0), b"junk", None, town.sealed(entry(1, actor="stranger")), forged, entry(3, at_ms=-5), entry(4))
    writer = _writer(town, warehouse, ledger)
    await _run(writer, 7)

    assert writer.refused == {"malformed": 2, "unknown_sender": 1, "bad_signature": 1, "invalid": 1}
    assert await _counts(warehouse) == (2, 5)
    kept = {row["log_offset"]: (row["reason"], row["accused"], row["size_bytes"]) for row in await answer(warehouse, "refused")}
    assert kept == {
        1: ("malformed", "", 4),
        2: ("malformed", "", 0),
        3: ("unknown_sender", "stranger", len(town.sealed(entry(1, actor="stranger")))),
        4: ("bad_signature", "north", len(forged)),
        5: ("invalid", "north", len(town.sealed(entry(3, at_ms=-5)))),
    }
    asked = {"topic": AUDIT.full_name(), "log_offset": 4}
    assert await answer(warehouse, "refused_value", asked) == [{"value": forged.hex()}]


async def test_a_certificate_that_comes_late_counts_from_its_record_on(town: Town, warehouse: Warehouse, ledger: Ledger) -> None:
    """A new party, and a party with new keys, are heard without a restart; junk among the certificates harms nobody."""
    await town.certify("north")
    await town.say(entry(0))
    writer = _writer(town, warehouse, ledger)
    stop = asyncio.Event()
    running = asyncio.create_task(writer.run(stop))
    await until(lambda: writer.written == 1)

    await town.log.append([Outgoing(PARTIES.full_name(), 0, b"x", b"junk")])
    await town.certify("south")
    await town.say(entry(1, actor="south"))
    await until(lambda: writer.written == 2)
    await town.certify("north", keys_of="north-renewed", serial=2)
    await town.say(town.sealed(entry(2), keys_of="north-renewed"))
    await until(lambda: writer.written == 3)
    stop.set()
    await running

    assert writer.refused.total() == 0


async def test_a_broker_that_was_away_is_taken_up_again(
    town: Town, warehouse: Warehouse, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log breaks between two records: a new reader begins at the saved position."""
    monkeypatch.setattr("audit.writer._PAUSE_FIRST_S", 0.01)
    await town.certify("north")
    await town.say(entry(0))
    log = _Flaky(town.log, polls=6)
    writer = _writer(town, warehouse, ledger, log=log)
    stop = asyncio.Event()
    running = asyncio.create_task(writer.run(stop))
    await until(lambda: log.readers == 2)
    await town.say(entry(1))
    await until(lambda: writer.written == 2)
    stop.set()
    await running

    assert await _counts(warehouse) == (2, 0)


async def test_a_log_that_lost_records_stops_the_writer(town: Town, warehouse: Warehouse, ledger: Ledger) -> None:
    """The saved position lies beyond the log's end: going on would hide the loss."""
    ledger.append([_refused_at(9)])

    with pytest.raises(LogRefused, match="ends at 0, before offset 10"):
        await _writer(town, warehouse, ledger).run(asyncio.Event())


async def test_retention_that_overtook_the_writer_is_no_error(town: Town, warehouse: Warehouse, ledger: Ledger) -> None:
    """The log dropped what was never read: the writer begins at what is left."""
    await town.certify("north")
    await town.say(entry(0), entry(1), entry(2))
    assert isinstance(town.log, MemoryLog)
    town.log.truncate(AUDIT.full_name(), 0, 2)
    await _run(_writer(town, warehouse, ledger), 1)

    assert await _counts(warehouse) == (1, 0)
    assert await _indexed(warehouse) == [{"at": 1}]


async def test_a_stop_writes_what_was_read(town: Town, warehouse: Warehouse, ledger: Ledger) -> None:
    """A batch that waits for company is written when the process is asked to stop, at once."""
    await town.certify("north")
    await town.say(entry(0))
    log = _Flaky(town.log, polls=1_000)
    writer = _writer(town, warehouse, ledger, log=log, flush_ms=3_600_000)
    stop = asyncio.Event()
    running = asyncio.create_task(writer.run(stop))
    await until(lambda: log.polls <= 997)
    assert writer.written == 0, "it waits for company"

    stop.set()
    await asyncio.wait_for(running, 5)

    assert await _counts(warehouse) == (1, 0)


async def test_a_full_batch_does_not_wait(town: Town, warehouse: Warehouse, ledger: Ledger) -> None:
    """batch_records entries are written at once, whatever flush_ms says."""
    await town.certify("north")
    await town.say(*(entry(number) for number in range(4)))
    writer = _writer(town, warehouse, ledger, batch_records=2, flush_ms=3_600_000)
    await asyncio.wait_for(_run(writer, 4), 5)

    assert await _counts(warehouse) == (4, 0)


class _Away(Warehouse):
    """A warehouse that never answers."""

    async def rows(self, sql: str, parameters: Mapping[str, str | int] | None = None) -> list[Row]:  # noqa: ARG002 As the original.
        raise WarehouseError("no ClickHouse answers at nowhere:8123")


async def test_while_the_warehouse_is_away_the_ledger_goes_on_and_a_stop_does_not_wait(town: Town, ledger: Ledger, dsn: str) -> None:
    """ClickHouse is an index: nothing waits for it, and when it is back it gets everything."""
    await town.certify("north")
    await town.say(entry(0), b"junk")
    stop = asyncio.Event()
    writer = _writer(town, _Away("nowhere"), ledger)
    running = asyncio.create_task(writer.run(stop))
    await until(lambda: ledger.size == 2)
    await town.say(entry(1))
    await until(lambda: ledger.size == 3)

    stop.set()
    await asyncio.wait_for(running, 5)

    warehouse = await Warehouse.open(dsn)
    try:
        await _run(_writer(town, warehouse, ledger), 0)
        assert await _counts(warehouse) == (2, 1)
        assert await _indexed(warehouse) == [{"at": 3}]
    finally:
        await warehouse.close()


async def test_an_index_of_another_ledger_is_made_again(town: Town, warehouse: Warehouse, ledger: Ledger, tmp_path: Path) -> None:
    """Rows of a ledger that is not this one must not stand beside its rows."""
    other = Ledger.open(tmp_path / "other")
    other.append([_refused_at(number) for number in range(5)])
    assert await Index(warehouse).catch_up(other) == 5
    other.close()
    await town.certify("north")
    await town.say(*(entry(number) for number in range(6)))

    await _run(_writer(town, warehouse, ledger), 6)

    assert await _counts(warehouse) == (6, 0)


_TEXT = st.text(max_size=20)
_COUNT = st.integers(0, 2**62)


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.fixed_dictionaries(
        {
            "at_ms": st.integers(0, 4_102_444_799_999), "action": _TEXT, "topic": _TEXT, "head": _TEXT, "epoch": _COUNT, "round": _COUNT,
            "entry_id": st.binary(min_size=32, max_size=32), "digest": st.binary(min_size=32, max_size=32), "size_bytes": _COUNT,
            "schema_fingerprint": _TEXT, "software_version": _TEXT, "outcome": _TEXT, "accused": _TEXT,
        }
    )
)  # fmt: skip
async def test_what_is_written_is_what_is_found(warehouse: Warehouse, tmp_path: Path, changes: dict[str, Any]) -> None:
    """Any text, any number, any digest: the row says what the entry said, and the digest finds it."""
    await Index(warehouse).clear()
    town, ledger = Town(), Ledger.open(Path(tempfile.mkdtemp(dir=tmp_path)))
    await town.certify("north")
    said = entry(**changes)
    await town.say(said)
    await _run(_writer(town, warehouse, ledger), 1)
    ledger.close()

    (found,) = await answer(warehouse, "search", {"payload_digest": said.digest.hex()})

    expected = {name: getattr(said, name) for name in type(said).__slots__ if name in found}
    assert expected.items() <= found.items()
    assert (found["sent_at_ms"], found["logged_at_ms"], found["entry"]) == (said.at_ms, NOW_MS, said.entry_id.hex())
