"""Records of several topics in the order in which the log received them, so that a label is read after its event.

Called by `worker` for the institution's own topics.
Never orders by luck: a backlog gives the same order however often it is read, whatever the polls return first."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from streams.ports import Log, LogReader, Position, Record

AHEAD_MAX: Final = 2_000  # Records of one partition held in memory while another is waited for.
_GLANCE_MS: Final = 25  # How often idle partitions are looked at.
_PATIENCE_MS: Final = 1_000  # How long a partition may be silent though its end says there is more (retention took it).


@dataclass
class _Feed:
    """One partition: its own reader, so that a busy topic cannot fill the memory while a quiet one is waited for."""

    reader: LogReader
    place: tuple[str, int]
    offset: int  # Of the next record to come from the reader.
    end: int = 0  # After the last record, when last asked.
    ahead: deque[Record] = field(default_factory=deque)

    async def refill(self, wait_ms: int) -> None:
        """Read on if nothing is at hand."""
        if not self.ahead:
            self.ahead.extend(await self.reader.poll(AHEAD_MAX, wait_ms))
            if self.ahead:
                self.offset = self.ahead[-1].offset + 1
                self.end = max(self.end, self.offset)

    async def ask_end(self) -> None:
        """Learn where the partition ends."""
        self.end = max(self.end, (await self.reader.end_offsets())[self.place])


class Arrivals:
    """A merge of partitions by the broker's timestamp; equal ones in the order of `positions`."""

    def __init__(self, feeds: Sequence[_Feed]) -> None:
        self._feeds = feeds

    @classmethod
    async def open(cls, log: Log, positions: Sequence[Position]) -> Arrivals:
        """Start reading; LogUnavailable or LogRefused as the log says."""
        feeds: list[_Feed] = []
        try:
            for position in positions:
                reader = await log.reader([position])
                feeds.append(_Feed(reader, (position.topic, position.partition), position.offset))
            await asyncio.gather(*(feed.ask_end() for feed in feeds))
        except BaseException:
            await asyncio.gather(*(feed.reader.close() for feed in feeds))
            raise
        return cls(feeds)

    async def take(self, records_max: int, wait_ms: int) -> Sequence[Record]:
        """Up to `records_max` records in order of arrival; empty when nothing came within `wait_ms`."""
        for glance in range(max(1, wait_ms // _GLANCE_MS)):
            if glance:
                await asyncio.sleep(_GLANCE_MS / 1000)
            await self._refill([feed for feed in self._feeds if not feed.ahead])
            taken: list[Record] = []
            while len(taken) < records_max:
                first = min((feed for feed in self._feeds if feed.ahead), key=_arrived_ms, default=None)
                if first is None:
                    break
                taken.append(first.ahead.popleft())
                if not first.ahead:
                    await self._refill([first])
            if taken:
                return taken
        return ()

    async def _refill(self, feeds: Sequence[_Feed]) -> None:
        """Afterwards an empty partition is one that was read to its end."""
        for feed in feeds:
            await feed.refill(0)
            if not feed.ahead and feed.offset < feed.end:
                await feed.refill(_PATIENCE_MS)
                if not feed.ahead:
                    feed.offset = feed.end  # Retention took what was there; the reader goes on after it.

    async def refresh_ends(self) -> None:
        """Ask where the partitions end; LogUnavailable tells that the broker is away, which polls do not."""
        await asyncio.gather(*(feed.ask_end() for feed in self._feeds))

    def lag(self, topic: str, now_ms: int) -> tuple[int, int]:
        """(records not yet taken, milliseconds since the oldest of them that is at hand arrived; 0 when none)."""
        feeds = [feed for feed in self._feeds if feed.place[0] == topic]
        records = sum(max(0, feed.end - feed.offset) + len(feed.ahead) for feed in feeds)
        oldest = min((feed.ahead[0].timestamp_ms for feed in feeds if feed.ahead), default=now_ms)
        return records, max(0, now_ms - oldest)

    async def close(self) -> None:
        """Stop reading."""
        await asyncio.gather(*(feed.reader.close() for feed in self._feeds))


def _arrived_ms(feed: _Feed) -> int:
    return feed.ahead[0].timestamp_ms
