"""Paillier encryption under a key that one party holds: made anew for each training, fast for its holder.

Called by `exchange`; adds and encodes with `federation.secagg.paillier`.
Never accepts a modulus below 3072 bits, nor tells a prime in a repr.

Paillier (EUROCRYPT 1999) with the short exponents of Damgard, Jurik and Nielsen (IJIS 2010, section 4.2): a ciphertext is
(1 + N)^m h^a modulo N^2 for an a of half of N's length, h = (-x^2)^N. The holder computes h^a and decrypts modulo p^2 and q^2 apart
(Chinese remainders) and looks powers of h up. That half-length exponents are as good as full ones follows from factoring being
hard (Goldreich and Rosen, Journal of Cryptology 16, 2003)."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from typing import Final, Self

from federation.errors import OwnFault, PeerFault
from federation.secagg.bigint import FixedBase, inverse, is_prime, is_unit, power, power_secret, prime_above, product
from federation.secagg.keys import Entropy, drawn
from federation.secagg.paillier import MODULUS_BITS_MIN, EncryptionKey

MODULUS_BITS_MAX: Final = 8192  # A larger key would keep its peer busy for minutes.
MASK_BITS: Final = 128
_HOLDER_WINDOW: Final = 8
_PEER_WINDOW: Final = 6


@dataclass(frozen=True)
class HeldKey(EncryptionKey):
    """An encryption key whose primes we hold."""

    first: int = field(repr=False)  # p
    second: int = field(repr=False)  # q

    @classmethod
    def drawn(cls, bits: int, *, entropy: Entropy) -> Self:
        """A new key with a modulus of exactly `bits` bits, an even number."""
        half = bits // 2
        while True:
            first, second = (_prime(half, entropy) for _ in range(2))
            # So that half of the units are squares or their negatives, and h generates nearly all of those.
            if first != second and math.gcd(first - 1, second - 1) == 2:
                return cls.from_primes(first, second, entropy=entropy)

    @classmethod
    def from_primes(cls, first: int, second: int, *, entropy: Entropy) -> Self:
        """The key of two primes that are 3 modulo 4. Whoever calls this knows them: only `drawn`, a saved state and tests do."""
        modulus = first * second
        unit = int.from_bytes(drawn(entropy, (modulus.bit_length() + 7) // 8 + 16), "little") % modulus
        if first % 4 != 3 or second % 4 != 3 or not is_unit(unit, modulus):
            raise OwnFault("these primes make no key")
        return cls(modulus, power(modulus - unit * unit % modulus, modulus, modulus * modulus), first, second)

    @property
    def public(self) -> EncryptionKey:
        """What the other side gets."""
        return EncryptionKey(self.modulus, self.hiding_base)

    def encrypt(self, plain: int, *, entropy: Entropy) -> int:
        """A fresh ciphertext of 0 <= plain < N."""
        if not 0 <= plain < self.modulus:
            raise OwnFault("a plaintext is not negative and below the modulus")
        exponent = _exponent((self.bits + 1) // 2, entropy)
        tables, lift = self._tables
        low, high = (table.power(exponent) for table in tables)
        first_square = self.first * self.first
        hidden = low + first_square * ((high - low) * lift % (self.second * self.second))
        return product((1 + plain * self.modulus, hidden), self.square)

    def decrypt(self, ciphertext: int) -> int:
        """The plaintext of a unit modulo N^2."""
        low, high = (
            (power_secret(ciphertext % (prime * prime), prime - 1, prime * prime) - 1) // prime * weight % prime
            for prime, weight in zip((self.first, self.second), self._weights, strict=True)
        )
        return low + self.first * ((high - low) * inverse(self.first, self.second) % self.second)

    @functools.cached_property
    def _tables(self) -> tuple[tuple[FixedBase, FixedBase], int]:
        first, second = (
            FixedBase(self.hiding_base, prime * prime, exponent_bits=(self.bits + 1) // 2, window=_HOLDER_WINDOW)
            for prime in (self.first, self.second)
        )
        return (first, second), inverse(self.first * self.first, self.second * self.second)

    @functools.cached_property
    def _weights(self) -> tuple[int, int]:
        """1 / L((1 + N)^(prime - 1)) modulo each prime: (1 + N)^(prime - 1) = 1 + (prime - 1) N modulo its square."""
        first, second = (inverse((prime - 1) * (self.modulus // prime) % prime, prime) for prime in (self.first, self.second))
        return first, second


class PeerKey:
    """The other side's key, checked, with what it takes to hide from its holder what was added up."""

    def __init__(self, key: EncryptionKey) -> None:
        self.key = key
        # Longer than any exponent that the sums carry, by MASK_BITS: then h^a is uniform in h's group even for who knows p and q.
        self._mask_bits = key.bits + MASK_BITS
        self._powers = FixedBase(key.hiding_base, key.square, exponent_bits=self._mask_bits, window=_PEER_WINDOW)

    def rerandomised(self, ciphertext: int, plus: int, *, entropy: Entropy) -> int:
        """A ciphertext of the same plaintext plus `plus`, whose randomness tells its key's holder nothing about how it was made."""
        fresh = self._powers.power(_exponent(self._mask_bits, entropy))
        return product((ciphertext, 1 + plus * self.key.modulus, fresh), self.key.square)


@functools.lru_cache(maxsize=4)
def peer_key(modulus: bytes, hiding_base: bytes, *, accused: str, bits_min: int = MODULUS_BITS_MIN) -> PeerKey:
    """The key in these little-endian numbers; PeerFault "bad_key" if it is too small, too large or plainly no Paillier key.

    That its modulus is a product of two large primes is the peer's own interest: what it encrypts under it are its own numbers. Only tests lower
    `bits_min`. Kept for a while, as its table takes half a second to make.
    """
    key = EncryptionKey(int.from_bytes(modulus, "little"), int.from_bytes(hiding_base, "little"))
    if not bits_min <= key.bits <= MODULUS_BITS_MAX:
        detail = f"a modulus of {key.bits} bits where {bits_min} to {MODULUS_BITS_MAX} are due"
        raise PeerFault("bad_key", detail, accused=accused)
    if key.modulus % 2 == 0 or is_prime(key.modulus) or not 1 < key.hiding_base < key.square or not is_unit(key.hiding_base, key.modulus):
        raise PeerFault("bad_key", "the numbers of a Paillier key do not belong together", accused=accused)
    return PeerKey(key)


def key_to_bytes(key: EncryptionKey) -> tuple[bytes, bytes]:
    """(modulus, hiding base), little-endian, as `peer_key` takes them."""
    return key.modulus.to_bytes((key.bits + 7) // 8, "little"), key.hiding_base.to_bytes(key.ciphertext_bytes, "little")


def _prime(bits: int, entropy: Entropy) -> int:
    """A prime of exactly `bits` bits, its two highest set, 3 modulo 4."""
    while True:
        start = int.from_bytes(drawn(entropy, (bits + 7) // 8), "little") % (1 << bits) | 3 << (bits - 2)
        prime = prime_above(start)
        if prime % 4 == 3 and prime.bit_length() == bits:
            return prime


def _exponent(bits: int, entropy: Entropy) -> int:
    return int.from_bytes(drawn(entropy, (bits + 7) // 8), "little") % (1 << bits)
