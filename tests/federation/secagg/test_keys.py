"""Secrets stay unseen, keys are bound to their purpose, the curves are the published ones."""

from __future__ import annotations

import copy
import hashlib
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.errors import OwnFault, PeerFault
from federation.secagg.keys import (
    Secret,
    derive,
    drawn,
    framed,
    number,
    sign,
    signing_public,
    verify,
    x25519_public,
    x25519_shared,
)  # fmt: skip

HIDDEN = b"hide me, hide me, hide me, hide!"


@pytest.mark.parametrize("shown", [repr, str, format, lambda s: f"{s:>40}", lambda s: "%s %r" % (s, s), lambda s: repr([s])])  # noqa: UP031
def test_a_secret_is_never_printed(shown):
    """However a Secret is turned into text, only its length is seen."""
    text = shown(Secret(HIDDEN))

    assert "Secret(32 bytes)" in text
    assert "hide" not in text
    assert HIDDEN.hex() not in text


@pytest.mark.parametrize("leak", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_secret_is_neither_pickled_nor_copied(leak):
    """Pickling or copying a Secret stops the caller."""
    with pytest.raises(OwnFault):
        leak(Secret(HIDDEN))


@pytest.mark.parametrize("leak", [bytes, hash, iter])
def test_a_secret_does_not_pass_for_bytes(leak):
    """A Secret cannot slip into an interface that takes bytes, nor into a set by its hash."""
    with pytest.raises(TypeError):
        leak(Secret(HIDDEN))


def test_secrets_compare_by_content():
    """Equal content is equal; bytes are never equal to a Secret."""
    assert Secret(HIDDEN) == Secret(bytes(HIDDEN))
    assert Secret(HIDDEN) != Secret(HIDDEN[:-1] + b"?")
    assert Secret(HIDDEN) != HIDDEN
    assert Secret(HIDDEN).reveal() == HIDDEN


@settings(derandomize=True, deadline=None)
@given(st.lists(st.binary(max_size=6), max_size=4), st.lists(st.binary(max_size=6), max_size=4))
def test_framing_is_injective(left, right):
    """Two different sequences of parts never give the same bytes."""
    assert (framed(*left) == framed(*right)) == (left == right)


def test_a_key_is_bound_to_purpose_and_context():
    """Another key, purpose or context, or the same bytes split otherwise between them, gives another key."""
    key = Secret(bytes(32))
    derived = [
        derive(key, purpose=b"a", context=b"bc").reveal(),
        derive(key, purpose=b"ab", context=b"c").reveal(),
        derive(key, purpose=b"a", context=b"b").reveal(),
        derive(key, purpose=b"a").reveal(),
        derive(Secret(bytes(31) + b"\x01"), purpose=b"a", context=b"bc").reveal(),
    ]

    assert len(set(derived)) == len(derived)
    assert {len(one) for one in derived} == {32}


def test_derivation_is_keyed_blake2b():
    """The formula of the docstring, spelled out with hashlib."""
    parts = (b"riverbank/derive/1", b"purpose", b"context")
    text = b"".join(len(part).to_bytes(4, "little") + part for part in parts)

    assert (
        derive(Secret(HIDDEN), purpose=b"purpose", context=b"context").reveal()
        == hashlib.blake2b(text, key=HIDDEN, digest_size=32).digest()
    )


@pytest.mark.parametrize("length", [0, 15, 65])
def test_a_weak_key_is_not_derived_from(length):
    """A key shorter than 16 or longer than 64 bytes is refused."""
    with pytest.raises(OwnFault):
        derive(Secret(bytes(length)), purpose=b"p")


@pytest.mark.parametrize("value", [-1, 1 << 64])
def test_a_number_has_eight_bytes(value):
    """A negative or overlong number is refused, not cut."""
    with pytest.raises(OwnFault):
        number(value)


def test_short_entropy_is_refused():
    """A source that gives fewer bytes than asked for is not used."""
    with pytest.raises(OwnFault):
        drawn(lambda count: bytes(count - 1), 32)


def test_x25519_is_rfc_7748(vectors_in):
    """The RFC's exchanges and key pairs."""
    vectors = vectors_in("x25519_rfc7748")
    for one in vectors["exchanges"]:
        shared = x25519_shared(Secret(bytes.fromhex(one["scalar"])), bytes.fromhex(one["public"]), accused="peer")
        assert shared.reveal().hex() == one["shared"]
    for one in vectors["keys"]:
        assert x25519_public(Secret(bytes.fromhex(one["scalar"]))).hex() == one["public"]


def test_a_key_of_low_order_accuses_its_owner(vectors_in):
    """A point whose shared secret everybody knows is the peer's fault."""
    for point in vectors_in("x25519_rfc7748")["low_order"]:
        with pytest.raises(PeerFault) as fault:
            x25519_shared(Secret(HIDDEN), bytes.fromhex(point), accused="mallory")
        assert (fault.value.kind, fault.value.accused) == ("bad_key", "mallory")


def test_a_key_of_the_wrong_length_is_refused():
    """A peer's is the peer's fault, our own is ours; libsodium would read beyond the end."""
    key = x25519_public(Secret(HIDDEN))
    for peer in (key[:31], key + b"x", b""):
        with pytest.raises(PeerFault, match="bad_key"):
            x25519_shared(Secret(HIDDEN), peer, accused="mallory")
    for own in (lambda: x25519_shared(Secret(bytes(31)), bytes(32), accused="m"), lambda: x25519_public(Secret(bytes(33)))):
        with pytest.raises(OwnFault):
            own()
    with pytest.raises(OwnFault):
        sign(Secret(bytes(64)), b"")


def test_ed25519_is_rfc_8032(vectors_in):
    """The RFC's keys and signatures."""
    for one in vectors_in("ed25519_rfc8032")["signatures"]:
        seed, message = Secret(bytes.fromhex(one["seed"])), bytes.fromhex(one["message"])
        assert signing_public(seed).hex() == one["public"]
        assert sign(seed, message).hex() == one["signature"]
        verify(bytes.fromhex(one["public"]), message, bytes.fromhex(one["signature"]), accused="x")


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.integers(min_value=0, max_value=(96 + 10) * 8 - 1))
def test_one_flipped_bit_breaks_a_signature(bit):
    """Whichever bit of key, signature or message flips, the sender is accused."""
    seed, message = Secret(HIDDEN), b"ten bytes!"
    whole = bytearray(signing_public(seed) + sign(seed, message) + message)
    whole[bit // 8] ^= 1 << bit % 8
    with pytest.raises(PeerFault, match="bad_signature by mallory"):
        verify(bytes(whole[:32]), bytes(whole[96:]), bytes(whole[32:96]), accused="mallory")


def test_a_signature_of_the_wrong_shape_is_the_senders_fault():
    """A key or signature with a byte more or less is refused, also where the bytes in a row would verify."""
    seed, said = Secret(HIDDEN), b"said"
    key, signature = signing_public(seed), sign(seed, said)
    for wrong in (
        (key + b"x", said, signature),
        (key[:-1], said, signature),
        (key, said[1:], signature + said[:1]),
        (key, signature[-1:] + said, signature[:-1]),
        (key, said, b""),
    ):
        with pytest.raises(PeerFault, match="bad_signature by mallory"):
            verify(*wrong, accused="mallory")
