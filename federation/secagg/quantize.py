"""An update as integers in the ring, and the opened sum as a mean update again.

Called by an institution's preparation (`encode_contribution`) and by the coordinator (`decode_sum`).
Never clips and never wraps: what does not fit is refused, because a wrapped sum looks like a plausible wrong model.

A contribution with weight w = min(examples, examples_max) is, in quanta,

    coordinates   round(delta * w / examples_max * scale) + noise
    last          w * quanta_per_example                  + noise

and the sum over the members gives the mean of their deltas, weighted by w, as sum(coordinates) / scale * examples_max / sum(w).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from federation.errors import OwnFault
from federation.limits import COHORT_MAX, COORDINATE_QUANTA_MAX, DIMENSION_MAX, NOISE_QUANTA_MAX, NOISE_SIGMA_MAX
from federation.messages import AbandonReason, RoundParameters
from federation.secagg.keys import Entropy, Secret, drawn
from federation.secagg.masks import expand
from federation.secagg.ring import IntVector, RingVector, centred, from_integers

FloatVector = NDArray[np.float64]

_NOISE_REACH: Final = 40  # Standard deviations that one institution's noise never exceeds (limits.NOISE_QUANTA_MAX).


class UnusableSum(Exception):
    """The sum opened, but no model can come of it; `reason` is what the coordinator abandons the round with."""

    def __init__(self, reason: AbandonReason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail


def quanta_per_example(params: RoundParameters) -> int:
    """Quanta that one example is worth in the last coordinate: a whole number, so that a sum without noise counts exactly.

    A full weight is worth about as many quanta as the clip norm, so the same noise hides both equally well.
    """
    return max(1, math.floor(params.clip_norm * params.scale / params.examples_max))


def norm_quanta_max(params: RoundParameters) -> float:
    """L2 bound, in quanta, of the coordinates of any contribution: clip_norm * scale, and sqrt(d) for the rounding.

    Rounding moves each coordinate by less than one quantum, hence the vector by less than sqrt(d).
    """
    return params.clip_norm * params.scale + math.sqrt(params.dimension)


def sensitivity_quanta(params: RoundParameters) -> float:
    """L2 distance, in quanta, by which one institution's presence can move the sum, the count included.

    This is what noise is calibrated to when the unit of privacy is the institution: z = noise_sigma / sensitivity_quanta.
    """
    return math.hypot(norm_quanta_max(params), params.examples_max * quanta_per_example(params))


def parameter_problem(params: RoundParameters) -> str | None:
    """Why no contribution may be made under these parameters, or None when they are sound."""
    numbers = (params.clip_norm, params.scale, params.noise_sigma)
    if not all(math.isfinite(value) for value in numbers) or params.clip_norm <= 0 or params.scale <= 0 or params.noise_sigma < 0:
        return "clip_norm and scale must be positive and finite, noise_sigma not negative"
    if not 1 <= params.dimension <= DIMENSION_MAX or params.examples_max < 1 or params.chunk_length < 1:
        return "dimension, examples_max or chunk_length out of range"
    if params.clip_norm * params.scale + 1 > COORDINATE_QUANTA_MAX:
        return "clip_norm * scale exceeds the largest coordinate"
    if params.examples_max * quanta_per_example(params) > COORDINATE_QUANTA_MAX:
        return "examples_max exceeds the largest coordinate"
    if params.noise_sigma > NOISE_SIGMA_MAX * math.sqrt(COHORT_MAX):
        return "noise_sigma is more than the largest cohort can add"
    return None


def round_stochastically(values: FloatVector, *, entropy: Entropy) -> IntVector:
    """float64[d] -> int64[d]: the integer below or above, with the probability that makes the mean right.

    |result - value| < 1 always, and |E[result] - value| <= 2^-53: 53 uniform bits per coordinate, from one 32-byte seed.
    OwnFault unless every value is finite and within COORDINATE_QUANTA_MAX.
    """
    if values.dtype != np.float64 or not bool(np.all(np.abs(values) <= COORDINATE_QUANTA_MAX)):  # NaN compares false.
        raise OwnFault("a coordinate is not finite, or too large for the ring")
    below = np.floor(values)
    words = expand(Secret(drawn(entropy, 32)), 2 * len(values)).view(np.uint64)
    uniform = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return (below + (uniform < values - below)).astype(np.int64)


def encode_contribution(delta: FloatVector, examples: int, params: RoundParameters, noise: IntVector, *, entropy: Entropy) -> RingVector:
    """The contribution of one institution, not yet masked: uint32[dimension + 1].

    `delta` float64[dimension], already clipped so that delta * weight / examples_max has norm <= clip_norm; `noise`
    int64[dimension + 1]. OwnFault when anything is out of shape, not finite or out of bounds; nothing is cut to fit.
    """
    problem = parameter_problem(params)
    if problem is not None:
        raise OwnFault(problem)
    if delta.shape != (params.dimension,) or noise.shape != (params.dimension + 1,) or noise.dtype != np.int64:
        raise OwnFault("delta or noise does not fit the dimension of the round")
    if examples < 0:
        raise OwnFault("a negative number of examples")
    if not bool(np.all(np.abs(noise) <= NOISE_QUANTA_MAX)):
        raise OwnFault("noise beyond its bound")
    weight = min(examples, params.examples_max)
    values = np.empty(params.dimension + 1, dtype=np.int64)
    values[:-1] = round_stochastically(delta * (weight * params.scale / params.examples_max), entropy=entropy)
    # On the integers, where it is exact: this bound is what the noise was calibrated to.
    if math.sqrt(_squared_norm(values[:-1])) > norm_quanta_max(params):
        raise OwnFault("the weighted delta was not clipped to clip_norm")
    values[-1] = weight * quanta_per_example(params)
    values += noise
    return from_integers(values)


def decode_sum(opened: RingVector, params: RoundParameters, members: int) -> tuple[FloatVector, int]:
    """(mean delta float64[dimension], examples) of the opened sum (uint32[dimension + 1]) over `members` contributions.

    UnusableSum: too_few_examples when the noisy count is below one, bad_sum when a coordinate is beyond what `members`
    contributions can reach (masks that did not cancel are uniform, and are caught so all but certainly).
    """
    if opened.shape != (params.dimension + 1,):
        raise OwnFault("the sum does not fit the dimension of the round")
    if not 1 <= members <= COHORT_MAX:
        raise OwnFault(f"a sum over {members} members")
    total = centred(opened)
    reach = min(NOISE_QUANTA_MAX, _NOISE_REACH * params.noise_sigma)
    if np.max(np.abs(total[:-1])) > members * (params.clip_norm * params.scale + 1 + reach):
        raise UnusableSum(AbandonReason.BAD_SUM, "a coordinate is beyond what the members can have contributed")
    unit = quanta_per_example(params)
    if abs(int(total[-1])) > members * (params.examples_max * unit + reach):
        raise UnusableSum(AbandonReason.BAD_SUM, "the count is beyond what the members can have contributed")
    if total[-1] < unit:
        raise UnusableSum(AbandonReason.TOO_FEW_EXAMPLES, "the noisy number of examples is below one")
    count = int(total[-1]) / unit
    mean = total[:-1].astype(np.float64) * (params.examples_max / (params.scale * count))
    return mean, round(count)


def _squared_norm(values: IntVector) -> int:
    # No overflow: 2^20 coordinates below 2^22 give less than 2^64, so uint64.
    return int(np.sum(np.square(np.abs(values).astype(np.uint64))))
