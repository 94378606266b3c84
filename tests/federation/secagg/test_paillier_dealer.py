"""The dealer's primes are safe, its keys large, and its secrets do not stay."""

from __future__ import annotations

import pytest

from federation.errors import Broken, OwnFault
from federation.secagg import paillier_dealer
from federation.secagg.bigint import is_prime
from federation.secagg.paillier import combine, encrypt, partial_decryption
from federation.secagg.paillier_dealer import deal, deal_from, safe_prime


@pytest.mark.parametrize("bits", [32, 64, 129, 256])
def test_safe_primes_are_safe_and_of_full_length(bits, entropy_of):
    """P and (p - 1) / 2 are prime, and the two highest bits of p are set, so that products have full length."""
    prime = safe_prime(bits, entropy=entropy_of(bits))

    assert is_prime(prime)
    assert is_prime((prime - 1) // 2)
    assert prime >> (bits - 2) == 3


def test_safe_primes_come_from_entropy(entropy_of):
    """The same entropy, the same prime; another, another."""
    assert safe_prime(64, entropy=entropy_of(1)) == safe_prime(64, entropy=entropy_of(1)) != safe_prime(64, entropy=entropy_of(2))


def test_a_safe_prime_does_not_outgrow_its_length(entropy_of):
    """From the largest start on, the next candidates have a bit more: they are passed over and a new start is drawn."""
    starts = iter([b"\xff" * 4, entropy_of(3)(4), entropy_of(4)(4), entropy_of(5)(4)])

    assert safe_prime(32, entropy=lambda _: next(starts)).bit_length() == 32


def test_a_number_with_a_factor_of_the_modulus_stops_the_dealer():
    """It cannot happen with large primes, and it would give the key away."""
    with pytest.raises(Broken, match="factor"):
        paillier_dealer._unit(15, 15, lambda count: bytes([6]) + bytes(count - 1))


def test_published_test_primes_are_safe(vectors_in):
    """Each is a safe prime of half the modulus."""
    for bits, primes in vectors_in("paillier_primes")["primes"].items():
        for prime in (int(text, 16) for text in primes):
            assert prime.bit_length() == int(bits) // 2
            assert is_prime(prime)
            assert is_prime(prime // 2)


def test_every_share_fits_the_key(paillier_key):
    """Each holder can check its share against the public key."""
    public, shares = paillier_key(512, 3, 5)
    for share in shares:
        share.require_of(public)
    assert (public.bits, public.members, public.threshold) == (512, 5, 3)


def test_two_dealings_have_different_shares(paillier_key, vectors_in, entropy_of):
    """Of the same primes, too: the polynomial is drawn anew."""
    primes = [int(text, 16) for text in vectors_in("paillier_primes")["primes"]["512"]]
    other = deal_from(*primes, threshold=3, members=5, entropy=entropy_of("again"))[1]

    assert all(ours.exponent != theirs.exponent for ours, theirs in zip(paillier_key(512, 3, 5)[1], other, strict=True))


def test_a_small_key_is_not_dealt(entropy_of):
    """Nor one of odd length, nor from primes that are not safe or not different."""
    for bits in (2048, 3071, 3073):
        with pytest.raises(OwnFault, match="at least 3072"):
            deal(threshold=2, members=3, entropy=entropy_of(0), bits=bits)
    with pytest.raises(OwnFault, match="32 bits"):
        safe_prime(31, entropy=entropy_of(0))
    safe = safe_prime(64, entropy=entropy_of(1))
    for other in (safe, 2**61 - 1, safe + 2, 15):
        for pair in ((safe, other), (other, safe)):
            with pytest.raises(OwnFault, match="two different safe primes"):
                deal_from(*pair, threshold=2, members=3, entropy=entropy_of(0))


@pytest.mark.parametrize("threshold", [0, 1, 4])
def test_a_key_for_one_or_too_many_is_not_dealt(vectors_in, entropy_of, threshold):
    """One holder alone must not decrypt; more than there are never could."""
    primes = [int(text, 16) for text in vectors_in("paillier_primes")["primes"]["512"]]
    with pytest.raises(OwnFault, match=f"a Paillier key for {threshold} of 3"):
        deal_from(*primes, threshold=threshold, members=3, entropy=entropy_of(0))


def test_a_key_of_full_size_works(paillier_key, entropy_of):
    """3072 bits, two of three: encrypt, decrypt in part, combine."""
    public, shares = paillier_key(3072, 2, 3)
    ciphertext = encrypt(public, 123456789, entropy=entropy_of(0))

    assert combine(public, {share.index: partial_decryption(public, share, ciphertext) for share in shares[1:]}) == 123456789
