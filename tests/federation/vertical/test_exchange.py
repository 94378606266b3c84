"""My numbers under encryption, your columns, the sums for you alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.errors import OwnFault, PeerFault
from federation.vertical import exchange as ex
from federation.vertical.encryption import HeldKey, key_to_bytes, peer_key
from federation.vertical.fixed_point import KNOTS, NUMBER_MAX, PARTS, SLOT_BITS, knots_of, rows_per_integer, slots_in
from tests.federation.vertical.conftest import BITS, seeded

PRIMES = json.loads((Path(__file__).parents[2] / "vectors" / "secagg" / "paillier_primes.json").read_text())["primes"]
KEY = HeldKey.drawn(BITS, entropy=seeded("key"))
PEER = peer_key(*key_to_bytes(KEY), accused="owner", bits_min=BITS)


def made(rows, seed, sets=KNOTS):
    rng = np.random.Generator(np.random.PCG64(seed))
    numbers = rng.integers(0, NUMBER_MAX + 1, (sets, rows))
    low, above = knots_of(rng.uniform(-8, 8, rows))
    columns = [np.flatnonzero(rng.random(rows) < share) for share in (1.0, 0.5, 0.1)]
    return numbers, ex.Choice(low, above), [column for column in columns if len(column)]


def exchanged(key, peer, numbers, choice, columns, seed="x"):
    entropy = seeded(seed)
    ciphertexts = ex.encrypt_numbers(key, numbers, entropy=entropy)
    blinded = ex.sum_columns(peer, ciphertexts, len(numbers), choice, columns, entropy=entropy, accused="owner")
    values = ex.open_sums(key, blinded.ciphertexts, numbers.shape[1], accused="helper")
    return ciphertexts, blinded, values, ex.read_sums(values, blinded.blinds, [len(c) for c in columns], accused="owner")


@settings(derandomize=True, deadline=None, max_examples=12)
@given(st.integers(1, 60), st.integers(0, 1000))
def test_the_sums_are_exact(rows, seed):
    """To the last bit, whatever rows share a ciphertext and however full the last one is."""
    numbers, choice, columns = made(rows, seed)

    assert exchanged(KEY, PEER, numbers, choice, columns)[3] == ex.plain_sums(numbers, choice, columns)


def test_the_largest_numbers_fill_their_slots_and_no_more():
    """All numbers at their bound, in every slot: nothing runs over."""
    rows = 3 * rows_per_integer(BITS)
    numbers = np.full((KNOTS, rows), NUMBER_MAX)
    choice, columns = ex.Choice(np.full(rows, KNOTS - 2), np.full(rows, PARTS)), [np.arange(rows)]

    assert exchanged(KEY, PEER, numbers, choice, columns)[3] == [rows * PARTS * NUMBER_MAX]


def test_a_key_of_3072_bits_does_the_same():
    """The size that production demands."""
    key = HeldKey.from_primes(*(int(prime, 16) for prime in PRIMES["3072"]), entropy=seeded("large"))
    peer = peer_key(*key_to_bytes(key), accused="owner")
    numbers, choice, columns = made(50, 5, sets=2)
    choice = ex.Choice(choice.low % 1, choice.above)

    assert rows_per_integer(3072) == 36
    assert exchanged(key, peer, numbers, choice, columns)[3] == ex.plain_sums(numbers, choice, columns)


def test_what_crosses_is_ciphertext_or_blinded():
    """The same numbers look new each time; what the owner decrypts, and what it gives back, does not depend on the sums."""
    numbers, choice, columns = made(40, 7)
    first, second = (exchanged(KEY, PEER, numbers, choice, columns, seed=seed) for seed in "ab")
    size = KEY.ciphertext_bytes
    pieces = [body[at : at + size] for run in (first, second) for body in (run[0], run[1].ciphertexts) for at in range(0, len(body), size)]

    assert len(set(pieces)) == len(pieces)
    assert first[2] != second[2]
    assert first[3] == second[3]
    # The opened slots over many blindings: every bit is fair, for sums of nothing as for the largest.
    for numbers in (np.zeros((1, 2), dtype=np.int64), np.full((1, 2), NUMBER_MAX)):
        both = ex.Choice(np.zeros(2, dtype=np.int64), np.zeros(2, dtype=np.int64))
        ciphertexts = ex.encrypt_numbers(KEY, numbers, entropy=seeded("n"))
        blinded = ex.sum_columns(PEER, ciphertexts, 1, both, [np.arange(2)] * 400, entropy=seeded("s"), accused="owner")
        opened = np.frombuffer(ex.open_sums(KEY, blinded.ciphertexts, 2, accused="x"), dtype=np.uint8).reshape(400, 5)
        bits = np.unpackbits(opened, axis=1, bitorder="little")[:, : SLOT_BITS - 1]
        assert np.all(np.abs(bits.mean(axis=0) - 0.5) < 0.12)


def test_the_owner_does_not_see_which_rows_were_chosen():
    """Re-randomised: the randomness of a column's ciphertext is not the product of its rows'."""
    numbers = np.zeros((1, 4), dtype=np.int64)
    choice = ex.Choice(np.zeros(4, dtype=np.int64), np.zeros(4, dtype=np.int64))
    ciphertexts = ex.encrypt_numbers(KEY, numbers, entropy=seeded("n"))
    twice = [ex.sum_columns(PEER, ciphertexts, 1, choice, [np.arange(2)], entropy=seeded(s), accused="o").ciphertexts for s in "ab"]
    # Without their plaintexts: c / (1 + m N).
    bare = [
        c * pow(1 + KEY.decrypt(c) * KEY.modulus, -1, KEY.square) % KEY.square for c in (int.from_bytes(body, "little") for body in twice)
    ]
    assert bare[0] != bare[1]


def bent(body, at, value):
    return body[:at] + value + body[at + len(value) :]


@pytest.mark.parametrize(
    "bend",
    [
        lambda body: body[:-1],
        lambda body: body + bytes(KEY.ciphertext_bytes),
        lambda body: bent(body, 0, bytes(KEY.ciphertext_bytes)),
        lambda body: bent(body, 0, (KEY.square + 1).to_bytes(KEY.ciphertext_bytes + 1, "little")[: KEY.ciphertext_bytes]),
        lambda body: bent(body, 0, (5 * KEY.modulus).to_bytes(KEY.ciphertext_bytes, "little")),
        lambda body: b"\xff" * len(body),
    ],
)
def test_malformed_and_out_of_range_ciphertexts_accuse_their_sender(bend):
    """Another length, zero, the square and more, a multiple of N: from the owner and from the helper."""
    numbers, choice, columns = made(10, 1)
    ciphertexts, blinded, *_ = exchanged(KEY, PEER, numbers, choice, columns)
    with pytest.raises(PeerFault, match="bad_ciphertext by owner"):
        ex.sum_columns(PEER, bend(ciphertexts), KNOTS, choice, columns, entropy=seeded(1), accused="owner")
    with pytest.raises(PeerFault, match="bad_ciphertext by helper"):
        ex.open_sums(KEY, bend(blinded.ciphertexts), 10, accused="helper")


def test_opened_sums_that_cannot_be_accuse_the_owner():
    """Cut short, beyond its bits, or a sum larger than its rows can make: a flipped bit shows where it matters."""
    numbers, choice, columns = made(10, 1)
    *_, blinded, values, _ = exchanged(KEY, PEER, numbers, choice, columns)
    counts = [len(column) for column in columns]
    for wrong in (values[:-1], b"\xff" * len(values), bytes(byte ^ 0x20 for byte in values)):
        with pytest.raises(PeerFault, match="bad_sum by owner"):
            ex.read_sums(wrong, blinded.blinds, counts, accused="owner")


@pytest.mark.parametrize(
    ("modulus", "hiding_base"),
    [
        (KEY.modulus >> 8, KEY.hiding_base),
        (KEY.modulus + 1, KEY.hiding_base),
        ((1 << 9000) + 1, 4),
        (KEY.modulus, 1),
        (KEY.modulus, 0),
        (KEY.modulus, KEY.first),
        (KEY.modulus, KEY.square),
        ((1 << 521) - 1, 4),
    ],
)
def test_what_is_no_key_is_refused(modulus, hiding_base):
    """Too short, even, prime, or with a base that is no unit; so is a long key where a short one would do, beyond the bound."""
    with pytest.raises(PeerFault, match="bad_key by mallory"):
        peer_key(modulus.to_bytes(1200, "little"), hiding_base.to_bytes(1200, "little"), accused="mallory", bits_min=BITS)


def test_production_takes_3072_bits_at_least():
    """Without the tests' leave a small key is refused, whoever offers it; primes never show."""
    with pytest.raises(PeerFault, match="512 bits where 3072"):
        peer_key(*key_to_bytes(KEY), accused="peer")
    assert repr(KEY).count("=") == 2
    assert str(KEY.first) not in repr(KEY)


def test_encryption_is_the_textbooks():
    """The holder's short cut gives what anybody's encryption gives; decryption is Paillier's."""
    entropy = seeded("e")
    for plain in (0, 1, KEY.modulus - 1):
        ciphertext = KEY.encrypt(plain, entropy=entropy)
        order = (KEY.first - 1) * (KEY.second - 1)
        textbook = (pow(ciphertext, order, KEY.square) - 1) // KEY.modulus * pow(order, -1, KEY.modulus) % KEY.modulus
        assert KEY.decrypt(ciphertext) == textbook == plain
        assert KEY.decrypt(PEER.rerandomised(ciphertext, 5, entropy=entropy)) == (plain + 5) % KEY.modulus
    with pytest.raises(OwnFault, match="below the modulus"):
        KEY.encrypt(KEY.modulus, entropy=entropy)
    assert HeldKey.drawn(256, entropy=seeded("k")).bits == 256
    with pytest.raises(OwnFault, match="make no key"):
        HeldKey.from_primes(13, 19, entropy=seeded(1))


def test_numbers_out_of_their_bounds_are_ours_to_refuse():
    """Nothing is cut to fit."""
    for numbers in (np.full((1, 2), -1), np.full((1, 2), NUMBER_MAX + 1), np.zeros((0, 2), dtype=np.int64)):
        with pytest.raises((OwnFault, ValueError)):
            ex.encrypt_numbers(KEY, numbers, entropy=seeded(1))
    _, choice, _ = made(4, 1)
    for columns in ([], [np.zeros(0, dtype=np.int64)]):
        with pytest.raises(OwnFault, match="none of them empty"):
            ex.sum_columns(PEER, b"", KNOTS, choice, columns, entropy=seeded(1), accused="owner")
    assert slots_in(2 + 128 + SLOT_BITS) == 1
