"""The vectors of the global models and of groups' sums, read from their topic when the rounds' log names one by its digest.

Used by `participation`, which rests its heads on them.
Never believes a vector: it is the model only if its digest is the one in the rounds' log, and a merged one only if the sums make it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import structlog

from federation.errors import PeerFault
from federation.heads.head import Vector
from federation.messages import GroupsMerged, HeadName, ModelChunk, PartyRole, SumChunk
from federation.rounds import merging
from federation.rounds.effects import RingVector
from federation.rounds.head_transcript import HeadTranscript
from streams.codec import DecodeError
from streams.model_chunks import ModelJoiner, SumJoiner
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
    """A whole vector, and the offset of its first piece: a merged model is checked against the one before it."""

    vector: Vector = field(repr=False)
    offset: int


@dataclass
class _Shelf:
    """One head's models. Each head has its own reader: looking for one head's model must not pile up the others'."""

    reader: LogReader
    models: ModelJoiner = field(default_factory=ModelJoiner)
    sums: SumJoiner = field(default_factory=SumJoiner)
    begun: dict[bytes, int] = field(default_factory=dict)  # Digest of a model -> offset of its first piece.
    found: dict[bytes, Found] = field(default_factory=dict)
    totals: dict[bytes, RingVector] = field(default_factory=dict)  # Opened sums, only those looked for.
    unread: deque[Record] = field(default_factory=deque)
    missed: set[bytes] = field(default_factory=set)  # Digests waited for in vain.

    def has(self, digest: bytes) -> bool:
        """Whether a model or a sum of this digest has been read."""
        return digest in self.found or digest in self.totals


def made_of(message: GroupsMerged) -> list[bytes]:
    """What a merged model is checked with, in the order in which it was said, and the model. Version 0 is nowhere said: it is zero."""
    base = [message.base_digest] if message.version > 1 else []
    return [*base, *(said.sum_digest for said in message.sums), message.model_digest]


class GlobalModels:
    """The newest global vectors of some heads, by digest."""

    def __init__(self, log: Log, parties: Parties) -> None:
        self._log = log
        self._parties = parties
        self._shelves: dict[HeadName, _Shelf] = {}

    async def open(self, starts: Mapping[HeadName, int]) -> None:
        """Read on from these offsets, those of the models rested on."""
        await self.close()
        for head, offset in starts.items():
            self._shelves[head] = _Shelf(await self._log.reader([Position(MODELS.full_name(), lane_partition(head), offset)]))

    def get(self, head: HeadName, digest: bytes) -> Found | None:
        """The vector of this digest, if it has been read."""
        return self._shelves[head].found.get(digest)

    def newest(self, known: HeadTranscript) -> Found | None:
        """The model that the log names last, if it is at hand, and if it was merged, what it can be checked with."""
        found = self.get(known.head, known.model_digest)
        if found is None or known.merged is None:
            return found
        message, totals = known.merged.message, self._shelves[known.head].totals
        summed = all(said.sum_digest in totals for said in message.sums)
        return found if summed and self._base(message, found) is not None else None

    def problem(self, known: HeadTranscript, found: Found) -> str | None:
        """Why what `newest` gave is not what the groups' sums make, or None if it is, or if no groups were merged."""
        base = self._base(known.merged.message, found) if known.merged is not None else None
        if known.merged is None or base is None:
            return None
        return merging.problem(known.merged, base, self._shelves[known.head].totals, found.vector)

    def _base(self, message: GroupsMerged, found: Found) -> Vector | None:
        """The model that a merged one was made from."""
        if message.version == 1:
            return np.zeros(len(found.vector))
        base = self.get(message.head, message.base_digest)
        return None if base is None else base.vector

    async def obtain(self, wanted: Mapping[HeadName, Sequence[bytes]]) -> None:
        """Read until these are at hand, in the order in which they were said, or their partitions have been silent without them for a while."""
        for head, digests in wanted.items():
            shelf = self._shelves[head]
            shelf.totals = {digest: total for digest, total in shelf.totals.items() if digest in digests}
            for digest in digests:
                # Not a record further than needed: in a long backlog the vectors after it would push it off the shelf.
                while not shelf.has(digest) and await self._refill(shelf, digest):
                    await self._take(head, shelf, shelf.unread.popleft(), digests)

    async def _refill(self, shelf: _Shelf, digest: bytes) -> bool:
        """Whether there is anything to read. What was once waited for in vain is only glanced for: the rounds go on."""
        if not shelf.unread:
            shelf.unread.extend(await shelf.reader.poll(_BATCH, 0 if digest in shelf.missed else _PATIENCE_MS))
        if not shelf.unread:
            shelf.missed.add(digest)
        return bool(shelf.unread)

    async def _take(self, head: HeadName, shelf: _Shelf, record: Record, wanted: Sequence[bytes]) -> None:
        try:
            opened = await self._parties.open(record, MODELS)
            self._parties.require_role(opened.sender, PartyRole.AGGREGATOR)
        except (DecodeError, PeerFault) as fault:
            FAULTS.labels("bad_model").inc()
            _LOG.warning("model refused", offset=record.offset, reason=str(fault))
            return
        piece = opened.message
        if not isinstance(piece, ModelChunk | SumChunk) or piece.head is not head:
            return
        try:
            if isinstance(piece, SumChunk):
                total = shelf.sums.add(piece, sender=opened.sender) if piece.sum_digest in wanted else None
                if total is not None:
                    shelf.totals[piece.sum_digest] = total
                return
            offset = shelf.begun.setdefault(piece.model_digest, record.offset)
            vector = shelf.models.add(piece, sender=opened.sender)
        except PeerFault:
            return  # Whatever it was meant to be, no round's digest names it.
        if vector is not None:
            shelf.found[piece.model_digest] = Found(vector, offset)
        for kept in (shelf.found, shelf.begun):
            while len(kept) > KEPT:
                del kept[next(iter(kept))]

    async def close(self) -> None:
        """Stop reading."""
        shelves, self._shelves = self._shelves, {}
        await asyncio.gather(*(shelf.reader.close() for shelf in shelves.values()))
