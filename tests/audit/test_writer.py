"""Whatever happens, the warehouse holds every entry of the log exactly once, and every other record with its reason.

Run with the real engine and a log in memory.
Never waits for a clock where an event will do."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.queries import answer
from audit.warehouse import Row, Warehouse, WarehouseError
from audit.writer import Writer
from federation.ids import digest_of
from streams.memory import MemoryLog
from streams.ports import Log, LogReader, LogRefused, LogUnavailable, Outgoing, Position, Record
from streams.topology import AUDIT, PARTIES
from tests.audit.town import FEDERATION, NOW_MS, Town, entry, until


def _writer(town: Town, warehouse: Warehouse, *, log: Log | None = None, batch_records: int = 500, flush_ms: int = 1) -> Writer:
    return Writer(log or town.log, warehouse, town.registry(), federation=FEDERATION, batch_records=batch_records, flush_ms=flush_ms)


async def _run(writer: Writer, records: int) -> None:
    """Run until this many records were taken, then stop cleanly."""
    stop = asyncio.Event()
    task = asyncio.create_task(writer.run(stop))
    try:
        await until(lambda: writer.written + writer.refused.total() >= records or task.done())
    finally:
        stop.set()
        await task


async def _counts(warehouse: Warehouse) -> tuple[int, int]:
    (totals,) = await answer(warehouse, "totals")
    return int(totals["entries"]), int(totals["refused"])


async def _position(warehouse: Warehouse) -> list[Row]:
    return await warehouse.rows("SELECT max(next_offset) AS at FROM positions GROUP BY topic, log_partition")


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


async def test_every_entry_arrives_and_a_restart_goes_on_from_there(town: Town, warehouse: Warehouse) -> None:
    """Two writers one after the other: nothing twice, nothing missing, and the second reads only what is new."""
    await town.certify("north")
    await town.say(*(entry(number) for number in range(7)))
    await _run(_writer(town, warehouse, batch_records=3), 7)
    assert await _position(warehouse) == [{"at": 7}]

    await town.say(entry(7), entry(8))
    second = _writer(town, warehouse)
    await _run(second, 2)

    assert second.written == 2
    assert await _counts(warehouse) == (9, 0)
    assert await _position(warehouse) == [{"at": 9}]
    found = await answer(warehouse, "search", {"limit": 100})
    assert [row["payload_digest"] for row in found] == [entry(number).digest.hex() for number in reversed(range(9))]


@pytest.mark.parametrize("table", ["entries", "refused", "positions"])
@pytest.mark.parametrize("after", [False, True])
async def test_a_failed_write_is_made_again_and_nothing_is_twice(
    town: Town, dsn: str, monkeypatch: pytest.MonkeyPatch, table: str, *, after: bool
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
        running = asyncio.create_task(_writer(town, warehouse).run(stop))
        await until(lambda: warehouse.table == "")
        await town.say(entry(3))
        async with asyncio.timeout(10):
            while await _position(warehouse) != [{"at": 6}]:
                assert not running.done()
        stop.set()
        await running

        assert await _counts(warehouse) == (4, 2)
    finally:
        await warehouse.close()


_CRASHING = """
import asyncio, os, signal, sys
from audit.warehouse import Warehouse
from audit.writer import Writer
from tests.audit.town import FEDERATION, Town, entry

class Crashing(Warehouse):
    async def insert(self, table, columns, rows):
        if table == sys.argv[2]:
            os.kill(os.getpid(), signal.SIGKILL)
        await super().insert(table, columns, rows)

async def main():
    town = Town()
    await town.certify("north")
    await town.say(*(entry(number) for number in range(50)), b"junk")
    warehouse = await Crashing.open(sys.argv[1])
    await Writer(town.log, warehouse, town.registry(), federation=FEDERATION, flush_ms=1).run(asyncio.Event())

asyncio.run(main())
"""


async def test_a_kill_between_the_rows_and_the_position_loses_and_doubles_nothing(town: Town, dsn: str) -> None:
    """SIGKILL when the rows are in and the position is not: the next writer reads them again and they are there once."""
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", _CRASHING, dsn, "positions")
    assert await child.wait() == -signal.SIGKILL

    warehouse = await Warehouse.open(dsn)
    try:
        assert await _counts(warehouse) == (50, 1), "the rows survived the kill"
        assert await _position(warehouse) == []
        await town.certify("north")
        await town.say(*(entry(number) for number in range(50)), b"junk", entry(50))
        await _run(_writer(town, warehouse), 52)

        assert await _counts(warehouse) == (51, 1)
        await warehouse.command("OPTIMIZE TABLE entries FINAL")
        assert await warehouse.rows("SELECT count() AS rows FROM entries") == [{"rows": 51}], "one row each, on disk too"
    finally:
        await warehouse.close()


async def test_an_entry_that_was_sent_twice_is_one_row(town: Town, warehouse: Warehouse) -> None:
    """The log may hold the same bytes twice, after a producer's retry."""
    await town.certify("north")
    await town.say(entry(0), entry(0), entry(1), entry(0))
    await _run(_writer(town, warehouse, batch_records=1), 4)

    assert await _counts(warehouse) == (2, 0)


async def test_two_stories_about_one_exchange_both_stay(town: Town, warehouse: Warehouse) -> None:
    """Nobody can replace an entry, neither his own nor another's, by sending another with its identity."""
    await town.certify("north")
    await town.certify("south")
    await town.say(entry(0), entry(0, size_bytes=5), entry(0, actor="south"))
    await _run(_writer(town, warehouse), 3)

    assert await _counts(warehouse) == (3, 0)
    assert await answer(warehouse, "contradictions") == [
        {"actor": "north", "action": "MaskedUpdate", "entry": digest_of(b"exchange 0").hex(), "stories": 2}
    ]


async def test_bad_records_are_kept_with_their_reason_and_the_stream_goes_on(town: Town, warehouse: Warehouse) -> None:
    """Junk, a tombstone, a stranger, a forged signature, an impossible time: each counted, each kept whole."""
    await town.certify("north")
    forged = town.sealed(entry(2), keys_of="south")
    await town.say(entry(0), b"junk", None, town.sealed(entry(1, actor="stranger")), forged, entry(3, at_ms=-5), entry(4))
    writer = _writer(town, warehouse)
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


async def test_a_certificate_that_comes_late_counts_from_its_record_on(town: Town, warehouse: Warehouse) -> None:
    """A new party, and a party with new keys, are heard without a restart; junk among the certificates harms nobody."""
    await town.certify("north")
    await town.say(entry(0))
    writer = _writer(town, warehouse)
    stop = asyncio.Event()
    running = asyncio.create_task(writer.run(stop))
    await until(lambda: writer.written == 1)

    await town.log.append([Outgoing(PARTIES.full_name(), 0, b"x", b"junk")])
    await town.certify("south")
    await town.say(entry(1, actor="south"))
    await until(lambda: writer.written == 2)
    await town.certify("north", keys_of="north-renewed")
    await town.say(town.sealed(entry(2), keys_of="north-renewed"))
    await until(lambda: writer.written == 3)
    stop.set()
    await running

    assert writer.refused.total() == 0


async def test_a_broker_that_was_away_is_taken_up_again(town: Town, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log breaks between two records: a new reader begins at the saved position."""
    monkeypatch.setattr("audit.writer._PAUSE_FIRST_S", 0.01)
    await town.certify("north")
    await town.say(entry(0))
    log = _Flaky(town.log, polls=6)
    writer = _writer(town, warehouse, log=log)
    stop = asyncio.Event()
    running = asyncio.create_task(writer.run(stop))
    await until(lambda: log.readers == 4)
    await town.say(entry(1))
    await until(lambda: writer.written == 2)
    stop.set()
    await running

    assert await _counts(warehouse) == (2, 0)


async def test_a_log_that_lost_records_stops_the_writer(town: Town, warehouse: Warehouse) -> None:
    """The saved position lies beyond the log's end: going on would hide the loss."""
    await warehouse.insert("positions", ("topic", "log_partition", "next_offset"), [(AUDIT.full_name(), 0, 10)])

    with pytest.raises(LogRefused, match="ends at 0, before offset 10"):
        await _writer(town, warehouse).run(asyncio.Event())


async def test_retention_that_overtook_the_writer_is_no_error(town: Town, warehouse: Warehouse) -> None:
    """The log dropped what was never read: the writer begins at what is left."""
    await town.certify("north")
    await town.say(entry(0), entry(1), entry(2))
    assert isinstance(town.log, MemoryLog)
    town.log.truncate(AUDIT.full_name(), 0, 2)
    await _run(_writer(town, warehouse), 1)

    assert await _counts(warehouse) == (1, 0)
    assert await _position(warehouse) == [{"at": 3}]


async def test_a_stop_writes_what_was_read(town: Town, warehouse: Warehouse) -> None:
    """A batch that waits for company is written when the process is asked to stop, at once."""
    await town.certify("north")
    await town.say(entry(0))
    log = _Flaky(town.log, polls=1_000)
    writer = _writer(town, warehouse, log=log, flush_ms=3_600_000)
    stop = asyncio.Event()
    running = asyncio.create_task(writer.run(stop))
    await until(lambda: log.polls <= 997)
    assert writer.written == 0, "it waits for company"

    stop.set()
    await asyncio.wait_for(running, 5)

    assert await _counts(warehouse) == (1, 0)


async def test_a_full_batch_does_not_wait(town: Town, warehouse: Warehouse) -> None:
    """batch_records entries are written at once, whatever flush_ms says."""
    await town.certify("north")
    await town.say(*(entry(number) for number in range(4)))
    writer = _writer(town, warehouse, batch_records=2, flush_ms=3_600_000)
    await asyncio.wait_for(_run(writer, 4), 5)

    assert await _counts(warehouse) == (4, 0)


class _Away(Warehouse):
    """A warehouse that never answers."""

    async def rows(self, sql: str, parameters: Mapping[str, str | int] | None = None) -> list[Row]:  # noqa: ARG002 As the original.
        raise WarehouseError("no ClickHouse answers at nowhere:8123")


async def test_a_warehouse_that_stays_away_does_not_hold_up_a_stop(town: Town) -> None:
    """The writer waits for ClickHouse, but not against SIGTERM."""
    stop = asyncio.Event()
    running = asyncio.create_task(_writer(town, _Away("nowhere")).run(stop))
    await asyncio.sleep(0.1)
    assert not running.done()

    stop.set()
    await asyncio.wait_for(running, 0.4)


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
async def test_what_is_written_is_what_is_found(warehouse: Warehouse, changes: dict[str, Any]) -> None:
    """Any text, any number, any digest: the row says what the entry said, and the digest finds it."""
    await warehouse.command("TRUNCATE TABLE entries")
    await warehouse.command("TRUNCATE TABLE positions")
    town = Town()
    await town.certify("north")
    said = entry(**changes)
    await town.say(said)
    await _run(_writer(town, warehouse), 1)

    (found,) = await answer(warehouse, "search", {"payload_digest": said.digest.hex()})

    expected = {name: getattr(said, name) for name in type(said).__slots__ if name in found}
    assert expected.items() <= found.items()
    assert (found["sent_at_ms"], found["logged_at_ms"], found["entry"]) == (said.at_ms, NOW_MS, said.entry_id.hex())
