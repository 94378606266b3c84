"""Many ring values in one big integer, so that adding the integers adds the values.

Called by the Paillier sum.
Never lets a slot run into its neighbour: the largest cohort at its limits fits a slot, proved at import.

A slot has 32 bits and holds value + OFFSET, which is not negative; a sum over k members holds the sum + k * OFFSET. Packing
is exact: the error of a sum is that of rounding alone (`quantize`), below one quantum per member and coordinate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from federation.errors import OwnFault, require
from federation.limits import COHORT_MAX, COORDINATE_QUANTA_MAX, NOISE_QUANTA_MAX
from federation.messages import AbandonReason
from federation.secagg.quantize import UnusableSum
from federation.secagg.ring import RingVector, centred, from_integers

SLOT_BITS: Final = 32
OFFSET: Final = COORDINATE_QUANTA_MAX + NOISE_QUANTA_MAX

require(COHORT_MAX * 2 * OFFSET < 1 << SLOT_BITS, "the largest cohort overflows a slot")


def slots_in(modulus_bits: int) -> int:
    """How many slots fit below any modulus of that many bits."""
    return (modulus_bits - 1) // SLOT_BITS


def integers_for(length: int, slots: int) -> int:
    """How many integers of `slots` slots hold `length` values."""
    return -(-length // slots)


def pack(values: RingVector, slots: int) -> list[int]:
    """uint32[d] -> integers of `slots` slots, the first value lowest; OwnFault for a value beyond +-OFFSET."""
    signed = centred(values)
    if int(np.max(np.abs(signed))) > OFFSET:
        raise OwnFault("a value does not fit its slot")
    body = (signed + OFFSET).astype("<u4").tobytes()
    step = 4 * slots
    return [int.from_bytes(body[first : first + step], "little") for first in range(0, len(body), step)]


def unpack(integers: Sequence[int], length: int, slots: int, members: int) -> RingVector:
    """uint32[length]: the sum over `members` in packed sums; UnusableSum (bad_sum) if a slot is beyond what they can have put in."""
    if len(integers) != integers_for(length, slots) or not 1 <= members <= COHORT_MAX:
        raise OwnFault("these are not the packed sums of the round")
    if any(not 0 <= integer < 1 << (SLOT_BITS * slots) for integer in integers):
        raise UnusableSum(AbandonReason.BAD_SUM, "a packed sum has overflowed its slots")
    body = b"".join(integer.to_bytes(4 * slots, "little") for integer in integers)
    raw = np.frombuffer(body, dtype="<u4")
    if bool(np.any(raw[:length] > members * 2 * OFFSET)) or bool(np.any(raw[length:])):
        raise UnusableSum(AbandonReason.BAD_SUM, "a slot is beyond what the members can have put in")
    return from_integers(raw[:length].astype(np.int64) - members * OFFSET)
