"""A log in memory that behaves as the broker does: for tests, simulations and trying things out.

Called by tests and by anything that takes a `streams.ports.Log`; passes the same contract suite as `streams.kafka`.
Never outlives its process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from streams.ports import Log, LogReader, LogRefused, Outgoing, Position, Record
from streams.topology import BATCH_BYTES_MAX

Partition = tuple[str, int]


@dataclass
class _Stored:
    """One partition: its records, the first of them at offset `start`."""

    start: int = 0
    records: list[Record] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.start + len(self.records)


class MemoryLog(Log):
    """Partitions as lists. `topics`: full name -> number of partitions (streams.topology.partitions_of)."""

    def __init__(self, topics: Mapping[str, int], *, now_ms: Callable[[], int] = lambda: 0, bytes_max: int = BATCH_BYTES_MAX) -> None:
        self._stored = {(topic, number): _Stored() for topic, count in topics.items() for number in range(count)}
        self._now_ms = now_ms
        self._bytes_max = bytes_max
        self._grown = asyncio.Condition()

    async def append(self, records: Sequence[Outgoing]) -> Sequence[int]:
        """As the port; all of the records or none."""
        for record in records:
            self._existing(record.topic, record.partition)
            size = len(record.key or b"") + len(record.value or b"")
            if size > self._bytes_max:
                raise LogRefused(f"a record of {size} bytes for {record.topic}; {self._bytes_max} are allowed")
        offsets = []
        async with self._grown:
            for record in records:
                stored = self._existing(record.topic, record.partition)
                offsets.append(stored.end)
                stored.records.append(Record(record.topic, record.partition, stored.end, record.key, record.value, self._now_ms()))
            self._grown.notify_all()
        return offsets

    async def reader(self, start: Sequence[Position]) -> LogReader:
        """As the port."""
        for position in start:
            end = self._existing(position.topic, position.partition).end
            if position.offset > end:
                raise LogRefused(
                    f"{position.topic}/{position.partition} ends at {end}, before offset {position.offset}: it lost records, or is another log"
                )
        return _MemoryReader(self._stored, self._grown, {(position.topic, position.partition): position.offset for position in start})

    async def close(self) -> None:
        """Nothing to free; the records stay, as a broker's do."""

    def truncate(self, topic: str, partition: int, before_offset: int) -> None:
        """Forget the records before this offset, as retention does."""
        stored = self._existing(topic, partition)
        kept = max(0, min(before_offset, stored.end) - stored.start)
        del stored.records[:kept]
        stored.start += kept

    def records(self, topic: str, partition: int = 0) -> Sequence[Record]:
        """What lies in one partition now."""
        return tuple(self._existing(topic, partition).records)

    def _existing(self, topic: str, partition: int) -> _Stored:
        if (topic, partition) not in self._stored:
            raise LogRefused(f"there is no partition {topic}/{partition}")
        return self._stored[topic, partition]


class _MemoryReader(LogReader):
    """Positions in a MemoryLog."""

    def __init__(self, stored: Mapping[Partition, _Stored], grown: asyncio.Condition, positions: dict[Partition, int]) -> None:
        self._stored = stored
        self._grown = grown
        self._positions = positions

    async def poll(self, records_max: int, wait_ms: int) -> Sequence[Record]:
        """As the port."""
        found = self._take(records_max)
        if found or wait_ms == 0:
            return found
        try:
            async with asyncio.timeout(wait_ms / 1000), self._grown:
                await self._grown.wait_for(self._more)
        except TimeoutError:
            return ()
        return self._take(records_max)

    def _more(self) -> bool:
        return any(offset < self._stored[partition].end for partition, offset in self._positions.items())

    def _take(self, records_max: int) -> list[Record]:
        found: list[Record] = []
        for partition, offset in list(self._positions.items()):
            stored = self._stored[partition]
            first = max(offset, stored.start) - stored.start
            taken = stored.records[first : first + records_max - len(found)]
            found += taken
            if taken:
                # Served partitions go to the back, so that a busy one does not starve the others.
                del self._positions[partition]
                self._positions[partition] = taken[-1].offset + 1
        return found

    async def end_offsets(self) -> Mapping[Partition, int]:
        """As the port."""
        return {partition: self._stored[partition].end for partition in self._positions}

    async def close(self) -> None:
        """Nothing to free."""
