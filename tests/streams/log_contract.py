"""What every log must do, whatever it is made of.

Run by test_memory.py and test_kafka.py, each with a fixture `world`.
Never asks how the log does it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import pytest

from federation.limits import RECORD_BYTES_MAX
from streams.ports import Log, LogReader, LogRefused, Outgoing, Position, Record
from streams.topology import BATCH_BYTES_MAX

PATIENCE_MS = 10_000


@dataclass
class World:
    """A log, a topic of two partitions that nobody else uses, and the passing of retention."""

    log: Log
    topic: str
    truncate: Callable[[str, int, int], Awaitable[None]]

    def outgoing(self, *values: bytes | None, partition: int = 0, key: bytes | None = b"k") -> list[Outgoing]:
        return [Outgoing(self.topic, partition, key, value) for value in values]

    async def reader(self, *offsets: int) -> LogReader:
        """Of partition 0, 1, ... from these offsets."""
        return await self.log.reader([Position(self.topic, number, offset) for number, offset in enumerate(offsets)])


async def read(reader: LogReader, count: int, records_max: int = 1000) -> list[Record]:
    """Exactly `count` records, or fail."""
    found: list[Record] = []
    give_up = time.monotonic() + PATIENCE_MS / 1000
    while len(found) < count and time.monotonic() < give_up:
        found += await reader.poll(records_max, 200)
    assert len(found) == count
    return found


def values(records: Sequence[Record]) -> list[bytes | None]:
    return [record.value for record in records]


class LogContract:
    async def test_records_come_back_as_they_were_appended(self, world: World):
        """Key, value, partition and order survive; offsets are those that append gave."""
        offsets = await world.log.append(world.outgoing(b"a", b"b", None, b""))
        reader = await world.reader(0)

        records = await read(reader, 4)

        assert [record.offset for record in records] == list(offsets) == [0, 1, 2, 3]
        assert values(records) == [b"a", b"b", None, b""]
        assert {(record.topic, record.partition, record.key) for record in records} == {(world.topic, 0, b"k")}
        await reader.close()

    async def test_a_reader_starts_where_it_is_told(self, world: World):
        """From an offset in the middle, and from the end."""
        await world.log.append(world.outgoing(b"a", b"b", b"c"))
        middle, end = await world.reader(1), await world.reader(3)

        await world.log.append(world.outgoing(b"d"))

        assert values(await read(middle, 3)) == [b"b", b"c", b"d"]
        assert values(await read(end, 1)) == [b"d"]
        await middle.close()
        await end.close()

    async def test_an_offset_before_the_start_begins_at_the_start(self, world: World):
        """What retention took is skipped, and nothing else."""
        await world.log.append(world.outgoing(b"a", b"b", b"c", b"d"))
        await world.truncate(world.topic, 0, 2)
        reader = await world.reader(0)

        records = await read(reader, 2)

        assert [(record.offset, record.value) for record in records] == [(2, b"c"), (3, b"d")]
        await reader.close()

    async def test_an_offset_beyond_the_end_is_refused(self, world: World):
        """A log that ends before one's own offset lost records: going on would hide it."""
        await world.log.append(world.outgoing(b"a"))

        with pytest.raises(LogRefused, match=f"{world.topic}/0 ends at 1, before offset 2"):
            await world.reader(2)

    async def test_partitions_keep_their_order_apart(self, world: World):
        """One reader follows both partitions, each in its own order."""
        await world.log.append([*world.outgoing(b"a0", b"b0"), *world.outgoing(b"a1", b"b1", partition=1)])
        reader = await world.reader(0, 0)

        records = await read(reader, 4)

        assert values([record for record in records if record.partition == 0]) == [b"a0", b"b0"]
        assert values([record for record in records if record.partition == 1]) == [b"a1", b"b1"]
        await reader.close()

    async def test_readers_do_not_disturb_each_other(self, world: World):
        """Each reads everything."""
        await world.log.append(world.outgoing(b"a", b"b"))
        first, second = await world.reader(0), await world.reader(0)

        assert values(await read(first, 2)) == values(await read(second, 2)) == [b"a", b"b"]
        await first.close()
        await second.close()

    async def test_a_poll_gives_no_more_than_asked_and_loses_nothing(self, world: World):
        """Ten records in pieces of three."""
        await world.log.append(world.outgoing(*(bytes([number]) for number in range(10))))
        reader = await world.reader(0)

        sizes, found = [], []
        while len(found) < 10:
            batch = await reader.poll(3, PATIENCE_MS)
            sizes.append(len(batch))
            found += values(batch)

        assert max(sizes) <= 3
        assert found == [bytes([number]) for number in range(10)]
        await reader.close()

    async def test_a_poll_ends_when_a_record_comes(self, world: World):
        """It does not sit out its time."""
        reader = await world.reader(0)
        waiting = asyncio.create_task(reader.poll(10, PATIENCE_MS))
        await asyncio.sleep(0.05)
        started = time.monotonic()

        await world.log.append(world.outgoing(b"a"))

        assert values(await waiting) == [b"a"]
        assert time.monotonic() - started < PATIENCE_MS / 2000
        await reader.close()

    async def test_a_poll_of_nothing_ends_in_time(self, world: World):
        """Empty after wait_ms."""
        reader = await world.reader(0)
        started = time.monotonic()

        assert list(await reader.poll(10, 150)) == []
        assert 0.1 < time.monotonic() - started < 5
        await reader.close()

    async def test_end_offsets(self, world: World):
        """The offset after the last record, of each assigned partition."""
        await world.log.append([*world.outgoing(b"a", b"b"), *world.outgoing(b"c", partition=1)])
        reader = await world.reader(0, 0)

        assert dict(await reader.end_offsets()) == {(world.topic, 0): 2, (world.topic, 1): 1}
        await reader.close()

    async def test_what_does_not_exist_is_refused(self, world: World):
        """An unknown partition, to write or to read; and then nothing of the append is there."""
        with pytest.raises(LogRefused, match=f"no partition {world.topic}/7"):
            await world.log.append([*world.outgoing(b"a"), *world.outgoing(b"b", partition=7)])
        with pytest.raises(LogRefused, match="no partition no_such_topic/0"):
            await world.log.append([Outgoing("no_such_topic", 0, None, b"a")])
        with pytest.raises(LogRefused, match="no partition no_such_topic/0"):
            await world.log.reader([Position("no_such_topic", 0, 0)])

        reader = await world.reader(0)
        assert dict(await reader.end_offsets()) == {(world.topic, 0): 0}
        await reader.close()

    async def test_the_largest_record_fits_and_a_larger_one_is_refused(self, world: World):
        """RECORD_BYTES_MAX goes through; beyond the batch limit nothing of the append is there."""
        with pytest.raises(LogRefused, match="bytes"):
            await world.log.append(world.outgoing(b"a", bytes(BATCH_BYTES_MAX + 1)))
        await world.log.append(world.outgoing(bytes(RECORD_BYTES_MAX)))
        reader = await world.reader(0)

        assert [len(record.value or b"") for record in await read(reader, 1)] == [RECORD_BYTES_MAX]
        await reader.close()

    async def test_appends_at_once_do_not_mix_up_their_offsets(self, world: World):
        """Each append is told where its own records lie."""
        answers = await asyncio.gather(*(world.log.append(world.outgoing(bytes([n]), bytes([n, n]))) for n in range(8)))
        reader = await world.reader(0)

        found = {record.offset: record.value for record in await read(reader, 16)}

        assert [[found[offset] for offset in offsets] for offsets in answers] == [[bytes([n]), bytes([n, n])] for n in range(8)]
        await reader.close()
