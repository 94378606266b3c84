"""Customers' sums into the ring and back: the mean is right, nothing wraps, what cannot be is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.errors import OwnFault
from federation.limits import COHORT_MAX, COORDINATE_QUANTA_MAX, NOISE_QUANTA_MAX, NOISE_SIGMA_MAX
from federation.messages import AbandonReason
from federation.secagg.quantize import (
    UnusableSum,
    decode_sum,
    encode_contribution,
    parameter_problem,
)
from federation.secagg.ring import centred, from_integers

QUIET = np.zeros(5, dtype=np.int64)


def total_of(*values):
    return np.array(values, dtype=np.int64)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.lists(st.integers(-1000, 1000), min_size=4, max_size=4), st.integers(0, 250)), min_size=1, max_size=6))
def test_the_mean_is_over_customers(parameters, members):
    """The decoded mean is the sum of all customers' integers over their number; the number is exact."""
    params = parameters()
    total = np.zeros(5, dtype=np.uint32)
    for quanta, customers in members:
        total += encode_contribution(total_of(*(customers * q for q in quanta), customers * params.count_quanta), QUIET, params)
    count = sum(customers for _, customers in members)
    if count == 0:
        with pytest.raises(UnusableSum):
            decode_sum(total, params, len(members))
        return
    mean, decoded = decode_sum(total, params, len(members))

    assert decoded == count
    assert mean * 1000 * count == pytest.approx([sum(n * quanta[k] for quanta, n in members) for k in range(4)], abs=1e-6)


def test_noise_is_added_to_every_coordinate_and_the_count(parameters):
    """What is encoded with noise is what is encoded without, plus the noise, in the ring."""
    total, noise = total_of(100, -200, 300, 0, 500), total_of(5, -6, 7, -8, -9)

    noisy, quiet = (encode_contribution(total, each, parameters()) for each in (noise, QUIET))
    assert (centred(noisy) - centred(quiet)).tolist() == noise.tolist()


def test_misfits_are_refused(parameters):
    """Wrong shapes and types, a negative count, a sum or noise beyond its bound, unsound parameters."""
    params, zero = parameters(), np.zeros(5, dtype=np.int64)
    for wrong in (
        (np.zeros(4, dtype=np.int64), QUIET, params),
        (zero, np.zeros(4, dtype=np.int64), params),
        (zero, np.zeros(5), params),
        (np.zeros(5), QUIET, params),
        (total_of(0, 0, 0, 0, -1), QUIET, params),
        (total_of(COORDINATE_QUANTA_MAX + 1, 0, 0, 0, 10), QUIET, params),
        (total_of(0, 0, 0, 0, COORDINATE_QUANTA_MAX + 1), QUIET, params),
        (zero, total_of(0, 0, 0, 0, NOISE_QUANTA_MAX + 1), params),
        (zero, total_of(-NOISE_QUANTA_MAX - 1, 0, 0, 0, 0), params),
        (zero, QUIET, parameters(clip_quanta=0)),
    ):
        with pytest.raises(OwnFault):
            encode_contribution(*wrong)


@pytest.mark.parametrize(
    "change",
    [
        {"clip_norm": 0.0}, {"clip_norm": math.nan}, {"clip_norm": math.inf}, {"clip_quanta": 0}, {"clip_quanta": -1},
        {"clip_quanta": COORDINATE_QUANTA_MAX + 1}, {"count_quanta": 0}, {"count_quanta": COORDINATE_QUANTA_MAX + 1},
        {"noise_sigma": -1.0}, {"noise_sigma": math.nan}, {"noise_sigma": 16.1 * NOISE_SIGMA_MAX}, {"dimension": 0},
        {"dimension": (1 << 20) + 1}, {"chunk_length": 0}, {"clip_quanta": 39, "dimension": 400},
        {"participations_max": 0}, {"period_days": 0}, {"period_days": 36_526}, {"delta": 0.0}, {"delta": 1.0}, {"delta": math.nan},
    ],
)  # fmt: skip
def test_unsound_parameters_are_told_apart(parameters, change):
    """A participant shows them to nobody's harm; each has its reason."""
    assert parameter_problem(parameters()) is None
    assert parameter_problem(parameters(**change))


def test_the_largest_cohort_does_not_wrap(parameters):
    """256 members at every limit, noise included, sum to what integers say."""
    params = parameters(clip_quanta=COORDINATE_QUANTA_MAX, dimension=1, noise_sigma=float(NOISE_SIGMA_MAX))
    noise = np.full(2, NOISE_QUANTA_MAX, dtype=np.int64)
    one = encode_contribution(np.full(2, COORDINATE_QUANTA_MAX), noise, params)
    total = (one.astype(np.uint64) * COHORT_MAX % 2**32).astype(np.uint32)

    assert centred(total).tolist() == (centred(one) * COHORT_MAX).tolist()
    decode_sum(total, params, COHORT_MAX)


def test_too_few_customers_have_their_own_reason(parameters):
    """A noisy count below one customer abandons the round; one customer is enough."""
    params = parameters()
    for count in (-3, 0, 9):
        with pytest.raises(UnusableSum) as unusable:
            decode_sum(from_integers(np.array([0, 0, 0, 0, count])), parameters(noise_sigma=1.0), 3)
        assert unusable.value.reason is AbandonReason.TOO_FEW_CUSTOMERS
    assert decode_sum(from_integers(np.array([0, 0, 0, 0, 10])), params, 3)[1] == 1


@pytest.mark.parametrize("total", [[50_001, 0, 0, 0, 500], [0, -50_001, 0, 0, 500], [0, 0, 0, 0, 2**31 - 1], [0, 0, -(2**31), 0, 500]])
def test_a_sum_beyond_reach_is_bad(parameters, total):
    """Fifty customers cannot have contributed it, nor three members: masks did not cancel."""
    with pytest.raises(UnusableSum) as unusable:
        decode_sum(from_integers(np.array(total)), parameters(), 3)

    assert unusable.value.reason is AbandonReason.BAD_SUM


def test_a_sum_in_reach_with_noise_is_not_bad(parameters):
    """The reach grows with the noise: 40 deviations a member, in the coordinate and in the count."""
    total = from_integers(np.array([50_000 + 3 * 400 + 120 * 1000, 0, 0, 0, 500]))

    assert decode_sum(total, parameters(noise_sigma=10.0), 3)[1] == 50
    with pytest.raises(UnusableSum):
        decode_sum(total, parameters(noise_sigma=9.0), 3)


def test_a_count_cut_to_the_ring_stands_for_any_number(parameters):
    """A member with more customers than its count can say may have moved a coordinate further than the count explains."""
    total = np.array([COORDINATE_QUANTA_MAX, 0, 0, 0, COORDINATE_QUANTA_MAX])

    assert decode_sum(from_integers(total), parameters(clip_quanta=4, count_quanta=1000), 3)[1] == COORDINATE_QUANTA_MAX // 1000


def test_a_sum_of_another_shape_is_ours_to_avoid(parameters):
    """And so is a cohort of none or too many."""
    for opened, members in ((np.zeros(4, dtype=np.uint32), 3), (np.zeros(5, dtype=np.uint32), 0), (np.zeros(5, dtype=np.uint32), 257)):
        with pytest.raises(OwnFault):
            decode_sum(opened, parameters(), members)
