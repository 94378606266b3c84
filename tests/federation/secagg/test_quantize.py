"""Floats into the ring and back: the error is bounded, the mean right, nothing wraps."""

from __future__ import annotations

import math
from fractions import Fraction

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
    norm_quanta_max,
    parameter_problem,
    quanta_per_example,
    round_stochastically,
    sensitivity_quanta,
)
from federation.secagg.ring import centred, from_integers

coordinates = st.floats(min_value=-COORDINATE_QUANTA_MAX, max_value=COORDINATE_QUANTA_MAX)
QUIET = np.zeros(5, dtype=np.int64)


@settings(derandomize=True, deadline=None)
@given(st.lists(coordinates, min_size=1, max_size=20), st.integers(min_value=0, max_value=99))
def test_rounding_moves_less_than_one(entropy_of, values, seed):
    """|result - value| < 1, exactly, for every value in bounds."""
    rounded = round_stochastically(np.array(values), entropy=entropy_of(seed))

    assert all(abs(Fraction(int(after)) - Fraction(before)) < 1 for before, after in zip(values, rounded, strict=True))


@pytest.mark.parametrize("value", [0.25, -0.25, 0.9, -1234.7, 1e-3, 100.5])
def test_rounding_is_right_on_average(entropy_of, value):
    """The mean of many roundings is the value, within five standard errors."""
    count = 200_000
    rounded = round_stochastically(np.full(count, value), entropy=entropy_of(value))
    fraction = value - math.floor(value)

    assert abs(rounded.mean() - value) < 5 * math.sqrt(fraction * (1 - fraction) / count)
    assert set(np.unique(rounded).tolist()) <= {math.floor(value), math.ceil(value)}


def test_whole_numbers_stay_and_tiny_ones_do_not_stick(entropy_of):
    """An integer is never moved; a value just below zero is rounded to zero or minus one, not elsewhere."""
    whole = np.array([0.0, -0.0, 5.0, -7.0, float(COORDINATE_QUANTA_MAX), -float(COORDINATE_QUANTA_MAX)])

    assert round_stochastically(whole, entropy=entropy_of(0)).tolist() == whole.tolist()
    assert set(round_stochastically(np.full(1000, -1e-20), entropy=entropy_of(0)).tolist()) <= {0, -1}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, COORDINATE_QUANTA_MAX + 1.0, -COORDINATE_QUANTA_MAX - 1.0, 1e300])
def test_what_does_not_fit_is_refused(entropy_of, value):
    """Not clipped, not wrapped: refused."""
    with pytest.raises(OwnFault):
        round_stochastically(np.array([0.0, value]), entropy=entropy_of(0))


def test_only_float64_is_rounded(entropy_of):
    """float32 has too few bits for a coordinate of 22 bits and its fraction."""
    with pytest.raises(OwnFault):
        round_stochastically(np.zeros(2, dtype=np.float32), entropy=entropy_of(0))


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.lists(st.floats(-0.49, 0.49), min_size=4, max_size=4), st.integers(0, 250)), min_size=1, max_size=6))
def test_the_mean_is_weighted_by_examples(entropy_of, parameters, members):
    """The decoded mean is the weighted mean of the deltas, within n quanta of the sum per coordinate; the count is exact."""
    params = parameters()
    entropy = entropy_of(len(members))
    total = np.zeros(5, dtype=np.uint32)
    for delta, examples in members:
        total += encode_contribution(np.array(delta), examples, params, QUIET, entropy=entropy)
    weights = [min(examples, 100) for _, examples in members]
    if sum(weights) == 0:
        with pytest.raises(UnusableSum):
            decode_sum(total, params, len(members))
        return
    mean, count = decode_sum(total, params, len(members))

    assert count == sum(weights)
    quantum = params.examples_max / (params.scale * count)
    for k in range(4):
        exact = sum(Fraction(delta[k]) * weight for (delta, _), weight in zip(members, weights, strict=True)) / count
        assert abs(Fraction(mean[k]) - exact) < len(members) * Fraction(quantum) * Fraction(1 + 1e-9)


def test_noise_is_added_to_every_coordinate_and_the_count(entropy_of, parameters):
    """What is encoded with noise is what is encoded without, plus the noise, in the ring."""
    params = parameters()
    delta, noise = np.array([0.1, -0.2, 0.3, 0.0]), np.array([5, -6, 7, -8, -9], dtype=np.int64)
    quiet = encode_contribution(delta, 50, params, QUIET, entropy=entropy_of(1))
    noisy = encode_contribution(delta, 50, params, noise, entropy=entropy_of(1))

    assert (centred(noisy) - centred(quiet)).tolist() == noise.tolist()


def test_the_count_is_worth_about_the_clip_norm(parameters):
    """A full weight has at most the clip norm's quanta, and every example a whole number of them."""
    assert quanta_per_example(parameters(scale=1000.0, examples_max=300)) == 3
    assert quanta_per_example(parameters(scale=10.0, examples_max=300)) == 1


def test_sensitivity_is_stated(parameters):
    """Clip norm in quanta, one quantum per coordinate for rounding, and the count."""
    params = parameters(dimension=400, clip_norm=2.0)

    assert norm_quanta_max(params) == 2000 + 20
    assert sensitivity_quanta(params) == pytest.approx(math.hypot(2020, 2000))


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.integers(min_value=0, max_value=999))
def test_a_clipped_delta_stays_within_the_sensitivity(entropy_of, parameters, seed):
    """The integers of any delta of norm clip_norm, weight full, are within norm_quanta_max."""
    params = parameters(dimension=64)
    direction = np.frombuffer(entropy_of(seed)(64), dtype=np.int8).astype(np.float64) + 0.5
    delta = direction / np.linalg.norm(direction)
    values = centred(encode_contribution(delta, 100, params, np.zeros(65, dtype=np.int64), entropy=entropy_of(seed)))

    assert sum(int(value) ** 2 for value in values[:-1]) <= norm_quanta_max(params) ** 2


def test_an_unclipped_delta_is_refused(entropy_of, parameters):
    """Its weighted norm exceeds what the noise was calibrated to; with half the weight it would fit."""
    delta = np.array([1.5, 0.0, 0.0, 0.0])
    with pytest.raises(OwnFault, match="not clipped"):
        encode_contribution(delta, 100, parameters(), QUIET, entropy=entropy_of(0))
    assert encode_contribution(delta, 50, parameters(), QUIET, entropy=entropy_of(0)).shape == (5,)


def test_misfits_are_refused(entropy_of, parameters):
    """Wrong shapes and types, a negative count, noise beyond its bound, unsound parameters."""
    params, delta = parameters(), np.zeros(4)
    beyond = np.array([0, 0, 0, 0, NOISE_QUANTA_MAX + 1], dtype=np.int64)
    for wrong in (
        (np.zeros(3), 1, params, QUIET),
        (delta, 1, params, np.zeros(4, dtype=np.int64)),
        (delta, 1, params, np.zeros(5)),
        (delta, -1, params, QUIET),
        (delta, 1, params, beyond),
        (delta, 1, params, -beyond),
        (np.array([math.nan, 0, 0, 0]), 1, params, QUIET),
        (delta, 1, parameters(scale=0.0), QUIET),
    ):
        with pytest.raises(OwnFault):
            encode_contribution(*wrong, entropy=entropy_of(0))


@pytest.mark.parametrize(
    "change",
    [
        {"clip_norm": 0.0}, {"clip_norm": math.nan}, {"clip_norm": math.inf}, {"scale": -1.0}, {"scale": math.inf}, {"noise_sigma": -1.0},
        {"noise_sigma": math.nan}, {"dimension": 0}, {"dimension": (1 << 20) + 1}, {"examples_max": 0}, {"chunk_length": 0},
        {"scale": float(COORDINATE_QUANTA_MAX)}, {"examples_max": COORDINATE_QUANTA_MAX + 1},
        {"noise_sigma": 16.1 * NOISE_SIGMA_MAX},
    ],
)  # fmt: skip
def test_unsound_parameters_are_told_apart(parameters, change):
    """A participant shows them to nobody's harm; each has its reason."""
    assert parameter_problem(parameters()) is None
    assert parameter_problem(parameters(**change))


def test_the_largest_cohort_does_not_wrap(entropy_of, parameters):
    """256 members at every limit, noise included, sum to what integers say."""
    params = parameters(scale=float(COORDINATE_QUANTA_MAX - 1), examples_max=1, dimension=1, noise_sigma=float(NOISE_SIGMA_MAX))
    noise = np.full(2, NOISE_QUANTA_MAX, dtype=np.int64)
    one = encode_contribution(np.array([1.0]), 1, params, noise, entropy=entropy_of(0))
    total = (one.astype(np.uint64) * COHORT_MAX % 2**32).astype(np.uint32)

    assert centred(total).tolist() == (centred(one) * COHORT_MAX).tolist()
    decode_sum(total, params, COHORT_MAX)


def test_too_few_examples_have_their_own_reason(parameters):
    """A noisy count below one example abandons the round; one example is enough."""
    params = parameters()
    for count in (-3, 0, 9):
        with pytest.raises(UnusableSum) as unusable:
            decode_sum(from_integers(np.array([0, 0, 0, 0, count])), params, 3)
        assert unusable.value.reason is AbandonReason.TOO_FEW_EXAMPLES
    assert decode_sum(from_integers(np.array([0, 0, 0, 0, 10])), params, 3)[1] == 1


@pytest.mark.parametrize("total", [[3004, 0, 0, 0, 500], [0, -3004, 0, 0, 500], [0, 0, 0, 0, 3001], [0, 0, -(2**31), 0, 500]])
def test_a_sum_beyond_reach_is_bad(parameters, total):
    """Three members cannot have contributed it, so masks did not cancel."""
    with pytest.raises(UnusableSum) as unusable:
        decode_sum(from_integers(np.array(total)), parameters(), 3)

    assert unusable.value.reason is AbandonReason.BAD_SUM


def test_a_sum_in_reach_with_noise_is_not_bad(parameters):
    """The reach grows with the noise: 40 deviations a member."""
    total = from_integers(np.array([3003 + 3 * 400, 0, 0, 0, 500]))

    assert decode_sum(total, parameters(noise_sigma=10.0), 3)[1] == 50
    with pytest.raises(UnusableSum):
        decode_sum(total, parameters(noise_sigma=9.0), 3)


def test_a_sum_of_another_shape_is_ours_to_avoid(parameters):
    """And so is a cohort of none or too many."""
    for opened, members in ((np.zeros(4, dtype=np.uint32), 3), (np.zeros(5, dtype=np.uint32), 0), (np.zeros(5, dtype=np.uint32), 257)):
        with pytest.raises(OwnFault):
            decode_sum(opened, parameters(), members)
