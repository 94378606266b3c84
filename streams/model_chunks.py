"""A global model, or a group's opened sum, cut into records and joined again.

Called by the aggregator (cut) and by whoever follows the global models (join): little-endian, checked by digest.
Never joins pieces of two vectors: a version that was tried twice, after a crash, has two digests."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from federation.errors import PeerFault, require
from federation.ids import digest_of
from federation.limits import DIMENSION_MAX, RECORD_BYTES_MAX
from federation.messages import HeadName, ModelChunk, SumChunk, SumOpened

Vector = NDArray[np.float64]
Sum = NDArray[np.uint32]

VALUE_BYTES: Final = 8
PIECE_LENGTH: Final = 1 << 16  # Values: 512 KiB, below Kafka's 1 MiB default.
CHUNKS_MAX: Final = DIMENSION_MAX // PIECE_LENGTH + 1  # A sum is longer than its model.
JOINING_MAX: Final = 4  # Vectors of one head in the making; an aggregator that crashed leaves an unfinished one behind.

require(PIECE_LENGTH * VALUE_BYTES + 4096 < RECORD_BYTES_MAX, "a model chunk does not fit a Kafka record")


def model_digest(vector: Vector) -> bytes:
    """The digest by which messages name a global model: of its float64 little-endian bytes."""
    return digest_of(vector.astype("<f8", copy=False).tobytes())


def cut(head: HeadName, version: int, vector: Vector) -> tuple[ModelChunk, ...]:
    """The records of one model, float64[d] with d up to DIMENSION_MAX, in order."""
    body = vector.astype("<f8", copy=False).tobytes()
    step = PIECE_LENGTH * VALUE_BYTES
    pieces = [body[start : start + step] for start in range(0, len(body), step)]
    digest = digest_of(body)
    return tuple(
        ModelChunk(head=head, version=version, model_digest=digest, chunk=index, chunks=len(pieces), body=piece)
        for index, piece in enumerate(pieces)
    )


def cut_sum(said: SumOpened, total: Sum) -> tuple[SumChunk, ...]:
    """The records of the opened sum that `said` names, in order."""
    body = total.astype("<u4", copy=False).tobytes()
    step = PIECE_LENGTH * total.itemsize
    pieces = [body[start : start + step] for start in range(0, len(body), step)]
    return tuple(
        SumChunk(
            head=said.head, group=said.group, epoch=said.epoch, round=said.round, sum_digest=said.sum_digest, chunk=index,
            chunks=len(pieces), body=piece,
        )
        for index, piece in enumerate(pieces)
    )  # fmt: skip


class _Joiner:
    """Pieces of vectors as they are read; the bytes come out when the last piece goes in."""

    def __init__(self) -> None:
        self._making: dict[tuple[object, bytes], dict[int, bytes]] = {}

    def _joined(self, piece: ModelChunk | SumChunk, of: object, digest: bytes, value_bytes: int, sender: str) -> bytes | None:
        if not 0 <= piece.chunk < piece.chunks <= CHUNKS_MAX:
            raise PeerFault("bad_model", f"piece {piece.chunk} of {piece.chunks}", accused=sender)
        pieces = self._making.pop((of, digest), {})
        pieces[piece.chunk] = piece.body
        if len(pieces) < piece.chunks:
            self._making[of, digest] = pieces  # Now the newest; the longest untouched one is given up.
            while len(self._making) > JOINING_MAX:
                del self._making[next(iter(self._making))]
            return None
        body = b"".join(pieces[index] for index in sorted(pieces))
        if digest_of(body) != digest or len(body) % value_bytes:
            raise PeerFault("bad_model", f"the pieces of {of} are not the vector they name", accused=sender)
        return body


class ModelJoiner(_Joiner):
    """Pieces of one head's models."""

    def add(self, piece: ModelChunk, *, sender: str) -> Vector | None:
        """The whole vector, float64[d], if this was the piece it lacked; pieces may be repeated.

        PeerFault "bad_model" accuses the sender: more pieces than a vector has, or bytes that are not the vector named.
        """
        body = self._joined(piece, f"version {piece.version}", piece.model_digest, VALUE_BYTES, sender)
        return None if body is None else np.frombuffer(body, dtype="<f8").astype(np.float64)


class SumJoiner(_Joiner):
    """Pieces of the opened sums of one head's groups."""

    def add(self, piece: SumChunk, *, sender: str) -> Sum | None:
        """The whole sum, uint32[n], if this was the piece it lacked; PeerFault as for a model."""
        body = self._joined(piece, f"the sum of group {piece.group} in round {piece.round}", piece.sum_digest, 4, sender)
        return None if body is None else np.frombuffer(body, dtype="<u4").astype(np.uint32)
