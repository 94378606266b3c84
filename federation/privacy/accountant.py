"""What contributions cost a customer, and what epsilon the costs add up to.

Called by the aggregator's wiring (how much noise a promise takes), an institution's terms and its ledger (whether to contribute).
Never counts on luck: no amplification by sampling is claimed, because who takes part in which round is visible in the log.

A customer's part in a sum is hidden by Gaussian noise of z times what he can change (customers.summed); the noise of a cohort is a sum of
discrete Gaussians, each of at least SHARE_SIGMA_MIN quanta. Such a sum is, up to a probability below 1e-30, a discrete Gaussian of the
summed variance (Kairouz, Liu and Steinke, ICML 2021, theorem 1), and that is what a continuous Gaussian of SHARE_SIGMA_MIN^2 less variance
becomes by rounding at random (Peikert, CRYPTO 2010, theorem 3.1): whoever sees the sum learns no more than from the continuous one.
k Gaussians compose to one: their 1/z^2 add up, exactly, and also when each is chosen after the results of those before and the adding is
stopped by a budget (Smith and Thakurta 2022; Koskela, Tobaben and Honkela, ICLR 2023). So 1/z^2 is the cost of a contribution, and
epsilon at a delta follows from the sum of costs (Balle and Wang, ICML 2018), with dp-accounting."""

from __future__ import annotations

import math
from typing import Final

from federation.errors import OwnFault
from federation.messages import RoundParameters
from federation.privacy.gaussian import SHARE_SIGMA_MIN

# Costs are added up in floating point: a budget for k contributions must be enough for k.
_ROUNDING: Final = 1e-9


def sensitivity_quanta(clip_quanta: int, count_quanta: int) -> float:
    """L2 distance, in quanta, by which one customer's presence can move the sum, the count included; exact, rounding included."""
    return math.hypot(clip_quanta, count_quanta)


def noise_multiplier(params: RoundParameters) -> float:
    """Standard deviation of the noise that the sum may be accounted for with, as a multiple of what one customer can change."""
    variance = params.noise_sigma**2 - SHARE_SIGMA_MIN**2
    return math.sqrt(max(variance, 0.0)) / sensitivity_quanta(params.clip_quanta, params.count_quanta)


def noise_sigma(multiplier: float, *, clip_quanta: int, count_quanta: int) -> float:
    """The noise, in quanta, of the sum that has this multiplier; none for none."""
    return math.hypot(multiplier * sensitivity_quanta(clip_quanta, count_quanta), SHARE_SIGMA_MIN) if multiplier else 0.0


def cost(multiplier: float) -> float:
    """What one contribution under this noise costs; infinite without noise."""
    return 1.0 / multiplier**2 if multiplier else math.inf


def affords(budget: float, spent: float) -> bool:
    """Whether these costs are within the budget; an infinite budget affords everything."""
    return spent <= budget * (1 + _ROUNDING)


def epsilon_of(spent: float, delta: float) -> float:
    """The epsilon at `delta` of contributions that cost so much together; 0 for none, infinite without noise."""
    _require_delta(delta)
    if spent == 0 or math.isinf(spent):
        return spent
    import dp_accounting  # noqa: PLC0415 It brings scipy, 80 MB, which a process without noise need not carry.

    return float(dp_accounting.get_epsilon_gaussian(1.0 / math.sqrt(spent), delta))


def budget_of(epsilon: float, delta: float) -> float:
    """What contributions may cost together to stay within `epsilon` at `delta`; an infinite epsilon is an infinite budget."""
    _require_delta(delta)
    if not epsilon > 0:
        raise OwnFault("an epsilon is positive")
    if math.isinf(epsilon):
        return math.inf
    import dp_accounting  # noqa: PLC0415 As above.

    return 1.0 / float(dp_accounting.get_sigma_gaussian(epsilon, delta)) ** 2


def multiplier_for(epsilon: float, delta: float, participations: int) -> float:
    """The least noise under which so many contributions of one customer stay within `epsilon` at `delta`."""
    return math.sqrt(participations / budget_of(epsilon, delta))


def _require_delta(delta: float) -> None:
    if not 0 < delta < 1:
        raise OwnFault("a delta is a probability, neither 0 nor 1")
