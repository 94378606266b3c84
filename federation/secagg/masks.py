"""Masks: seeds expanded to vectors that hide one update and cancel in the sum.

Called by the participant (`apply_masks`) and the coordinator (`remove_masks`).
Never expands one seed for two vectors: a seed belongs to one round and one pair, and a second vector under it would be a
two-time pad."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from federation.errors import OwnFault, require
from federation.secagg.keys import KEY_BYTES, Secret
from federation.secagg.ring import VALUE_BYTES, RingVector

_VALUES_PER_BLOCK: Final = 16 // VALUE_BYTES
# The values of one piece and of its keystream stay in the L2 cache while every mask is added to it.
_PIECE: Final = 1 << 15
_ZEROS: Final = bytes(_PIECE * VALUE_BYTES)


def pair_sign(own: str, peer: str) -> int:
    """+1 for the first by name of a pair, -1 for the second, so that their masks cancel; OwnFault for oneself."""
    if own == peer:
        raise OwnFault("no mask between a member and itself")
    return 1 if own < peer else -1


def expand(seed: Secret, length: int, start: int = 0) -> RingVector:
    """uint32[length]: values start .. start+length of the seed's stream, AES-256-CTR (NIST SP 800-38A 6.5) over zeros.

    The first counter block is zero; value k is bytes 4k..4k+4 of the stream, little-endian. `start` is any non-negative
    value index, so the pieces of a vector can be expanded apart from one another.
    """
    values = np.zeros(length, dtype=np.uint32)
    _accumulate(values, [(1, seed)], start)
    return values


def apply_masks(values: RingVector, self_seed: Secret, pair_seeds: Iterable[tuple[int, Secret]]) -> None:
    """Mask `values` (uint32[d]) in place: + PRG(self_seed) + sum of sign * PRG(seed) over (sign, seed) in `pair_seeds`."""
    _accumulate(values, [(1, self_seed), *pair_seeds], 0)


def remove_masks(total: RingVector, self_seeds: Iterable[Secret], pair_seeds: Iterable[tuple[int, Secret]]) -> None:
    """Undo, in a sum over the survivors (uint32[d], in place), what did not cancel.

    `self_seeds` are the survivors'; `pair_seeds` one (sign, seed) for every pair of a survivor and a dropped member, with
    the sign the survivor applied.
    """
    _accumulate(total, [(-1, seed) for seed in self_seeds] + [(-sign, seed) for sign, seed in pair_seeds], 0)


def _accumulate(values: RingVector, terms: list[tuple[int, Secret]], start: int) -> None:
    require(values.dtype == np.uint32 and values.ndim == 1 and values.flags.c_contiguous, "masks need a contiguous ring vector")
    if not 0 <= start < 1 << 130:
        raise OwnFault("a mask has no values before its first, or after its counter is used up")
    lead = start % _VALUES_PER_BLOCK
    streams = []
    for sign, seed in terms:
        if sign not in {1, -1} or len(seed) != KEY_BYTES:
            raise OwnFault("a mask is a sign, +1 or -1, and a seed of 32 bytes")
        counter = (start // _VALUES_PER_BLOCK).to_bytes(16, "big")
        encryptor = Cipher(algorithms.AES256(seed.reveal()), modes.CTR(counter)).encryptor()
        encryptor.update(bytes(lead * VALUE_BYTES))  # The part of the first block that lies before `start`.
        streams.append((np.add if sign == 1 else np.subtract, encryptor))
    # update_into wants room for one block more than it writes.
    keystream = bytearray(_PIECE * VALUE_BYTES + 16)
    mask = np.frombuffer(keystream, dtype="<u4")
    for first in range(0, len(values), _PIECE):
        piece = values[first : first + _PIECE]
        zeros = memoryview(_ZEROS)[: piece.nbytes]
        for combine, encryptor in streams:
            encryptor.update_into(zeros, keystream)
            combine(piece, mask[: len(piece)], out=piece)
