"""The noise has exactly the distribution it claims."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest

from federation.errors import Broken, OwnFault
from federation.limits import NOISE_SIGMA_MAX
from federation.privacy import gaussian
from federation.privacy.gaussian import discrete_gaussian, noise_share_sigma
from federation.privacy.randomness import Stream


def entropy_of(seed):
    return lambda count: hashlib.shake_256(f"noise/{seed}".encode()).digest(count)


def pmf(variance, reach):
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * variance))
    return weights / weights.sum()


@pytest.mark.parametrize(("sigma", "cells"), [(1.0, 4), (1.5, 5), (3.0, 10), (7.3, 20)])
def test_frequencies_follow_the_mass_function(sigma, cells):
    """Chi-square over every value within `cells` of zero, tails pooled: within five deviations of its mean."""
    count, variance = 400_000, math.ceil(sigma**2)
    drawn = discrete_gaussian(count, sigma, entropy=entropy_of(sigma))
    reach = 60 * math.ceil(sigma)
    exact = pmf(variance, reach)[reach - cells : reach + cells + 1]
    seen = np.array([np.count_nonzero(drawn == value) for value in range(-cells, cells + 1)])
    expected = np.append(count * exact, count * (1 - exact.sum()))
    observed = np.append(seen, count - seen.sum())
    statistic = float(((observed - expected) ** 2 / expected).sum())
    freedom = 2 * cells + 1

    assert statistic < freedom + 5 * math.sqrt(2 * freedom)


@pytest.mark.parametrize("sigma", [3.0, 10.0, 1000.0, float(NOISE_SIGMA_MAX)])
def test_moments_up_to_the_fourth(sigma):
    """Mean 0, variance sigma^2, skewness 0, kurtosis 3, each within five standard errors; at the largest sigma too.

    An overflow of the integer arithmetic leaves the variance plausible and shows in the fourth moment."""
    count = 300_000
    scaled = discrete_gaussian(count, sigma, entropy=entropy_of(sigma)) / sigma

    assert abs(scaled.mean()) < 5 / math.sqrt(count)
    assert abs((scaled**2).mean() - 1) < 5 * math.sqrt(2 / count)
    assert abs((scaled**3).mean()) < 5 * math.sqrt(15 / count)
    assert abs((scaled**4).mean() - 3) < 5 * math.sqrt(96 / count)


def test_draws_are_independent():
    """Neighbours do not correlate, nor do halves of two vectors."""
    count = 200_000
    drawn = discrete_gaussian(count, 50.0, entropy=entropy_of("independent")) / 50
    other = discrete_gaussian(count, 50.0, entropy=entropy_of("other")) / 50

    assert abs((drawn[1:] * drawn[:-1]).mean()) < 5 / math.sqrt(count)
    assert abs((drawn * other).mean()) < 5 / math.sqrt(count)


def test_the_same_entropy_gives_the_same_noise():
    """All randomness is the 32 bytes drawn."""
    asked = []

    def entropy(count):
        asked.append(count)
        return bytes(count)

    first = discrete_gaussian(1000, 5.0, entropy=entropy)

    assert first.tolist() == discrete_gaussian(1000, 5.0, entropy=entropy).tolist()
    assert asked == [32, 32]


@pytest.mark.parametrize("count", [0, 1, 2, 33, 1000])
def test_as_many_as_asked_for(count):
    """Rejection never leaves one short."""
    drawn = discrete_gaussian(count, 4.0, entropy=entropy_of(count))

    assert (drawn.shape, drawn.dtype) == ((count,), np.int64)


def test_no_noise_only_where_it_is_allowed():
    """Zero noise must be said aloud."""
    with pytest.raises(OwnFault):
        discrete_gaussian(3, 0.0, entropy=entropy_of(0))
    assert discrete_gaussian(3, 0.0, entropy=entropy_of(0), allow_none=True).tolist() == [0, 0, 0]


@pytest.mark.parametrize("sigma", [-1.0, math.nan, math.inf, NOISE_SIGMA_MAX + 0.001])
def test_a_deviation_out_of_range_is_refused(sigma):
    """Beyond NOISE_SIGMA_MAX the integers would overflow."""
    with pytest.raises(OwnFault):
        discrete_gaussian(3, sigma, entropy=entropy_of(0))


def test_short_entropy_is_refused():
    """31 bytes are no seed."""
    with pytest.raises(OwnFault):
        discrete_gaussian(3, 5.0, entropy=lambda _: bytes(31))


def test_a_source_that_never_ends_a_draw_is_broken():
    """Uniform integers that are always zero keep a coin turning for ever: Broken, not a hang."""
    with pytest.raises(Broken, match="a Bernoulli draw without end"):
        gaussian._gaussians(1, 25, lambda bounds: np.zeros(len(bounds), dtype=np.int64))
    # 0, 0, 1: every coin of probability exp(-1) is true.
    with pytest.raises(Broken, match="a geometric draw without end"):
        gaussian._laplaces(1, 5, lambda bounds: np.full(len(bounds), int(bounds[0] == 3), dtype=np.int64))


def test_the_bound_is_forty_deviations():
    """Candidates of 40 scales are judged with exact integers; one scale more is refused before it overflows."""
    scale = NOISE_SIGMA_MAX + 1
    largest = gaussian.NOISE_QUANTA_MAX

    assert (largest * scale - NOISE_SIGMA_MAX**2) ** 2 < 2**63
    assert 2 * NOISE_SIGMA_MAX**2 * scale**2 * gaussian._LOOP_MAX < 2**63


def test_a_candidate_too_large_is_refused():
    """A geometric draw of 41 scales at the largest sigma would overflow what judges it: Broken before it is judged."""
    turns = 0

    def long_lived(bounds):
        # A coin of probability exp(-1) is true when its draws below 1, 2, 3 are 0, 0, 1, and false after 0, 0, 0, 3.
        nonlocal turns
        turns += bounds[0] == 3
        answer = {3: int(turns <= 41), 4: 3}.get(int(bounds[0]), 0)
        return np.full(len(bounds), answer, dtype=np.int64)

    with pytest.raises(Broken, match="beyond its bound"):
        gaussian._gaussians(1, NOISE_SIGMA_MAX**2, long_lived)


def test_uniform_integers_are_uniform_and_in_range():
    """Each bound is respected and each value equally frequent; also where remainders of whole words would be biased."""
    uniform = Stream(bytes).below
    drawn = uniform(np.full(60_000, 6, dtype=np.int64))
    counts = np.bincount(drawn, minlength=6)
    assert ((counts - 10_000) ** 2 / 10_000).sum() < 5 + 5 * math.sqrt(10)
    # Remainders of all 64-bit words would put three quarters of the draws below 2^62, instead of two thirds.
    lower = uniform(np.full(60_000, 3 << 61, dtype=np.int64)) < 1 << 62
    assert abs(lower.mean() - 2 / 3) < 0.01
    assert uniform(np.ones(10, dtype=np.int64)).tolist() == [0] * 10


@pytest.mark.parametrize("survivors", [1, 4, 9])
def test_shares_add_up(survivors):
    """As many shares as honest survivors have the deviation asked for, or a little more."""
    share = noise_share_sigma(30.0, survivors)

    assert share * math.sqrt(survivors) == pytest.approx(30.0)
    total = sum(discrete_gaussian(100_000, share, entropy=entropy_of(k)) for k in range(survivors))
    assert total.std() == pytest.approx(30.0, rel=0.02)


def test_a_share_too_fine_is_refused():
    """Below 3 quanta the sum is no longer a discrete Gaussian; zero is zero."""
    assert noise_share_sigma(0.0, 5) == 0.0
    assert noise_share_sigma(9.0, 9) == 3.0
    with pytest.raises(OwnFault, match="raise clip_quanta"):
        noise_share_sigma(8.9, 9)


@pytest.mark.parametrize(("sigma", "survivors"), [(1.0, 0), (-1.0, 3), (math.nan, 3), (math.inf, 3)])
def test_a_share_of_nonsense_is_refused(sigma, survivors):
    """No survivors, or no deviation."""
    with pytest.raises(OwnFault):
        noise_share_sigma(sigma, survivors)
