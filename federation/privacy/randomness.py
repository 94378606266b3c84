"""Uniform random words and integers, expanded from one seed with AES-256-CTR.

Called by the noise and by the rounding of customers' updates, which are given the seed's bytes.
Never draws entropy itself, and never uses one seed for two streams: a stream goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from federation.errors import OwnFault

Ints: TypeAlias = NDArray[np.int64]
Entropy: TypeAlias = Callable[[int], bytes]

_SEED_BYTES: Final = 32


class Stream:
    """The stream of one seed of 32 bytes, drawn from `entropy`; OwnFault if that gives another number of bytes."""

    def __init__(self, entropy: Entropy) -> None:
        seed = entropy(_SEED_BYTES)
        if len(seed) != _SEED_BYTES:
            raise OwnFault("the source of entropy gave too few bytes")
        self._encryptor = Cipher(algorithms.AES256(seed), modes.CTR(bytes(16))).encryptor()

    def words(self, count: int) -> NDArray[np.uint64]:
        """uint64[count], uniform."""
        return np.frombuffer(self._encryptor.update(bytes(8 * count)), dtype="<u8")

    def below(self, bounds: Ints) -> Ints:
        """Of int64[n] bounds (each >= 1), int64[n]: each uniform below its bound and independent."""
        moduli = bounds.astype(np.uint64)
        drawn = self.words(len(moduli))
        # 2^64 - (2^64 mod m) words map evenly; the rest are refused.
        top = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
        limits = top - (top % moduli + np.uint64(1)) % moduli
        again = np.flatnonzero(drawn > limits)
        remainders = drawn % moduli
        while len(again):
            fresh = self.words(len(again))
            remainders[again] = fresh % moduli[again]
            again = again[fresh > limits[again]]
        return remainders.astype(np.int64)

    def fractions(self, count: int) -> NDArray[np.float64]:
        """float64[count], uniform multiples of 2^-53 in [0, 1)."""
        return (self.words(count) >> np.uint64(11)).astype(np.float64) * 2.0**-53
