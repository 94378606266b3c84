"""Threshold Paillier encryption: anybody adds under encryption, any `threshold` key holders together decrypt.

Called by the Paillier sum, its proofs and its dealer; the vertical models encrypt and add with it under keys that one party holds.
Never decrypts by itself: one key share gives a partial decryption, which says nothing alone.

Paillier (EUROCRYPT 1999) with the threshold of Damgard and Jurik (PKC 2001, section 4.1, s = 1; after Shoup, EUROCRYPT 2000)
and the short encryption exponents of Damgard, Jurik and Nielsen (IJIS 2010, section 4.2). N = p q with p = 2p'+1 and
q = 2q'+1 primes, m = p'q'; the shared exponent d is 0 modulo m and 1 modulo N; D stands for members!."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from federation.errors import OwnFault, PeerFault
from federation.ids import digest_of
from federation.limits import COHORT_MAX
from federation.secagg.bigint import inverse, is_unit, power, power_secret, product
from federation.secagg.keys import Entropy, Secret, drawn, framed, number

MODULUS_BITS_MIN: Final = 3072  # 128 bits of security (NIST SP 800-57 part 1, table 2).
_PUBLIC_FILE: Final = b"riverbank paillier public key 1\n"
_SHARE_FILE: Final = b"riverbank paillier key share 1\n"


@dataclass(frozen=True)
class EncryptionKey:
    """What it takes to encrypt and to add, whoever decrypts."""

    modulus: int  # N
    hiding_base: int  # h^N modulo N^2, h = -x^2: its powers hide a plaintext.

    @functools.cached_property
    def square(self) -> int:
        """N^2."""
        return self.modulus * self.modulus

    @property
    def bits(self) -> int:
        """Length of N."""
        return self.modulus.bit_length()

    @property
    def ciphertext_bytes(self) -> int:
        """A ciphertext, or a partial decryption, on the wire."""
        return (2 * self.bits + 7) // 8


@dataclass(frozen=True)
class PublicKey(EncryptionKey):
    """What everybody knows of a threshold key: also to check a partial decryption."""

    check_base: int  # v, a random square modulo N^2.
    checks: tuple[int, ...]  # v^(D s_i) of each holder i.
    threshold: int

    @property
    def members(self) -> int:
        """How many hold a share."""
        return len(self.checks)

    @functools.cached_property
    def factorial(self) -> int:
        """D = members!: makes Lagrange's weights whole, as nobody can invert modulo the secret order."""
        return math.factorial(self.members)

    @functools.cached_property
    def digest(self) -> bytes:
        """Identity of the key."""
        return digest_of(self.to_bytes())

    def to_bytes(self) -> bytes:
        """The content of the public key file."""
        numbers = (self.modulus, self.hiding_base, self.check_base, *self.checks)
        return _PUBLIC_FILE + number(self.threshold) + framed(*(_least(value) for value in numbers))

    @classmethod
    def from_bytes(cls, content: bytes, *, bits_min: int = MODULUS_BITS_MIN) -> Self:
        """The key in a public key file; OwnFault if it is not one, or too small. Only tests lower `bits_min`."""
        if not content.startswith(_PUBLIC_FILE):
            raise OwnFault("not a Paillier public key")
        body = content[len(_PUBLIC_FILE) :]
        modulus, hiding_base, check_base, *checks = _numbers(body[8:])
        key = cls(modulus, hiding_base, check_base, tuple(checks), int.from_bytes(body[:8], "little"))
        key.require_sound(bits_min)
        return key

    def require_sound(self, bits_min: int = MODULUS_BITS_MIN) -> None:
        """OwnFault for a key that is too small, or whose parts do not belong together. That N is well made, the dealer vouches for."""
        if self.bits < bits_min:
            raise OwnFault(f"a Paillier modulus of {self.bits} bits where {bits_min} are required")
        if not 2 <= self.threshold <= self.members <= COHORT_MAX:
            raise OwnFault(f"a Paillier key for {self.threshold} of {self.members}")
        units = (self.hiding_base, self.check_base, *self.checks)
        if self.modulus % 2 == 0 or any(not 1 < unit < self.square or not is_unit(unit, self.modulus) for unit in units):
            raise OwnFault("the parts of a Paillier key do not belong together")


@dataclass(frozen=True, slots=True)
class KeyShare:
    """One holder's share s_i of the decryption exponent; `index` from 1."""

    index: int
    exponent: Secret  # Little-endian.

    def to_bytes(self) -> bytes:
        """The content of the share's file; whoever writes it sees to the file's mode."""
        return _SHARE_FILE + number(self.index) + self.exponent.reveal()

    @classmethod
    def from_bytes(cls, content: bytes, public: PublicKey) -> Self:
        """The share in a file; OwnFault if it is not a share of `public`. The content is never quoted in the error."""
        start = len(_SHARE_FILE) + 8
        if not content.startswith(_SHARE_FILE):
            raise OwnFault("not a Paillier key share")
        share = cls(int.from_bytes(content[len(_SHARE_FILE) : start], "little"), Secret(content[start:]))
        share.require_of(public)
        return share

    def require_of(self, public: PublicKey) -> None:
        """OwnFault unless this is the share whose check value stands in `public`."""
        known = public.checks[self.index - 1] if 1 <= self.index <= public.members else None
        if self.value() < 1 or power_secret(public.check_base, public.factorial * self.value(), public.square) != known:
            raise OwnFault("this key share does not belong to this Paillier key")

    def value(self) -> int:
        """s_i."""
        return int.from_bytes(self.exponent.reveal(), "little")


def encrypt(public: EncryptionKey, plain: int, *, entropy: Entropy) -> int:
    """(1 + N)^plain * hiding_base^a modulo N^2 for a fresh a of half of N's length; 0 <= plain < N."""
    if not 0 <= plain < public.modulus:
        raise OwnFault("a plaintext is not negative and below the modulus")
    bits = (public.bits + 1) // 2
    exponent = int.from_bytes(drawn(entropy, (bits + 7) // 8), "little") % (1 << bits)
    hidden = power(public.hiding_base, exponent, public.square)
    # (1 + N)^plain = 1 + plain N modulo N^2.
    return product((1 + plain * public.modulus, hidden), public.square)


def add(public: EncryptionKey, ciphertexts: Sequence[int]) -> int:
    """The ciphertext of the sum of the plaintexts."""
    return product(ciphertexts, public.square)


def partial_decryption(public: PublicKey, share: KeyShare, ciphertext: int) -> int:
    """c^(2 D s_i) modulo N^2."""
    return power_secret(ciphertext, 2 * public.factorial * share.value(), public.square)


def combine(public: PublicKey, partials: Mapping[int, int]) -> int:
    """The plaintext, from partial decryptions {index: partial} that have been checked; at least `threshold` of them.

    The product of partial^(2 w_i), w_i = D times Lagrange's weights at 0, is c^(4 D^2 d) = 1 + 4 D^2 plain N.
    """
    if len(partials) < public.threshold:
        raise OwnFault(f"{len(partials)} partial decryptions where {public.threshold} are needed")
    chosen = sorted(partials)[: public.threshold]
    if chosen[0] < 1 or chosen[-1] > public.members:
        raise OwnFault("a partial decryption by nobody")
    raised = product((power(partials[i], 2 * weight, public.square) for i, weight in whole_weights(public, chosen).items()), public.square)
    quotient, rest = divmod(raised - 1, public.modulus)
    if rest != 0:
        raise OwnFault("partial decryptions that do not belong together: they were not checked")
    return quotient * inverse(4 * public.factorial**2, public.modulus) % public.modulus


def whole_weights(public: PublicKey, indices: Sequence[int]) -> dict[int, int]:
    """{i: D * product over the other j of j / (j - i)}: Lagrange's weights at 0, made whole by D."""
    weights = {}
    for i in indices:
        others = [j for j in indices if j != i]
        weights[i] = public.factorial * math.prod(others) // math.prod(j - i for j in others)
    return weights


def numbers_to_bytes(public: EncryptionKey, values: Sequence[int]) -> bytes:
    """Ciphertexts or partial decryptions, one after the other, little-endian."""
    return b"".join(value.to_bytes(public.ciphertext_bytes, "little") for value in values)


def numbers_from_bytes(public: EncryptionKey, body: bytes, count: int, *, accused: str) -> list[int]:
    """The `count` units modulo N^2 in `body`; PeerFault "bad_ciphertext" for another length or what is no unit."""
    size = public.ciphertext_bytes
    if len(body) != size * count:
        raise PeerFault("bad_ciphertext", f"{len(body)} bytes where {size * count} were due", accused=accused)
    values = [int.from_bytes(body[first : first + size], "little") for first in range(0, len(body), size)]
    if any(not 0 < value < public.square or not is_unit(value, public.modulus) for value in values):
        raise PeerFault("bad_ciphertext", "not a unit modulo the square of the modulus", accused=accused)
    return values


def _least(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "little")


def _numbers(body: bytes) -> list[int]:
    """The integers in `framed` bytes; OwnFault if there are fewer than three or the frame is broken."""
    numbers, at = [], 0
    while at < len(body):
        size = int.from_bytes(body[at : at + 4], "little")
        part = body[at + 4 : at + 4 + size]
        if len(part) != size or not size:
            raise OwnFault("a Paillier public key cut short")
        numbers.append(int.from_bytes(part, "little"))
        at += 4 + size
    if len(numbers) < 3:
        raise OwnFault("a Paillier public key cut short")
    return numbers
