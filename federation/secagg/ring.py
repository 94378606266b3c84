"""Vectors modulo 2^32: the only place where wrapping around is meant.

Called by masks and quantisation, by the chunk sums and by the codec of chunk bodies.
Never decides whether a value fits: bounds are proved in `federation.limits` and checked in `quantize`."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from federation.errors import OwnFault, PeerFault, require

RingVector = NDArray[np.uint32]
IntVector = NDArray[np.int64]

VALUE_BYTES: Final = 4


def zeros(length: int) -> RingVector:
    """The empty sum: uint32[length]."""
    return np.zeros(length, dtype=np.uint32)


def add(total: RingVector, values: RingVector) -> None:
    """Add: total += values modulo 2^32, in place; both uint32 of one length."""
    _same(total, values)
    np.add(total, values, out=total)


def subtract(total: RingVector, values: RingVector) -> None:
    """Take away: total -= values modulo 2^32, in place; both uint32 of one length."""
    _same(total, values)
    np.subtract(total, values, out=total)


def from_integers(values: IntVector) -> RingVector:
    """int64[d] -> uint32[d], reduced modulo 2^32."""
    require(values.dtype == np.int64, "only int64 is put into the ring")
    return values.astype(np.uint32)  # C conversion: modulo 2^32 by definition.


def centred(values: RingVector) -> IntVector:
    """uint32[d] -> int64[d] in [-2^31, 2^31): the representative nearest to zero."""
    require(values.dtype == np.uint32, "only uint32 is a ring vector")
    return values.view(np.int32).astype(np.int64)


def to_bytes(values: RingVector) -> bytes:
    """Little-endian, 4 bytes each."""
    require(values.dtype == np.uint32, "only uint32 is a ring vector")
    return values.astype("<u4", copy=False).tobytes()


def from_bytes(body: bytes, length: int, *, accused: str) -> RingVector:
    """uint32[length], a read-only view of `body`; PeerFault "bad_length" unless that has exactly 4 * length bytes."""
    if len(body) != VALUE_BYTES * length:
        raise PeerFault("bad_length", f"{len(body)} bytes where {VALUE_BYTES * length} were due", accused=accused)
    return np.frombuffer(body, dtype="<u4").astype(np.uint32, copy=False)


def _same(total: RingVector, values: RingVector) -> None:
    if total.shape != values.shape or total.dtype != np.uint32 or values.dtype != np.uint32:
        raise OwnFault(f"cannot add {values.dtype}{values.shape} to {total.dtype}{total.shape} in the ring")
