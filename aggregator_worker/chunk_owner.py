"""The owner of one partition of masked chunks: adds what arrives, answers the coordinator's requests for sums.

Called by `wiring` with the records of CHUNKS and SUM_REQUESTS.
Never takes a chunk for absent before it has read, up to the partition's end at the request, all that may hold it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import structlog

from aggregator_worker import rereading
from aggregator_worker.chunk_sums import ChunkSums, Missing, Piece, opener
from aggregator_worker.office import Office
from federation.errors import PeerFault
from federation.messages import ChunkRefused, ChunkSummed, MaskedChunk, PartyRole, SumRequested, SumTerm
from streams.ports import Record
from streams.topology import CHUNKS, SUM_REQUESTS, chunk_partition

_log: Final = structlog.get_logger(__name__)
# The broker's clock stamps chunks, the aggregator's the opening; they may differ by so much.
CLOCKS_APART_MS: Final = 10 * 60_000


class ChunkOwner:
    """One partition. Nothing survives the process: after a restart a request finds its chunks in the log."""

    def __init__(self, partition: int, office: Office) -> None:
        self._partition: Final = partition
        self._office: Final = office
        self._sums: Final = ChunkSums(opener(lambda: office.identity.ring.sealing_secrets))
        self._next_offset: int | None = None  # None: no chunk has come yet.
        self._waiting: dict[Piece, tuple[SumRequested, int]] = {}  # Requests, and up to where to read before looking back.

    async def take_chunk(self, record: Record) -> None:
        """A record of CHUNKS."""
        await self._arrive(record)
        self._next_offset = record.offset + 1
        for piece, (request, end) in list(self._waiting.items()):
            if self._next_offset >= end and piece in self._waiting:
                del self._waiting[piece]
                await self._complete(request)

    async def take_request(self, record: Record) -> None:
        """A record of SUM_REQUESTS."""
        opened = await self._office.open(record, SUM_REQUESTS, PartyRole.AGGREGATOR)
        if opened is None or not isinstance(request := opened.message, SumRequested):
            return
        outcome = self._sums.request(request)
        if isinstance(outcome, ChunkSummed):
            await self._office.say([outcome])
            return
        end = await rereading.end_of(self._office.log, CHUNKS.full_name(), self._partition)
        if outcome.wanted and self._next_offset is not None and self._next_offset < end:
            self._waiting[Piece.of(request)] = (request, end)  # They are most likely on their way to us.
        else:
            await self._complete(request)

    async def _arrive(self, record: Record, only: tuple[Piece, Collection[SumTerm]] | None = None) -> None:
        """A chunk, for the first time or again; with `only`, nothing but these terms of this piece."""
        opened = await self._office.open(record, CHUNKS, PartyRole.INSTITUTION)
        if opened is None or not isinstance(chunk := opened.message, MaskedChunk):
            return
        if only is not None and (
            Piece.of(chunk) != only[0] or SumTerm(institution=chunk.institution, chunk_digest=opened.digest) not in only[1]
        ):
            return
        if chunk_partition(chunk.head, chunk.chunk) != self._partition:
            await self._office.report(PeerFault("wrong_partition", f"chunk {chunk.chunk} in {self._partition}", accused=opened.sender))
            return
        try:
            outcomes = self._sums.arrive(chunk, opened.digest, record.offset)
        except PeerFault as fault:
            await self._office.report(fault, Piece.of(chunk).round_id)
            return
        for outcome in outcomes:
            if isinstance(outcome, ChunkSummed):
                self._waiting.pop(Piece.of(outcome), None)
                await self._office.say([outcome])
            else:
                await self._office.report(PeerFault(outcome.kind, outcome.detail, accused=outcome.accused), outcome.round_id)

    async def _complete(self, request: SumRequested) -> None:
        """Read again what the request lacks; whatever is not found then is not in the log."""
        missing = self._sums.missing(request)
        for offset in missing.surplus:
            async for batch in rereading.read_range(self._office.log, CHUNKS.full_name(), self._partition, offset, offset + 1):
                for record in batch:
                    await self._arrive(record)
        if missing.wanted:
            await self._look_back(request)
        still = self._sums.missing(request)
        if still:
            await self._office.say([_refusal(request, still)])

    async def _look_back(self, request: SumRequested) -> None:
        topic, piece = CHUNKS.full_name(), Piece.of(request)
        oldest_ms = request.opened_at_ms - CLOCKS_APART_MS
        end = await rereading.end_of(self._office.log, topic, self._partition)
        _log.info("looking back for chunks", round=str(piece.round_id), chunk=piece.chunk, count=len(self._sums.missing(request).wanted))
        async for window in rereading.windows_backwards(self._office.log, topic, self._partition, end):
            for record in window:
                await self._arrive(record, (piece, self._sums.missing(request).wanted))
            if not self._sums.missing(request).wanted or window[0].timestamp_ms < oldest_ms:
                return


def _refusal(request: SumRequested, missing: Missing) -> ChunkRefused:
    at_fault = sorted({term.institution for term in missing.wanted})
    return ChunkRefused(
        head=request.head, group=request.group, epoch=request.epoch, round=request.round, chunk=request.chunk,
        survivors_digest=request.survivors_digest, at_fault=tuple(at_fault),
        detail=f"chunk {request.chunk} of {', '.join(at_fault)} is not in the log as promised",
    )  # fmt: skip
