"""Arithmetic of thousands of bits: the one door to GMP.

Called by the Paillier modules.
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
