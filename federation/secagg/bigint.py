"""Arithmetic of thousands of bits: the one door to GMP.

Called by the Paillier modules and by the vertical models' sums under encryption.
Never decides anything about a key: bounds and meanings are theirs."""

from __future__ import annotations

from collections.abc import Iterable

import gmpy2

from federation.errors import OwnFault


def power(base: int, exponent: int, modulus: int) -> int:
    """base^exponent modulo `modulus`; a negative exponent needs an invertible base. For public exponents, or ones used once."""
    if exponent < 0:
        base, exponent = inverse(base, modulus), -exponent
    return int(gmpy2.powmod(base, exponent, modulus))


def power_secret(base: int, exponent: int, modulus: int) -> int:
    """The same for an exponent > 0 that is a lasting secret and an odd modulus: the steps taken do not depend on it; twice as slow."""
    return int(gmpy2.powmod_sec(base, exponent, modulus))


def inverse(value: int, modulus: int) -> int:
    """1/value modulo `modulus`; OwnFault if there is none."""
    try:
        return int(gmpy2.invert(value, modulus))
    except ZeroDivisionError as none:
        raise OwnFault("no inverse: the value shares a factor with the modulus") from none


def product(values: Iterable[int], modulus: int) -> int:
    """The product of all values modulo `modulus`; 1 of none."""
    total = gmpy2.mpz(1)
    for value in values:
        total = total * value % modulus
    return int(total)


def is_unit(value: int, modulus: int) -> bool:
    """Whether `value` is invertible modulo `modulus`."""
    return bool(gmpy2.gcd(value, modulus) == 1)


def is_prime(candidate: int) -> bool:
    """Baillie-PSW and 40 Miller-Rabin rounds: no composite is known to pass."""
    return bool(gmpy2.is_prime(candidate, 64))


def prime_above(start: int) -> int:
    """The first prime above `start`."""
    return int(gmpy2.next_prime(start))


class FixedBase:
    """Many powers of one base: its windows of `window` bits are tabulated once, so a power is bits/window multiplications.

    Source: Brickell, Gordon, McCurley and Wilson (EUROCRYPT 1992). Exponents are used once each and then forgotten: which
    entries are looked up depends on them.
    """

    def __init__(self, base: int, modulus: int, *, exponent_bits: int, window: int) -> None:
        self._modulus, self._window, self._bits = gmpy2.mpz(modulus), window, exponent_bits
        self._rows = []
        step = gmpy2.mpz(base) % modulus
        for _ in range(-(-exponent_bits // window)):
            row = [gmpy2.mpz(1)]
            for _ in range((1 << window) - 1):
                row.append(row[-1] * step % self._modulus)
            self._rows.append(row)
            step = row[-1] * step % self._modulus

    def power(self, exponent: int) -> int:
        """base^exponent modulo the modulus, for an exponent of at most the tabulated length; OwnFault for another."""
        if not 0 <= exponent < 1 << self._bits:
            raise OwnFault("an exponent beyond the table of its base")
        total, mask = gmpy2.mpz(1), (1 << self._window) - 1
        for row in self._rows:
            digit = exponent & mask
            if digit:
                total = total * row[digit] % self._modulus
            exponent >>= self._window
        return int(total)


def shifted_sums(slots: Iterable[Iterable[int]], shift_bits: int, modulus: int) -> int:
    """The product over s of (product of slots[s])^(2^(shift_bits (last - s))): Horner's rule in the exponent, the first slot shifted most."""
    base, power_of_two = gmpy2.mpz(modulus), gmpy2.mpz(1) << shift_bits
    total = gmpy2.mpz(1)
    for values in slots:
        if total != 1:
            total = gmpy2.powmod(total, power_of_two, base)
        for value in values:
            total = total * value % base
    return int(total)
