"""Discrete Gaussian noise, exact: integers drawn with integer arithmetic only, so that no floating-point hole leaks.

Called by an institution's preparation; every honest institution adds its share, and the sum carries enough.
Never approximates the distribution, and never returns a draw beyond NOISE_QUANTA_MAX.

After Canonne, Kamath and Steinke, "The Discrete Gaussian for Differential Privacy", NeurIPS 2020, algorithms 1 to 3; whole
arrays go through each rejection step at once. The time taken depends on the draws, so nobody may time a single call."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from federation.errors import OwnFault, require
from federation.limits import NOISE_QUANTA_MAX, NOISE_SIGMA_MAX
from federation.privacy.randomness import Entropy, Ints, Stream

_Bools = NDArray[np.bool_]
Uniform = Callable[[Ints], Ints]
"""As `Stream.below`."""

SHARE_SIGMA_MIN: Final = 3.0
_BATCH_MAX: Final = 1 << 17  # Candidates drawn at once: memory stays small, whatever the dimension.
_LOOP_MAX: Final = 500  # The chance of one more turn than this is below 1/500!.


def noise_share_sigma(sigma_total: float, honest_survivors: int) -> float:
    """Standard deviation of one institution's share: sigma_total / sqrt(honest_survivors), all in quanta.

    Whoever else survives, that many honest shares add up to at least sigma_total. A share below SHARE_SIGMA_MIN is OwnFault:
    the sum of discrete Gaussians is then not one (distance tau, Kairouz, Liu and Steinke 2021), while from 3 up tau is below
    1e-30 and the sum may be accounted for as a Gaussian. Zero noise stays zero.
    """
    if honest_survivors < 1 or not (math.isfinite(sigma_total) and sigma_total >= 0):
        raise OwnFault("noise is shared among at least one, and its deviation is finite and not negative")
    share = sigma_total / math.sqrt(honest_survivors)
    if 0 < share < SHARE_SIGMA_MIN:
        raise OwnFault(f"a noise share of {share:.3f} quanta is below {SHARE_SIGMA_MIN}: raise clip_quanta or the noise")
    return share


def discrete_gaussian(count: int, sigma: float, *, entropy: Entropy, allow_none: bool = False) -> Ints:
    """int64[count] of independent discrete Gaussians with mean 0 and variance sigma^2 rounded up to an integer.

    32 bytes are drawn from `entropy` and expanded with AES-256-CTR. OwnFault: sigma above NOISE_SIGMA_MAX or negative, or
    zero without `allow_none`. Broken: a candidate beyond NOISE_QUANTA_MAX (40 sigma at the largest sigma).
    """
    if not 0 <= sigma <= NOISE_SIGMA_MAX:
        raise OwnFault(f"noise with deviation {sigma} cannot be drawn exactly")
    if sigma == 0:
        if not allow_none:
            raise OwnFault("no noise was asked for, and not allowed")
        return np.zeros(count, dtype=np.int64)
    return _gaussians(count, math.ceil(Fraction(sigma) ** 2), Stream(entropy).below)


def _gaussians(count: int, variance: int, uniform: Uniform) -> Ints:
    """Algorithm 3: discrete Laplace candidates, accepted with probability exp(-(|y| - variance/t)^2 / (2 variance))."""
    scale = math.isqrt(variance) + 1
    drawn = np.empty(0, dtype=np.int64)
    while len(drawn) < count:
        # About half of the candidates survive both rejections; a few more than needed spare a third pass.
        batch = min(_BATCH_MAX, int(2.4 * (count - len(drawn))) + 32)
        candidates = _laplaces(batch, scale, uniform)
        require(np.all(np.abs(candidates) <= NOISE_QUANTA_MAX), "a noise candidate beyond its bound")
        # Both sides fit int64: (|y| t - variance)^2 < 2^63 for |y| <= 40 sigma and sigma <= 8000.
        numerators = np.square(np.abs(candidates) * scale - variance)
        accepted = _exponential_coins(numerators, 2 * variance * scale * scale, uniform)
        drawn = np.concatenate((drawn, candidates[accepted]))
    return drawn[:count].copy()


def _laplaces(batch: int, scale: int, uniform: Uniform) -> Ints:
    """Algorithm 2 with s = 1: up to `batch` discrete Laplaces, P(y) proportional to exp(-|y| / scale)."""
    low = uniform(np.full(batch, scale, dtype=np.int64))
    low = low[_exponential_coins(low, scale, uniform)]
    high = np.zeros(len(low), dtype=np.int64)
    alive = np.arange(len(low))
    for _ in range(_LOOP_MAX):
        alive = alive[_unit_coins(len(alive), uniform)]
        if not len(alive):
            break
        high[alive] += 1
    require(not len(alive), "a geometric draw without end")
    magnitudes: Ints = low + scale * high
    negative = uniform(np.full(len(low), 2, dtype=np.int64)) == 1
    kept = ~(negative & (magnitudes == 0))  # Otherwise zero would come up twice as often.
    magnitudes[negative] *= -1
    chosen: Ints = magnitudes[kept]
    return chosen


def _exponential_coins(numerators: Ints, denominator: int, uniform: Uniform) -> _Bools:
    """Algorithm 1: true with probability exp(-numerator / denominator), each; numerators >= 0."""
    wholes, rests = np.divmod(numerators, denominator)
    heads = _rest_coins(rests, denominator, uniform)
    alive = np.flatnonzero(heads & (wholes > 0))
    turn = 0
    while len(alive):
        coins = _unit_coins(len(alive), uniform)
        heads[alive[~coins]] = False
        turn += 1
        alive = alive[coins]
        alive = alive[wholes[alive] > turn]
    return heads


def _unit_coins(count: int, uniform: Uniform) -> _Bools:
    """True with probability exp(-1), each."""
    return _rest_coins(np.ones(count, dtype=np.int64), 1, uniform)


def _rest_coins(rests: Ints, denominator: int, uniform: Uniform) -> _Bools:
    """True with probability exp(-rest / denominator), each; 0 <= rest <= denominator.

    k counts up while coins of probability rest / (denominator k) show heads; the first tail at an odd k means true.
    """
    heads = np.zeros(len(rests), dtype=np.bool_)
    alive = np.arange(len(rests))
    for k in range(1, _LOOP_MAX):
        if not len(alive):
            return heads
        # denominator <= 2 * 8000^2 * 8001^2 < 2^53, so 500 times it fits int64.
        more = uniform(np.full(len(alive), denominator * k, dtype=np.int64)) < rests[alive]
        heads[alive[~more]] = k % 2 == 1
        alive = alive[more]
    require(not len(alive), "a Bernoulli draw without end")
    return heads
