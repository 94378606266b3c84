"""Reading a partition again: a range of it, or backwards from its end in windows.

Called by `head_shell` (rebuild, newest model) and `chunk_owner` (pieces that are to be added or subtracted).
Never moves anybody's offsets, and never holds more than one window."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Final

from streams.ports import Log, Position, Record

BATCH: Final = 500
WINDOW: Final = 64
WINDOW_MAX: Final = 1024
WAIT_MS: Final = 2_000


async def ends_of(log: Log, partitions: Collection[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
    """The offsets after the last records of (topic, partition)s."""
    if not partitions:
        return {}
    reader = await log.reader([Position(topic, number, 0) for topic, number in partitions])
    try:
        return await reader.end_offsets()
    finally:
        await reader.close()


async def end_of(log: Log, topic: str, partition: int) -> int:
    """The offset after the last record."""
    return (await ends_of(log, [(topic, partition)]))[topic, partition]


async def read_range(
    log: Log, topic: str, partition: int, start: int, end: int, *, wait_ms: int = WAIT_MS
) -> AsyncIterator[Sequence[Record]]:
    """Batches of the records with start <= offset < end, in order; what retention took is skipped.

    `wait_ms`: how long a healthy broker may take for a record that it has.
    """
    if start >= end:
        return
    reader = await log.reader([Position(topic, partition, start)])
    position, silent = start, 0
    try:
        while position < end:
            records = await reader.poll(BATCH, wait_ms)
            if records:
                position, silent = records[-1].offset + 1, 0
                yield [record for record in records if record.offset < end]
                continue
            silent += 1
            await reader.end_offsets()  # Raises if the broker is away; if it answers, twice silent means that retention took the range.
            if silent == 2:
                return
    finally:
        await reader.close()


async def windows_backwards(log: Log, topic: str, partition: int, end: int, *, wait_ms: int = WAIT_MS) -> AsyncIterator[Sequence[Record]]:
    """All records with offset < end: the newest window first, each window in order, until nothing older is left."""
    size = WINDOW
    while end > 0:
        start = max(0, end - size)
        window = [
            record
            for batch in [batch async for batch in read_range(log, topic, partition, start, end, wait_ms=wait_ms)]
            for record in batch
        ]
        if not window:
            return
        yield window
        end = min(start, window[0].offset)
        size = min(2 * size, WINDOW_MAX)
