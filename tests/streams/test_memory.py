"""The log in memory keeps the contract, and does not starve a quiet partition."""

from __future__ import annotations

import pytest

from streams.memory import MemoryLog
from tests.streams.log_contract import LogContract, World, values


@pytest.fixture
def world() -> World:
    log = MemoryLog({"topic": 2}, now_ms=lambda: 41)

    async def truncate(topic: str, partition: int, before_offset: int) -> None:
        log.truncate(topic, partition, before_offset)

    return World(log, "topic", truncate)


class TestMemoryLog(LogContract):
    async def test_a_busy_partition_does_not_starve_another(self, world: World):
        """Having been served, it goes to the back."""
        await world.log.append([*world.outgoing(*[b"0"] * 10), *world.outgoing(b"1", partition=1)])
        reader = await world.reader(0, 0)

        polled = [values(await reader.poll(2, 0)) for _ in range(2)]

        assert polled == [[b"0", b"0"], [b"1", b"0"]]

    async def test_a_running_reader_skips_what_was_truncated(self, world: World):
        """Retention overtook it."""
        await world.log.append(world.outgoing(b"a", b"b", b"c"))
        reader = await world.reader(0)
        await world.truncate(world.topic, 0, 2)

        assert values(await reader.poll(10, 0)) == [b"c"]

    async def test_the_time_is_the_clock_given(self, world: World):
        """Records carry it."""
        await world.log.append(world.outgoing(b"a"))
        reader = await world.reader(0)

        assert [record.timestamp_ms for record in await reader.poll(10, 0)] == [41]
