"""What is sealed under a customer's key says nothing without it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.errors import OwnFault
from federation.secagg.keys import Secret
from federation.secagg.shredding import digest_under, open_under, seal_under

KEY, OTHER = Secret(b"\x07" * 32), Secret(b"\x08" * 32)


@given(plain=st.binary(max_size=300), context=st.binary(max_size=50))
def test_what_was_sealed_opens_with_its_key_and_context_alone(plain, context):
    """And the same again is the same bytes: a turn that is repeated says nothing new."""
    sealed = seal_under(KEY, plain, context)

    assert open_under(KEY, sealed, context) == plain
    assert seal_under(KEY, plain, context) == sealed
    for key, place in ((OTHER, context), (KEY, context + b".")):
        with pytest.raises(OwnFault):
            open_under(key, sealed, place)


@given(plain=st.binary(max_size=60), place=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_a_changed_box_does_not_open(plain, place, flip):
    """Any byte changed, or any cut."""
    sealed = bytearray(seal_under(KEY, plain, b""))
    sealed[place % len(sealed)] ^= flip

    with pytest.raises(OwnFault):
        open_under(KEY, bytes(sealed), b"")
    with pytest.raises(OwnFault):
        open_under(KEY, seal_under(KEY, plain, b"")[: place % 40], b"")


def test_no_nonce_serves_two_contents():
    """Two contents of one context, and one content in two contexts, are sealed under different nonces; digests hang on the key."""
    boxes = [seal_under(KEY, plain, context)[:24] for plain, context in ((b"a", b"x"), (b"b", b"x"), (b"a", b"y"), (b"", b"xa"))]

    assert len(set(boxes)) == 4
    assert digest_under(KEY, b"a") != digest_under(OTHER, b"a")
