"""Any threshold of holders decrypts a sum, and the textbook agrees."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.errors import OwnFault, PeerFault
from federation.secagg.keys import Secret, number
from federation.secagg.paillier import (
    KeyShare,
    PublicKey,
    add,
    combine,
    encrypt,
    numbers_from_bytes,
    numbers_to_bytes,
    partial_decryption,
    whole_weights,
)

BITS = 512


@pytest.fixture(scope="module")
def key(paillier_key):
    return paillier_key(BITS, 3, 5)


def textbook_decryption(modulus, ciphertext):
    """Paillier 1999 with the primes: L(c^lambda mod N^2) / lambda mod N."""
    primes = json.loads((Path(__file__).parents[2] / "vectors" / "secagg" / "paillier_primes.json").read_text())["primes"][str(BITS)]
    first, second = (int(prime, 16) for prime in primes)
    order = math.lcm(first - 1, second - 1)
    return (pow(ciphertext, order, modulus**2) - 1) // modulus * pow(order, -1, modulus) % modulus


def decrypted(key, ciphertext, indices):
    public, shares = key
    return combine(public, {i: partial_decryption(public, shares[i - 1], ciphertext) for i in indices})


@settings(derandomize=True, deadline=None, max_examples=20)
@given(st.lists(st.integers(min_value=0, max_value=(1 << (BITS - 4)) - 1), min_size=1, max_size=4))
def test_sums_decrypt_as_the_textbook_says(key, entropy_of, plains):
    """The product of ciphertexts is the sum of plaintexts, for the threshold and for whoever knows the primes."""
    public = key[0]
    entropy = entropy_of(len(plains))
    total = add(public, [encrypt(public, plain, entropy=entropy) for plain in plains])

    assert textbook_decryption(public.modulus, total) == sum(plains) % public.modulus
    assert decrypted(key, total, (1, 3, 4)) == sum(plains) % public.modulus


def test_any_threshold_of_holders_decrypts(key, entropy_of):
    """All ten sets of three of five, and more than three."""
    ciphertext = encrypt(key[0], 4711, entropy=entropy_of(1))
    for indices in [*itertools.combinations(range(1, 6), 3), (1, 2, 3, 4, 5)]:
        assert decrypted(key, ciphertext, indices) == 4711


def test_fewer_holders_do_not_decrypt(key, entropy_of):
    """Two are refused; and if the rule were two, the result would be no plaintext at all."""
    ciphertext = encrypt(key[0], 4711, entropy=entropy_of(1))
    with pytest.raises(OwnFault, match="where 3 are needed"):
        decrypted(key, ciphertext, (1, 2))
    with pytest.raises(OwnFault, match="not checked"):
        decrypted((replace(key[0], threshold=2), key[1]), ciphertext, (1, 2))


def test_a_wrong_partial_is_not_mistaken_for_a_plaintext(key, entropy_of):
    """Unchecked, it leaves no multiple of the modulus."""
    public, shares = key
    ciphertext = encrypt(public, 4711, entropy=entropy_of(1))
    partials = {i: partial_decryption(public, shares[i - 1], ciphertext) for i in (1, 2, 3)}
    for wrong in (partials | {2: partials[2] * 2 % public.square}, partials | {2: partials[3]}):
        with pytest.raises(OwnFault, match="not checked"):
            combine(public, wrong)
    for stranger in (0, 6):
        with pytest.raises(OwnFault, match="by nobody"):
            combine(public, {1: partials[1], 2: partials[2], stranger: partials[3]})


def test_weights_interpolate_at_zero():
    """D times Lagrange's weights, whole, so that D f(0) comes out."""

    class Five:
        factorial = 120

    for indices in itertools.combinations(range(1, 6), 3):
        weights = whole_weights(Five, indices)
        assert sum(weight * (7 * i * i - 3 * i + 11) for i, weight in weights.items()) == 120 * 11


def test_encryption_hides(key, entropy_of):
    """The same plaintext looks different each time; another plaintext is as long."""
    public = key[0]
    entropy = entropy_of(5)
    ciphertexts = {encrypt(public, 1, entropy=entropy) for _ in range(5)}

    assert len(ciphertexts) == 5
    assert all(textbook_decryption(public.modulus, one) == 1 for one in ciphertexts)


def test_a_plaintext_is_below_the_modulus(key, entropy_of):
    """Another would come back reduced."""
    public = key[0]
    assert textbook_decryption(public.modulus, encrypt(public, public.modulus - 1, entropy=entropy_of(0))) == public.modulus - 1
    for plain in (-1, public.modulus):
        with pytest.raises(OwnFault):
            encrypt(public, plain, entropy=entropy_of(0))


def test_keys_are_written_and_read(key):
    """Public key and shares come back as they were; the share's repr shows nothing."""
    public, shares = key

    assert PublicKey.from_bytes(public.to_bytes(), bits_min=BITS) == public
    assert [KeyShare.from_bytes(share.to_bytes(), public) for share in shares] == list(shares)
    assert repr(shares[0]) == "KeyShare(index=1, exponent=Secret(128 bytes))"


def test_small_keys_are_refused(key, paillier_key):
    """Unless a test asks for them, 3072 bits are the least."""
    with pytest.raises(OwnFault, match="512 bits where 3072"):
        PublicKey.from_bytes(key[0].to_bytes())
    large = paillier_key(3072, 2, 3)[0]
    assert PublicKey.from_bytes(large.to_bytes()) == large


def test_what_is_no_public_key_is_refused(key):
    """Cut anywhere, another header, or parts that do not belong together."""
    public = key[0]
    content = public.to_bytes()
    for wrong in (b"", b"R" + content[1:], content[1:], content[:40], content[:-1], content + b"\x05", content + number(0)[:4]):
        with pytest.raises(OwnFault, match=r"not a Paillier|cut short"):
            PublicKey.from_bytes(wrong, bits_min=BITS)
    for change in (
        {"threshold": 1},
        {"threshold": 6},
        {"checks": public.checks * 60},
        {"modulus": public.modulus + 1},
        {"modulus": 1 << BITS, "hiding_base": 3, "check_base": 5, "checks": (7,) * 5},
        {"hiding_base": 1},
        {"hiding_base": public.square},
        {"check_base": public.modulus},
        {"checks": (*public.checks[:4], 0)},
    ):
        with pytest.raises(OwnFault, match=r"a Paillier key|cut short"):
            PublicKey.from_bytes(replace(public, **change).to_bytes(), bits_min=BITS)


def test_a_share_of_another_key_is_refused(key):
    """Its check value would not be the one in the public key; nothing of it is quoted."""
    public, shares = key
    content = shares[0].to_bytes()
    raised = Secret((shares[0].value() + 1).to_bytes(128, "little"))
    for wrong in (
        b"",
        b"R" + content[1:],
        content[1:],
        content[:39],
        KeyShare(1, raised).to_bytes(),
        KeyShare(2, shares[0].exponent).to_bytes(),
    ):
        with pytest.raises(OwnFault) as fault:
            KeyShare.from_bytes(wrong, public)
        assert len(str(fault.value)) < 60
    for wrong_share in (KeyShare(0, shares[0].exponent), KeyShare(6, shares[0].exponent), KeyShare(1, Secret(bytes(128)))):
        with pytest.raises(OwnFault, match="does not belong"):
            wrong_share.require_of(public)


def test_ciphertexts_travel_and_misfits_accuse_their_sender(key, entropy_of):
    """Another length, zero, the square itself, a multiple of the modulus: none is a ciphertext."""
    public = key[0]
    ciphertexts = [encrypt(public, k, entropy=entropy_of(k)) for k in range(3)]
    assert numbers_from_bytes(public, numbers_to_bytes(public, ciphertexts), 3, accused="peer") == ciphertexts
    for body, count in (
        (numbers_to_bytes(public, ciphertexts), 2),
        (numbers_to_bytes(public, ciphertexts)[:-1], 3),
        (numbers_to_bytes(public, [0]), 1),
        (numbers_to_bytes(public, [public.square]), 1),
        (numbers_to_bytes(public, [public.square + 1]), 1),
        (numbers_to_bytes(public, [public.modulus * 5]), 1),
    ):
        with pytest.raises(PeerFault, match="bad_ciphertext by mallory"):
            numbers_from_bytes(public, body, count, accused="mallory")
