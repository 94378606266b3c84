"""The dealer: makes a threshold Paillier key once, hands out its shares, and forgets the rest.

Called by provisioning, and by tests with fixed primes.
Never keeps or returns a prime, the secret order or the shared exponent: only the public key and the shares leave."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from federation.errors import OwnFault, require
from federation.secagg.bigint import inverse, is_prime, is_unit, power
from federation.secagg.keys import Entropy, Secret, drawn
from federation.secagg.paillier import MODULUS_BITS_MIN, KeyShare, PublicKey

_WINDOW: Final = 1 << 17  # Candidates sieved from one random start.


def _small_primes(below: int) -> list[int]:
    sieve = np.ones(below, dtype=np.bool_)
    sieve[:2] = False
    for k in range(2, math.isqrt(below) + 1):
        if sieve[k]:
            sieve[k * k :: k] = False
    return np.flatnonzero(sieve).tolist()


_SMALL_PRIMES: Final = _small_primes(1 << 16)[1:]  # Without 2.


def safe_prime(bits: int, *, entropy: Entropy) -> int:
    """A prime p of exactly `bits` bits, its two highest set, for which (p - 1) / 2 is prime too.

    Takes seconds at 1536 bits, sometimes half a minute: about one in half a million such numbers is one.
    """
    if bits < 32:
        raise OwnFault("no safe prime of fewer than 32 bits is any use")
    while True:
        # p = 2h + 1; h odd, its two highest bits set, so that a product of two has exactly twice the bits.
        raw = int.from_bytes(drawn(entropy, (bits + 7) // 8), "little") % (1 << (bits - 1))
        start = raw | 1 | 3 << (bits - 3)
        for offset in _sieved(start, _WINDOW):
            half = start + 2 * offset
            if half.bit_length() == bits - 1 and is_prime(half) and is_prime(2 * half + 1):
                return 2 * half + 1


def deal(*, threshold: int, members: int, entropy: Entropy, bits: int = MODULUS_BITS_MIN) -> tuple[PublicKey, tuple[KeyShare, ...]]:
    """A new key for any `threshold` of `members`, with a modulus of `bits` bits; OwnFault below MODULUS_BITS_MIN."""
    if bits < MODULUS_BITS_MIN or bits % 2:
        raise OwnFault(f"a Paillier modulus has at least {MODULUS_BITS_MIN} bits, an even number")
    first = safe_prime(bits // 2, entropy=entropy)
    second = safe_prime(bits // 2, entropy=entropy)
    while second == first:
        second = safe_prime(bits // 2, entropy=entropy)
    return deal_from(first, second, threshold=threshold, members=members, entropy=entropy)


def deal_from(first: int, second: int, *, threshold: int, members: int, entropy: Entropy) -> tuple[PublicKey, tuple[KeyShare, ...]]:
    """A key from two safe primes of one length. Whoever calls this knows them, so only tests give fixed ones."""
    if first == second or any(not is_prime(p) or not is_prime(p // 2) for p in (first, second)):
        raise OwnFault("a threshold Paillier key is made from two different safe primes")
    modulus, order = first * second, (first // 2) * (second // 2)
    square = modulus * modulus
    # d = 0 modulo the secret order and 1 modulo N (Chinese remainders).
    exponent = order * inverse(order, modulus) % (modulus * order)
    coefficients = [*(_below(modulus * order, entropy) for _ in range(threshold - 1)), exponent]
    values = [_value_at(x, coefficients, modulus * order) for x in range(1, members + 1)]
    unit = _unit(modulus, modulus, entropy)
    check_base = power(_unit(square, modulus, entropy), 2, square)
    factorial = math.factorial(members)
    public = PublicKey(
        modulus=modulus,
        hiding_base=power(modulus - unit * unit % modulus, modulus, square),
        check_base=check_base,
        checks=tuple(power(check_base, factorial * value, square) for value in values),
        threshold=threshold,
    )
    public.require_sound(bits_min=modulus.bit_length())
    size = (2 * modulus.bit_length() + 7) // 8
    return public, tuple(KeyShare(x, Secret(value.to_bytes(size, "little"))) for x, value in enumerate(values, 1))


def _sieved(start: int, window: int) -> list[int]:
    """Offsets k for which neither h = start + 2k nor 2h + 1 has a small factor."""
    kept = np.ones(window, dtype=np.bool_)
    for prime in _SMALL_PRIMES:
        half = (prime + 1) // 2  # 1/2 modulo the prime.
        kept[-start * half % prime :: prime] = False
        kept[-(2 * start + 1) * half * half % prime :: prime] = False
    return np.flatnonzero(kept).tolist()


def _below(bound: int, entropy: Entropy) -> int:
    """Uniform below `bound` up to 2^-128: 128 bits more than needed are reduced."""
    return int.from_bytes(drawn(entropy, (bound.bit_length() + 7) // 8 + 16), "little") % bound


def _unit(bound: int, modulus: int, entropy: Entropy) -> int:
    value = _below(bound, entropy)
    require(is_unit(value, modulus), "a random number has met a factor of the modulus")
    return value


def _value_at(x: int, coefficients: list[int], modulus: int) -> int:
    value = 0
    for coefficient in coefficients:
        value = (value * x + coefficient) % modulus
    return value
