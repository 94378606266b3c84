"""Our noise beside other people's: OpenDP's sampler, exact convolutions, and the rounding that the accounting rests on."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import opendp.prelude as opendp
import pytest

from federation.privacy.gaussian import SHARE_SIGMA_MIN, discrete_gaussian

COUNT = 30_000
SIGMA = 5.0


def ours(sigma, count=COUNT):
    return discrete_gaussian(count, sigma, entropy=lambda length: hashlib.shake_256(f"oracle/{sigma}".encode()).digest(length))


def theirs(sigma, count=COUNT):
    """OpenDP draws from the operating system: the bounds below are chosen for one false alarm in a thousand million runs."""
    opendp.enable_features("contrib")
    space = opendp.vector_domain(opendp.atom_domain(T="i64")), opendp.l2_distance(T="i64")
    return np.array(opendp.m.make_gaussian(*space, scale=sigma)([0] * count), dtype=np.int64)


def two_samples(one, two, cells=15):
    """Chi-square of two samples of one size over the values within `cells` of zero, tails pooled; its mean is the number of cells less one."""
    counts = np.array([[np.count_nonzero(sample == value) for value in range(-cells, cells + 1)] for sample in (one, two)])
    table = np.column_stack([counts, [len(one), len(two)] - counts.sum(axis=1)])
    return float(((table[0] - table[1]) ** 2 / table.sum(axis=0)).sum()), table.shape[1] - 1


def pmf(variance, reach):
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * variance))
    return weights / weights.sum()


def test_opendp_draws_from_the_same_distribution():
    """Frequencies differ as two samples of one distribution do; with a fifth more noise they would not."""
    reference = theirs(SIGMA)
    statistic, freedom = two_samples(ours(SIGMA), reference)
    other, _ = two_samples(ours(6.0), reference)

    assert statistic < freedom + 9.5 * math.sqrt(2 * freedom) < other


def test_opendps_moments_are_ours():
    """Up to the fourth, within seven standard errors of the difference."""
    one, two = ours(SIGMA) / SIGMA, theirs(SIGMA) / SIGMA

    for power, variance in ((1, 1), (2, 2), (3, 15), (4, 96)):
        assert abs((one**power).mean() - (two**power).mean()) < 7 * math.sqrt(2 * variance / COUNT)


@pytest.mark.parametrize("shares", [2, 3, 11])
def test_shares_of_three_quanta_add_up_to_one_discrete_gaussian(shares):
    """Exactly convolved, not sampled: at three quanta each the sum is the one of the summed variance; at half a quantum it is not."""

    def distance(sigma, reach=60):
        total = pmf(sigma**2, reach)
        for _ in range(shares - 1):
            total = np.convolve(total, pmf(sigma**2, reach))
        return float(np.abs(total - pmf(shares * sigma**2, len(total) // 2)).sum() / 2)

    assert distance(SHARE_SIGMA_MIN) < 1e-14
    assert distance(0.5) > 1e-4


def test_a_discrete_gaussian_is_a_continuous_one_rounded():
    """The step from discrete to continuous accounting: N(0, variance - 9), rounded by a discrete Gaussian of deviation 3 around it.

    Integrated numerically, for variance 25; rounding with deviation 0.4 would give something else."""

    def rounded(deviation, variance=25.0, reach=70):
        places = np.arange(-reach, reach + 1)
        spread = variance - deviation**2
        grid = np.linspace(-reach, reach, 60_001)
        density = np.exp(-(grid**2) / (2 * spread)) / math.sqrt(2 * math.pi * spread)
        weights = np.exp(-((places[:, None] - grid) ** 2) / (2 * deviation**2))
        return (weights / weights.sum(axis=0) * density).sum(axis=1) * (grid[1] - grid[0])

    exact = pmf(25.0, 70)[30:111]

    assert np.abs(rounded(SHARE_SIGMA_MIN)[30:111] / exact - 1).max() < 1e-9
    assert np.abs(rounded(0.4)[30:111] / exact - 1).max() > 1e-3
