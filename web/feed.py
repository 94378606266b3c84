"""Follows topics and folds them into the portal's memory, for as long as the portal runs.

Started by `web.wiring` and by the demo's live view; a lost broker is noted and the topics are taken up again where they were left.
Never lets a bad record stop the fold: it is counted by topic and passed over."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import structlog

from federation import messages as m
from federation.errors import PeerFault
from streams import topology
from streams.codec import DecodeError, decode
from streams.parties import Parties
from streams.ports import Clock, Log, LogReader, LogUnavailable, Position, Record

Fold = Callable[[Record], Awaitable[None]]
"""What a record does to the memory; DecodeError or PeerFault passes it over."""

_RECORDS_MAX: Final = 2000
_WAIT_MS: Final = 200
_PROBE_MS: Final = 2_000
_RETRY_S: Final = 1.0
_KEEP_UP_S: Final = 1.0
_log = structlog.get_logger(__name__)


def positions_of(rows: Sequence[topology.Topic], institution: str | None = None) -> list[Position]:
    """The beginning of every partition of these topics."""
    return [Position(row.full_name(institution), partition, 0) for row in rows for partition in range(row.partitions)]


class Feed:
    """One connection's topics, read from the start (or the last `tail` records of each partition) and folded with `fold`."""

    def __init__(self, log: Log, start: Sequence[Position], fold: Fold, clock: Clock, *, tail: int | None = None) -> None:
        self._log = log
        self._next = {(position.topic, position.partition): position.offset for position in start}
        self._fold = fold
        self._clock = clock
        self._tail = tail
        self.refused: Counter[str] = Counter()
        self.disconnected_since_ms: int | None = clock.now_ms()
        self.caught_up = asyncio.Event()
        self.changes = 0

    async def run(self) -> None:
        """Fold until cancelled; connection errors are retried for ever, with the time of the loss on record."""
        while True:
            try:
                await self._skip()
                reader = await self._log.reader([Position(topic, partition, offset) for (topic, partition), offset in self._next.items()])
                try:
                    await self._follow(reader)
                finally:
                    await reader.close()
            except LogUnavailable as error:
                if self.disconnected_since_ms is None:
                    self.disconnected_since_ms = self._clock.now_ms()
                _log.warning("log unreachable", error=str(error), topics=sorted({topic for topic, _ in self._next}))
                await asyncio.sleep(_RETRY_S)

    async def _skip(self) -> None:
        """Once: leave out what is older than the tail."""
        if self._tail is None:
            return
        probe = await self._log.reader([Position(topic, partition, offset) for (topic, partition), offset in self._next.items()])
        try:
            ends = await probe.end_offsets()
        finally:
            await probe.close()
        self._next = {place: max(offset, ends[place] - self._tail) for place, offset in self._next.items()}
        self._tail = None

    async def _follow(self, reader: LogReader) -> None:
        probe_at_ms = 0
        while True:
            if self._clock.now_ms() >= probe_at_ms:
                ends = await reader.end_offsets()  # Raises when the broker is away; polling alone would be silent.
                self.disconnected_since_ms = None
                probe_at_ms = self._clock.now_ms() + _PROBE_MS
                if self._reached(ends):
                    self.caught_up.set()
            records = await reader.poll(_RECORDS_MAX, _WAIT_MS)
            for record in records:
                await self._take(record)
            if records and not self.caught_up.is_set():
                probe_at_ms = 0
            await asyncio.sleep(0)  # A full backlog must not starve the requests.

    def _reached(self, ends: Mapping[tuple[str, int], int]) -> bool:
        return all(self._next[place] >= end for place, end in ends.items())

    async def _take(self, record: Record) -> None:
        try:
            await self._fold(record)
        except (DecodeError, PeerFault) as error:
            self.refused[record.topic] += 1
            _log.warning("record passed over", topic=record.topic, partition=record.partition, offset=record.offset, error=str(error))
        self._next[record.topic, record.partition] = record.offset + 1
        self.changes += 1


async def keep_up(parties: Parties) -> None:
    """Read who is who until cancelled: a revocation has to count here too, though no record asks for it. A broker that is away is the feeds' to tell."""
    while True:
        with contextlib.suppress(LogUnavailable):
            await parties.catch_up()
        await asyncio.sleep(_KEEP_UP_S)


def federation_fold(parties: Parties, apply: Callable[[m.Message], None]) -> Fold:
    """Fold for the federation's signed topics: verified, entitled, then applied."""
    rows = {row.full_name(): row for row in topology.FEDERATION_TOPICS}

    async def fold(record: Record) -> None:
        if record.value is None:
            return
        opened = await parties.open(record, rows[record.topic])
        parties.require_role(opened.sender, _sayer_of(opened.message))
        apply(opened.message)

    return fold


def _sayer_of(message: m.Message) -> m.PartyRole:
    if isinstance(message, m.CheckpointSigned):
        return m.PartyRole.AUDIT
    # What an institution says names it; the rest are decisions, which are the aggregator's alone.
    ours = hasattr(message, "institution") or isinstance(message, m.CheckpointCosigned | m.CheckpointRefused)
    return m.PartyRole.INSTITUTION if ours else m.PartyRole.AGGREGATOR


def own_fold(institution: str, parties: Parties, apply: Callable[[m.Message], None], forget: Callable[[str, str], None]) -> Fold:
    """Fold for an institution's own topics; a tombstone calls `forget(topic name, key)`.

    What is signed must be by the institution itself: unsigned it is a DecodeError, by another member a PeerFault.
    """
    rows = {row.full_name(institution): row for row in topology.OWN_TOPICS}

    async def fold(record: Record) -> None:
        row = rows[record.topic]
        if record.value is None:
            forget(row.name, (record.key or b"").decode())
        elif row.signed:
            opened = await parties.open(record, row)
            if opened.sender != institution:
                raise PeerFault("not_entitled", f"only {institution} says this here", accused=opened.sender)
            apply(opened.message)
        else:
            apply(decode(record.value, row.carries, row.bytes_max))

    return fold
