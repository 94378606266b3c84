"""Adding packed integers adds their slots."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.errors import OwnFault
from federation.limits import COHORT_MAX
from federation.messages import AbandonReason
from federation.secagg.packing import OFFSET, SLOT_BITS, integers_for, pack, slots_in, unpack
from federation.secagg.quantize import UnusableSum
from federation.secagg.ring import from_integers

slot_values = st.integers(min_value=-OFFSET, max_value=OFFSET)


def ring(values):
    return from_integers(np.array(values, dtype=np.int64))


@settings(derandomize=True, deadline=None)
@given(st.integers(1, 7), st.integers(1, 5), st.data())
def test_sums_of_packed_integers_are_packed_sums(slots, members, choose):
    """Whatever the values within bounds, negative ones too, and wherever the last integer ends."""
    length = choose.draw(st.integers(1, 20))
    rows = [choose.draw(st.lists(slot_values, min_size=length, max_size=length)) for _ in range(members)]
    packed = [pack(ring(row), slots) for row in rows]
    added = [sum(column) for column in zip(*packed, strict=True)]

    assert len(added) == integers_for(length, slots)
    assert unpack(added, length, slots, members).tolist() == ring(np.sum(rows, axis=0)).tolist()


@pytest.mark.parametrize("value", [OFFSET, -OFFSET])
def test_the_largest_cohort_at_its_limit_does_not_overflow(value):
    """256 members with every slot full: the neighbours are right."""
    packed = pack(ring([value, 0, value]), 3)
    added = [COHORT_MAX * integer for integer in packed]

    assert unpack(added, 3, 3, COHORT_MAX).tolist() == ring([COHORT_MAX * value, 0, COHORT_MAX * value]).tolist()


@pytest.mark.parametrize("value", [OFFSET + 1, -OFFSET - 1, -(2**31)])
def test_a_value_beyond_its_slot_is_refused(value):
    """It would run into its neighbour."""
    with pytest.raises(OwnFault):
        pack(ring([value]), 3)


def test_slots_stay_below_the_modulus():
    """The largest packed integer of 3072 bits' slots is below any modulus of 3072 bits."""
    assert slots_in(3072) == 95
    assert SLOT_BITS * slots_in(3072) <= 3071
    assert slots_in(33) == 1


@pytest.mark.parametrize("plain", [[1 << 96], [-1], [1 << 64], [2 * OFFSET * 2 + 1]])
def test_a_sum_out_of_bounds_is_bad(plain):
    """An integer longer than its slots, a padding slot that is not empty, a slot beyond the members' reach."""
    with pytest.raises(UnusableSum) as unusable:
        unpack(plain, 2, 3, 2)

    assert unusable.value.reason is AbandonReason.BAD_SUM


@pytest.mark.parametrize(("count", "members"), [(0, 2), (2, 2), (1, 0), (1, COHORT_MAX + 1)])
def test_sums_of_another_round_are_ours_to_avoid(count, members):
    """Another number of integers, or no possible cohort."""
    with pytest.raises(OwnFault):
        unpack([0] * count, 2, 3, members)
