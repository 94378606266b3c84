"""Running sums of one chunk partition: masked pieces are added as they arrive, and summed exactly over those asked for.

Called by `chunk_owner`, which reads the partition and performs the re-reading that a `Missing` asks for.
Never keeps a masked piece: one running sum, and who is in it, is all that is remembered of a round's chunk."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from federation.errors import PeerFault
from federation.ids import Lane, RoundId
from federation.limits import CHUNK_LENGTH_MAX
from federation.messages import ChunkSummed, MaskedChunk, SumRequested, SumTerm
from federation.rounds.effects import Report, RingVector
from federation.secagg import ring, sealing
from federation.secagg.keys import Secret

SUMS_KEPT: Final = 64  # Of 512 KiB at most: 32 MiB a partition, whatever rounds a member pretends to speak of.


@dataclass(frozen=True, order=True)
class Piece:
    """What is summed: one chunk of one round."""

    round_id: RoundId
    chunk: int

    @classmethod
    def of(cls, message: MaskedChunk | SumRequested | ChunkSummed) -> Piece:
        """The piece that a message speaks of."""
        return cls(RoundId(Lane(message.head, message.group), message.epoch, message.round), message.chunk)


@dataclass(frozen=True)
class Missing:
    """What must be read again before a request can be answered; empty: nothing is missing."""

    surplus: tuple[int, ...]  # Offsets of pieces to be subtracted: added, but not asked for.
    wanted: frozenset[SumTerm]  # Asked for, and not seen since this owner follows the partition.

    def __bool__(self) -> bool:
        return bool(self.surplus or self.wanted)


@dataclass
class _Sum:
    total: RingVector | None = field(default=None, repr=False)
    added: dict[SumTerm, int] = field(default_factory=dict)  # Term -> its offset.
    heard: dict[str, bytes] = field(default_factory=dict)  # Institution -> the first digest under its name.
    request: SumRequested | None = None

    @property
    def terms(self) -> frozenset[SumTerm]:
        return frozenset(self.request.terms) if self.request else frozenset()


def values_in(chunk: MaskedChunk) -> int:
    """How many values a chunk's sealed body claims to have; a body that is not whole values fails to open."""
    return (len(chunk.body) - sealing.SEAL_OVERHEAD_BYTES) // ring.VALUE_BYTES


def opener(secrets: Callable[[], Sequence[Secret]]) -> Callable[[MaskedChunk], RingVector]:
    """What opens a chunk's body with one of the aggregator's sealing secrets, the newest first: uint32; PeerFault "bad_seal" or "bad_length"."""

    def open_body(chunk: MaskedChunk) -> RingVector:
        length = values_in(chunk)
        if not 0 < length <= CHUNK_LENGTH_MAX:
            raise PeerFault("bad_length", f"a chunk's body of {len(chunk.body)} bytes", accused=chunk.institution)
        plain = sealing.unseal_with_any(chunk.body, secrets(), plain_bytes=length * ring.VALUE_BYTES, accused=chunk.institution)
        return ring.from_bytes(plain, length, accused=chunk.institution)

    return open_body


class ChunkSums:
    """The sums of one partition. Order and repetition of arrivals do not matter: the answer is the sum over the terms asked for."""

    def __init__(self, open_body: Callable[[MaskedChunk], RingVector], *, sums_kept: int = SUMS_KEPT) -> None:
        self._open_body: Final = open_body
        self._sums_kept: Final = sums_kept
        self._sums: Final[OrderedDict[Piece, _Sum]] = OrderedDict()

    def arrive(self, chunk: MaskedChunk, digest: bytes, offset: int) -> tuple[ChunkSummed | Report, ...]:
        """A chunk read at `offset` of the partition, for the first time or again, its signature already checked.

        `digest` is the record's identity (streams.signed.Opened), that of the chunk's body.

        Answers a waiting request once its sum is exact; reports an institution that says two things under one name.
        PeerFault if a body that is to be added does not open or has another length than its request says.
        """
        piece = Piece.of(chunk)
        kept = self._kept(piece)
        term = SumTerm(institution=chunk.institution, chunk_digest=digest)
        first = kept.heard.get(chunk.institution)
        before = len(kept.added)
        if kept.request is None:
            # A length unlike the first one's waits for a request to say which of the two is right.
            if first is None and (kept.total is None or len(kept.total) == values_in(chunk)):
                self._add(kept, chunk, term, offset)
        elif term in kept.terms:
            if term not in kept.added:
                self._add(kept, chunk, term, offset)
        elif kept.added.get(term) == offset and kept.total is not None:
            ring.subtract(kept.total, self._open_body(chunk))
            del kept.added[term]
        kept.heard.setdefault(chunk.institution, term.chunk_digest)
        outcomes: list[ChunkSummed | Report] = []
        if first not in {None, term.chunk_digest}:
            detail = f"two bodies of chunk {chunk.chunk}; the second one at offset {offset}"
            outcomes.append(Report("contradicting_chunk", chunk.institution, detail, piece.round_id))
        if kept.request is not None and len(kept.added) != before and not self.missing(kept.request):
            outcomes.append(self._answer(kept, kept.request))
        return tuple(outcomes)

    def request(self, request: SumRequested) -> ChunkSummed | Missing:
        """The exact sum asked for, or what must arrive (again) first; the request is remembered until then and after.

        Older rounds of the lane's chunk are forgotten: the coordinator asks for one round at a time.
        PeerFault-free: the aggregator's own signature stands on a request.
        """
        piece = Piece.of(request)
        for old in [known for known in self._sums if _older(known, piece)]:
            del self._sums[old]
        kept = self._kept(piece)
        if kept.total is not None and len(kept.total) != request.length:
            # The first to arrive had another length than the round has; what was added cannot be part of the answer.
            kept.total, kept.added = None, {}
        kept.request = request
        return self.missing(request) or self._answer(kept, request)

    def missing(self, request: SumRequested) -> Missing:
        """What the answer to a request, made before by `request`, still lacks."""
        kept = self._kept(Piece.of(request))
        surplus = tuple(sorted(offset for term, offset in kept.added.items() if term not in kept.terms))
        return Missing(surplus, kept.terms - kept.added.keys())

    def _add(self, kept: _Sum, chunk: MaskedChunk, term: SumTerm, offset: int) -> None:
        values = self._open_body(chunk)
        due = kept.request.length if kept.request else len(values) if kept.total is None else len(kept.total)
        if len(values) != due:
            detail = f"{len(values)} values in chunk {chunk.chunk}, where {due} were due"
            raise PeerFault("bad_length", detail, accused=chunk.institution)
        if kept.total is None:
            kept.total = ring.zeros(due)
        ring.add(kept.total, values)
        kept.added[term] = offset

    def _answer(self, kept: _Sum, request: SumRequested) -> ChunkSummed:
        total = ring.zeros(request.length) if kept.total is None else kept.total
        return ChunkSummed(
            head=request.head, group=request.group, epoch=request.epoch, round=request.round, chunk=request.chunk,
            survivors_digest=request.survivors_digest, body=ring.to_bytes(total),
        )  # fmt: skip

    def _kept(self, piece: Piece) -> _Sum:
        kept = self._sums.setdefault(piece, _Sum())
        self._sums.move_to_end(piece)
        if len(self._sums) > self._sums_kept:
            # The longest untouched one; should it be asked for yet, its pieces are read again.
            self._sums.popitem(last=False)
        return kept


def _older(known: Piece, piece: Piece) -> bool:
    same = (known.round_id.lane, known.chunk) == (piece.round_id.lane, piece.chunk)
    return same and known.round_id.round < piece.round_id.round
