"""The vectors of the global models, read from their topic when a round names one by its digest.

Used by `participation`, which rests its heads on them.
Never believes a vector: it is the model only if its digest is the one in the rounds' log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from federation.errors import PeerFault
from federation.heads.head import Vector
from federation.messages import HeadName, ModelChunk
from institution_workers.parties import Parties
from streams.model_chunks import ModelJoiner
from streams.ports import Log, LogReader, Position, Record
from streams.signed import Opened
from streams.topology import MODELS, lane_partition

KEPT: Final = 3  # Vectors of one head: the newest are wanted, an unfinished round's may be among them.
_BATCH: Final = 50
_PATIENCE_MS: Final = 2_000  # A model's pieces are acknowledged before the round that names it ends.


@dataclass(frozen=True, slots=True)
class Found:
    """A whole vector, and where to read on once it is adopted."""

    vector: Vector = field(repr=False)
    next_offset: int


class GlobalModels:
    """The newest global vectors of some heads, by digest."""

    def __init__(self, log: Log, parties: Parties) -> None:
        self._log = log
        self._parties = parties
        self._reader: LogReader | None = None
        self._joiners: dict[HeadName, ModelJoiner] = {}
        self._found: dict[HeadName, dict[bytes, Found]] = {}
        self._given_up: dict[HeadName, bytes] = {}

    async def open(self, starts: Mapping[HeadName, int]) -> None:
        """Read on from these offsets, the ones after the models rested on."""
        await self.close()
        self._joiners = {head: ModelJoiner() for head in starts}
        self._found = {head: {} for head in starts}
        self._given_up = {}
        positions = [Position(MODELS.full_name(), lane_partition(head), offset) for head, offset in starts.items()]
        self._reader = await self._log.reader(positions)

    def get(self, head: HeadName, digest: bytes) -> Found | None:
        """The vector of this digest, if it has been read."""
        return self._found[head].get(digest)

    async def obtain(self, wanted: Iterable[tuple[HeadName, bytes]]) -> None:
        """Read until these, at most one per head, are at hand, or the topic has been silent without them for a while."""
        missing = {head: digest for head, digest in wanted if self.get(head, digest) is None}
        while missing and self._reader is not None:
            # Once waited for in vain, a vector is only glanced for: the rounds' log does not stand still for it.
            patient = any(self._given_up.get(head) != digest for head, digest in missing.items())
            records = await self._reader.poll(_BATCH, _PATIENCE_MS if patient else 0)
            for record in records:
                await self._take(record)
            missing = {head: digest for head, digest in missing.items() if self.get(head, digest) is None}
            if not records:
                self._given_up.update(missing)
                return

    async def _take(self, record: Record) -> None:
        opened = await self._parties.open(record, MODELS)
        aggregator = self._parties.aggregator()
        if not isinstance(opened, Opened) or not isinstance(opened.message, ModelChunk) or aggregator is None:
            return
        piece = opened.message
        if opened.sender != aggregator.party or piece.head not in self._joiners or lane_partition(piece.head) != record.partition:
            return
        try:
            vector = self._joiners[piece.head].add(piece, sender=opened.sender)
        except PeerFault:
            return  # Whatever it was meant to be, no round's digest names it.
        if vector is not None:
            found = self._found[piece.head]
            found[piece.model_digest] = Found(vector, record.offset + 1)
            while len(found) > KEPT:
                del found[next(iter(found))]

    async def close(self) -> None:
        """Stop reading."""
        if self._reader is not None:
            reader, self._reader = self._reader, None
            await reader.close()
