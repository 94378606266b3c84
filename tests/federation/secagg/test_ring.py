"""Vectors modulo 2^32."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.errors import Broken, OwnFault, PeerFault
from federation.secagg import ring

words = st.lists(st.integers(min_value=0, max_value=2**32 - 1), min_size=1, max_size=8)


def vector(values):
    return np.array(values, dtype=np.uint32)


@settings(derandomize=True, deadline=None)
@given(words, words)
def test_adding_is_python_addition_modulo_2_32(left, right):
    """In place, wrapping, and undone by subtracting."""
    length = min(len(left), len(right))
    total, values = vector(left[:length]), vector(right[:length])
    ring.add(total, values)
    assert total.tolist() == [(a + b) % 2**32 for a, b in zip(left, right, strict=False)]
    ring.subtract(total, values)
    assert total.tolist() == left[:length]


@settings(derandomize=True, deadline=None)
@given(st.lists(st.integers(min_value=-(2**31), max_value=2**31 - 1), min_size=1, max_size=8))
def test_centred_undoes_from_integers(values):
    """Integers of 31 bits and a sign go into the ring and come back."""
    assert ring.centred(ring.from_integers(np.array(values, dtype=np.int64))).tolist() == values


@settings(derandomize=True, deadline=None)
@given(st.integers(min_value=-(2**62), max_value=2**62))
def test_integers_are_reduced(value):
    """A wider integer enters as its remainder."""
    assert int(ring.from_integers(np.array([value], dtype=np.int64))[0]) == value % 2**32


@settings(derandomize=True, deadline=None)
@given(words)
def test_bytes_are_little_endian_and_come_back(values):
    """Four bytes a value, least significant first; what comes back can be added, and nobody writes into what was received."""
    body = ring.to_bytes(vector(values))
    assert body == b"".join(value.to_bytes(4, "little") for value in values)
    back = ring.from_bytes(body, len(values), accused="peer")
    total = ring.zeros(len(values))
    ring.add(total, back)
    assert total.tolist() == values
    assert not back.flags.writeable


@pytest.mark.parametrize("length", [0, 3, 5, 8])
def test_a_body_of_another_length_is_the_peers_fault(length):
    """Four bytes are one value, not some other number of them."""
    with pytest.raises(PeerFault, match="bad_length by mallory"):
        ring.from_bytes(bytes(length), 1, accused="mallory")


def test_other_shapes_and_types_are_refused():
    """No broadcasting, no silent conversion."""
    for total, values in (
        (ring.zeros(2), ring.zeros(1)),
        (ring.zeros(2), np.zeros(2, dtype=np.int64)),
        (np.zeros(2, dtype=np.int64), ring.zeros(2)),
    ):
        for operation in (ring.add, ring.subtract):
            with pytest.raises(OwnFault):
                operation(total, values)
    for conversion in (lambda: ring.centred(np.zeros(2)), lambda: ring.to_bytes(np.zeros(2)), lambda: ring.from_integers(np.zeros(2))):
        with pytest.raises(Broken):
            conversion()
