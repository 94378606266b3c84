"""The vectors of the global models, read from their topic when a round names one by its digest.

Used by `participation`, which rests its heads on them.
Never believes a vector: it is the model only if its digest is the one in the rounds' log."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import structlog

from federation.errors import PeerFault
from federation.heads.head import Vector
from federation.messages import HeadName, ModelChunk, PartyRole
from streams.codec import DecodeError
from streams.model_chunks import ModelJoiner
from streams.parties import Parties
from streams.ports import Log, LogReader, Position, Record
from streams.telemetry import FAULTS
from streams.topology import MODELS, lane_partition

KEPT: Final = 3  # Vectors of one head: the newest are wanted, an unfinished round's may be among them.
_LOG: Final = structlog.get_logger()
_BATCH: Final = 50
_PATIENCE_MS: Final = 2_000  # A model's pieces are acknowledged before the round that names it ends.


@dataclass(frozen=True, slots=True)
class Found:
    """A whole vector, and where to read on once it is adopted."""

    vector: Vector = field(repr=False)
    next_offset: int


@dataclass
class _Shelf:
    """One head's models. Each head has its own reader: looking for one head's model must not pile up the others'."""

    reader: LogReader
    joiner: ModelJoiner = field(default_factory=ModelJoiner)
    found: dict[bytes, Found] = field(default_factory=dict)
    unread: deque[Record] = field(default_factory=deque)
    missed: bytes = b""  # The digest last waited for in vain.


class GlobalModels:
    """The newest global vectors of some heads, by digest."""

    def __init__(self, log: Log, parties: Parties) -> None:
        self._log = log
        self._parties = parties
        self._shelves: dict[HeadName, _Shelf] = {}

    async def open(self, starts: Mapping[HeadName, int]) -> None:
        """Read on from these offsets, the ones after the models rested on."""
        await self.close()
        for head, offset in starts.items():
            self._shelves[head] = _Shelf(await self._log.reader([Position(MODELS.full_name(), lane_partition(head), offset)]))

    def get(self, head: HeadName, digest: bytes) -> Found | None:
        """The vector of this digest, if it has been read."""
        return self._shelves[head].found.get(digest)

    async def obtain(self, wanted: Iterable[tuple[HeadName, bytes]]) -> None:
        """Read until these are at hand, or their partitions have been silent without them for a while."""
        for head, digest in wanted:
            shelf = self._shelves[head]
            # Not a record further than needed: in a long backlog the vectors after it would push it off the shelf.
            while self.get(head, digest) is None and await self._refill(shelf, digest):
                await self._take(head, shelf, shelf.unread.popleft())

    async def _refill(self, shelf: _Shelf, digest: bytes) -> bool:
        """Whether there is anything to read. What was once waited for in vain is only glanced for: the rounds go on."""
        if not shelf.unread:
            shelf.unread.extend(await shelf.reader.poll(_BATCH, 0 if shelf.missed == digest else _PATIENCE_MS))
        if not shelf.unread:
            shelf.missed = digest
        return bool(shelf.unread)

    async def _take(self, head: HeadName, shelf: _Shelf, record: Record) -> None:
        try:
            opened = await self._parties.open(record, MODELS)
            self._parties.require_role(opened.sender, PartyRole.AGGREGATOR)
        except (DecodeError, PeerFault) as fault:
            FAULTS.labels("bad_model").inc()
            _LOG.warning("model refused", offset=record.offset, reason=str(fault))
            return
        piece = opened.message
        if not isinstance(piece, ModelChunk) or piece.head is not head:
            return
        try:
            vector = shelf.joiner.add(piece, sender=opened.sender)
        except PeerFault:
            return  # Whatever it was meant to be, no round's digest names it.
        if vector is not None:
            shelf.found[piece.model_digest] = Found(vector, record.offset + 1)
            while len(shelf.found) > KEPT:
                del shelf.found[next(iter(shelf.found))]

    async def close(self) -> None:
        """Stop reading."""
        shelves, self._shelves = self._shelves, {}
        await asyncio.gather(*(shelf.reader.close() for shelf in shelves.values()))
