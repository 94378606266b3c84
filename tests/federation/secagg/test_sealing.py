"""A box opens for its recipient, at its address, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.public import PrivateKey, SealedBox

from federation.errors import OwnFault, PeerFault
from federation.ids import Lane
from federation.messages import HeadName
from federation.secagg.keys import Secret, x25519_public
from federation.secagg.sealing import (
    BOX_OVERHEAD_BYTES,
    PURPOSE_ROUND_KEYS,
    PURPOSE_SELF_SEED,
    SEAL_OVERHEAD_BYTES,
    Address,
    box_shares,
    channel_key,
    open_shares,
    seal,
    unseal,
)

ALICE, BOB, EVE = (Secret(bytes([k]) * 32) for k in (1, 2, 3))
PLAIN = bytes(range(64))
ADDRESS = Address(
    federation="nordic", lane=Lane(HeadName.FRAUD), epoch=2, round=9, sender="alice", recipient="bob",
    roster_digest=b"d" * 32, purpose=PURPOSE_SELF_SEED,
)  # fmt: skip


def key_between(own, peer):
    return channel_key(own, x25519_public(own), x25519_public(peer), accused="peer")


def boxed(entropy, plain=PLAIN, address=ADDRESS):
    return box_shares(plain, address, key=key_between(ALICE, BOB), entropy=entropy)


def opened(box, address=ADDRESS, own=BOB, peer=ALICE, plain_bytes=64):
    return open_shares(box, address, key=key_between(own, peer), plain_bytes=plain_bytes)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.binary(max_size=100))
def test_a_box_opens_for_its_recipient(entropy_of, plain):
    """What went in comes out, and the box is 40 bytes longer."""
    box = boxed(entropy_of(1), plain)

    assert opened(box, plain_bytes=len(plain)) == plain
    assert len(box) == len(plain) + BOX_OVERHEAD_BYTES


@pytest.mark.parametrize(
    "change",
    [
        {"federation": "baltic"}, {"lane": Lane(HeadName.CREDIT)}, {"lane": Lane(HeadName.FRAUD, 1)}, {"epoch": 3}, {"round": 10},
        {"sender": "carol"}, {"recipient": "carol"}, {"roster_digest": b"e" * 32}, {"purpose": PURPOSE_ROUND_KEYS},
        {"sender": "bob", "recipient": "alice"},
    ],
)  # fmt: skip
def test_a_box_carried_elsewhere_does_not_open(entropy_of, change):
    """Another federation, lane, epoch, round, pair, direction, roster or purpose is refused and its claimed sender named."""
    address = replace(ADDRESS, **change)
    with pytest.raises(PeerFault) as fault:
        opened(boxed(entropy_of(1)), address)

    assert (fault.value.kind, fault.value.accused) == ("bad_box", address.sender)


def test_nobody_else_opens_or_forges_a_box(entropy_of):
    """Eve can neither read Alice's box nor speak for her."""
    box = boxed(entropy_of(1))
    for own, peer in ((EVE, ALICE), (BOB, EVE)):
        with pytest.raises(PeerFault, match="bad_box by alice"):
            opened(box, own=own, peer=peer)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.integers(min_value=0, max_value=(len(PLAIN) + BOX_OVERHEAD_BYTES) * 8 - 1))
def test_one_flipped_bit_spoils_a_box(entropy_of, bit):
    """Nonce, text and tag are all authenticated."""
    box = bytearray(boxed(entropy_of(1)))
    box[bit // 8] ^= 1 << bit % 8
    with pytest.raises(PeerFault, match="bad_box by alice"):
        opened(bytes(box))


@pytest.mark.parametrize("length", [0, 10, 39, 40, 103, 105])
def test_a_box_of_another_length_is_refused_before_it_is_opened(length):
    """The number of bytes is known in advance."""
    with pytest.raises(PeerFault, match="were due"):
        opened(bytes(length))


def test_keys_of_a_channel_are_checked():
    """A low-order key or our own key sent back accuses the peer; otherwise both ends have the same key."""
    for key in (bytes(32), x25519_public(ALICE)):
        with pytest.raises(PeerFault, match="bad_key by bob"):
            channel_key(ALICE, x25519_public(ALICE), key, accused="bob")
    assert key_between(ALICE, BOB) == key_between(BOB, ALICE)


def test_nonces_come_from_entropy_and_differ(entropy_of):
    """The same text boxed twice looks different; the same entropy gives the same box."""
    entropy = entropy_of(1)

    assert boxed(entropy) != boxed(entropy)
    assert boxed(entropy_of(1)) == boxed(entropy_of(1))


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.binary(max_size=100))
def test_a_sealed_body_is_a_nacl_sealed_box(entropy_of, plain):
    """Libsodium opens what we seal, and we open what libsodium seals."""
    key = PrivateKey(BOB.reveal())
    sealed = seal(plain, x25519_public(BOB), entropy=entropy_of(2))

    assert SealedBox(key).decrypt(sealed) == plain
    assert unseal(SealedBox(key.public_key).encrypt(plain), BOB, plain_bytes=len(plain), accused="x") == plain
    assert len(sealed) == len(plain) + SEAL_OVERHEAD_BYTES


def test_a_sealed_body_opens_for_its_recipient_only(entropy_of):
    """Another key, another length, or one flipped bit of key, text or tag is refused and the sender named."""
    sealed = seal(PLAIN, x25519_public(BOB), entropy=entropy_of(2))
    flipped = [sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :] for at in (0, 40, len(sealed) - 1)]
    wrong = ((sealed, EVE, len(PLAIN)), (sealed, BOB, len(PLAIN) - 1), (b"", BOB, 0), *((body, BOB, len(PLAIN)) for body in flipped))
    for body, key, due in wrong:
        with pytest.raises(PeerFault, match="bad_seal by alice"):
            unseal(body, key, plain_bytes=due, accused="alice")


def test_a_sealed_bodys_key_of_low_order_is_refused():
    """Everybody could open it."""
    with pytest.raises(PeerFault, match="bad_seal by alice"):
        unseal(bytes(len(PLAIN) + SEAL_OVERHEAD_BYTES), BOB, plain_bytes=len(PLAIN), accused="alice")


def test_ephemeral_keys_differ(entropy_of):
    """Sealing twice draws twice."""
    entropy = entropy_of(2)

    assert seal(PLAIN, x25519_public(BOB), entropy=entropy)[:32] != seal(PLAIN, x25519_public(BOB), entropy=entropy)[:32]


def test_a_sealing_key_of_another_length_is_ours_to_avoid(entropy_of):
    """It comes from a verified certificate, so a wrong one is our own mistake."""
    with pytest.raises(OwnFault):
        seal(PLAIN, bytes(31), entropy=entropy_of(1))
