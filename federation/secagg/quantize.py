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
from federation.limits import COHORT_MAX, COORDINATE_QUANTA_MAX, DIMENSION_MAX, NOISE_QUANTA_MAX, NOISE_SIGMA_MAX, PERIOD_DAYS_MAX
from federation.messages import AbandonReason, RoundParameters
from federation.secagg.ring import IntVector, RingVector, centred, from_integers

FloatVector = NDArray[np.float64]

_SIGMA_MAX: Final = NOISE_SIGMA_MAX * math.sqrt(COHORT_MAX)
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


def parameter_problem(params: RoundParameters) -> str | None:
    """Why no contribution may be made under these parameters, or None when they are sound."""
    quanta = range(1, COORDINATE_QUANTA_MAX + 1)
    wrong = {
        "clip_norm must be positive and finite": not (math.isfinite(params.clip_norm) and params.clip_norm > 0),
        "dimension or chunk_length out of range": not 1 <= params.dimension <= DIMENSION_MAX or params.chunk_length < 1,
        "clip_quanta or count_quanta out of range": params.clip_quanta not in quanta or params.count_quanta not in quanta,
        # Rounding may lengthen an update by the root of its length.
        "too few clip_quanta to round so many coordinates to": params.clip_quanta**2 < 4 * params.dimension,
        "noise_sigma is negative, or more than the largest cohort can add": not 0 <= params.noise_sigma <= _SIGMA_MAX,  # NaN is not.
        "participations_max, period_days or delta out of range": params.participations_max < 1
        or not 1 <= params.period_days <= PERIOD_DAYS_MAX
        or not 0 < params.delta < 1,
    }
    return next((problem for problem, found in wrong.items() if found), None)


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
