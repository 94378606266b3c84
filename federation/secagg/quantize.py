"""A contribution as integers in the ring, and the opened sum as a mean update again.

Called by an institution's preparation (`encode_contribution`) and by the coordinator (`decode_sum`).
Never clips and never wraps: what does not fit is refused, because a wrapped sum looks like a plausible wrong model.

A contribution is, in quanta, over the institution's customers (`privacy.customers`),

    coordinates   sum of round(update of one customer * clip_quanta / clip_norm) + noise
    last          customers * count_quanta                                       + noise

and the sum over the members gives the customers' mean update: sum(coordinates) * clip_norm / clip_quanta / customers.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from federation.errors import OwnFault
from federation.limits import COHORT_MAX, COORDINATE_QUANTA_MAX, DIMENSION_MAX, NOISE_QUANTA_MAX, NOISE_SIGMA_MAX
from federation.messages import AbandonReason, RoundParameters
from federation.secagg.ring import IntVector, RingVector, centred, from_integers

FloatVector = NDArray[np.float64]

_NOISE_REACH: Final = 40  # Standard deviations that one institution's noise never exceeds (limits.NOISE_QUANTA_MAX).


class UnusableSum(Exception):
    """The sum opened, but no model can come of it; `reason` is what the coordinator abandons the round with."""

    def __init__(self, reason: AbandonReason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail


def contribution_length(params: RoundParameters) -> int:
    """Values in a contribution: the model's coordinates and the number of customers."""
    return params.dimension + 1


def sensitivity_quanta(params: RoundParameters) -> float:
    """L2 distance, in quanta, by which one customer's presence can move the sum, the count included.

    Exact, rounding included: this is what the noise multiplier, noise_sigma / sensitivity_quanta, is relative to.
    """
    return math.hypot(params.clip_quanta, params.count_quanta)


def noise_multiplier(params: RoundParameters) -> float:
    """Standard deviation of the noise in the sum, as a multiple of what one customer can change."""
    return params.noise_sigma / sensitivity_quanta(params)


def parameter_problem(params: RoundParameters) -> str | None:
    """Why no contribution may be made under these parameters, or None when they are sound."""
    if not (math.isfinite(params.clip_norm) and params.clip_norm > 0):
        return "clip_norm must be positive and finite"
    if not 1 <= params.dimension <= DIMENSION_MAX or params.chunk_length < 1:
        return "dimension or chunk_length out of range"
    if not (1 <= params.clip_quanta <= COORDINATE_QUANTA_MAX and 1 <= params.count_quanta <= COORDINATE_QUANTA_MAX):
        return f"clip_quanta and count_quanta must be 1 to {COORDINATE_QUANTA_MAX}"
    if params.clip_quanta < 2 * math.sqrt(params.dimension):
        return f"{params.clip_quanta} clip_quanta are too few to round {params.dimension} coordinates to"
    if not 0 <= params.noise_sigma <= NOISE_SIGMA_MAX * math.sqrt(COHORT_MAX):  # NaN is not.
        return "noise_sigma is negative, or more than the largest cohort can add"
    return None


def encode_contribution(total: IntVector, noise: IntVector, params: RoundParameters) -> RingVector:
    """The contribution of one institution, not yet masked: uint32[contribution_length].

    `total`: its customers' sum, int64[contribution_length], within COORDINATE_QUANTA_MAX; `noise`: as long. OwnFault when
    anything is out of shape or out of bounds; nothing is cut to fit.
    """
    problem = parameter_problem(params)
    if problem is not None:
        raise OwnFault(problem)
    shape = (contribution_length(params),)
    if total.shape != shape or noise.shape != shape or total.dtype != np.int64 or noise.dtype != np.int64:
        raise OwnFault("a sum or its noise does not fit the dimension of the round")
    if not bool(np.all(np.abs(total) <= COORDINATE_QUANTA_MAX)) or total[-1] < 0:
        raise OwnFault("a sum beyond its bound")
    if not bool(np.all(np.abs(noise) <= NOISE_QUANTA_MAX)):
        raise OwnFault("noise beyond its bound")
    return from_integers(total + noise)


def decode_sum(opened: RingVector, params: RoundParameters, members: int) -> tuple[FloatVector, int]:
    """(customers' mean update float64[dimension], customers) of the opened sum (uint32[contribution_length]) over `members`.

    UnusableSum: too_few_customers when their noisy number is below one, bad_sum when a coordinate is beyond what so many customers
    of `members` institutions can reach (masks that did not cancel are uniform, and are caught so all but certainly).
    """
    if opened.shape != (contribution_length(params),):
        raise OwnFault("the sum does not fit the dimension of the round")
    if not 1 <= members <= COHORT_MAX:
        raise OwnFault(f"a sum over {members} members")
    total = centred(opened)
    reach = members * min(NOISE_QUANTA_MAX, _NOISE_REACH * params.noise_sigma)
    most = members * COORDINATE_QUANTA_MAX
    if abs(int(total[-1])) > most + reach:
        raise UnusableSum(AbandonReason.BAD_SUM, "the count is beyond what the members can have contributed")
    # As many customers as the count can stand for, all of them pulling one way; a count cut to the ring stands for any number.
    within = (abs(int(total[-1])) + reach) / params.count_quanta * params.clip_quanta if total[-1] + reach < COORDINATE_QUANTA_MAX else most
    if np.max(np.abs(total[:-1])) > min(within, most) + reach:
        raise UnusableSum(AbandonReason.BAD_SUM, "a coordinate is beyond what the members can have contributed")
    if total[-1] < params.count_quanta:
        raise UnusableSum(AbandonReason.TOO_FEW_CUSTOMERS, "the noisy number of customers is below one")
    customers = int(total[-1]) / params.count_quanta
    mean = total[:-1].astype(np.float64) * (params.clip_norm / (params.clip_quanta * customers))
    return mean, round(customers)
