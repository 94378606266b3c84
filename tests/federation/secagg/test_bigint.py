"""GMP agrees with Python's integers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.errors import OwnFault
from federation.secagg import bigint

values = st.integers(min_value=1, max_value=1 << 300)


@settings(derandomize=True, deadline=None)
@given(values, st.integers(min_value=-(1 << 80), max_value=1 << 80), values)
def test_powers_are_pythons(base, exponent, half):
    """pow() is the oracle, negative exponents included; the secret way gives the same."""
    modulus = 2 * half + 1
    if exponent < 0 and math.gcd(base, modulus) != 1:
        with pytest.raises(OwnFault):
            bigint.power(base, exponent, modulus)
        return
    assert bigint.power(base, exponent, modulus) == pow(base, exponent, modulus)
    if exponent > 0:
        assert bigint.power_secret(base, exponent, modulus) == pow(base, exponent, modulus)


@settings(derandomize=True, deadline=None)
@given(st.lists(values, max_size=6), values)
def test_products_are_pythons(factors, modulus):
    """math.prod is the oracle."""
    assert bigint.product(factors, modulus + 1) == math.prod(factors) % (modulus + 1)


def test_inverses_and_units():
    """What has no inverse is refused."""
    assert bigint.inverse(3, 10) == 7
    assert bigint.is_unit(3, 10)
    assert not bigint.is_unit(4, 10)
    with pytest.raises(OwnFault):
        bigint.inverse(4, 10)


def test_primes_are_told_from_composites():
    """Carmichael numbers and strong pseudoprimes do not pass."""
    assert [n for n in range(2, 60) if bigint.is_prime(n)] == [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59]
    assert bigint.is_prime(2**127 - 1)
    assert not any(bigint.is_prime(n) for n in (561, 41041, 3215031751, 3825123056546413051, 2**128 + 1))
