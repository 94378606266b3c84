"""Costs add up to the epsilon that dp-accounting's privacy loss distributions give, and never to less."""

from __future__ import annotations

import math
import warnings

import dp_accounting
import pytest
from dp_accounting import pld
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.errors import OwnFault
from federation.messages import RoundParameters
from federation.privacy.accountant import (
    affords,
    budget_of,
    cost,
    epsilon_of,
    multiplier_for,
    noise_multiplier,
    noise_sigma,
    sensitivity_quanta,
)

DELTA = 1e-6


def by_distributions(multiplier, times, delta=DELTA):
    """As dp-accounting composes them itself, pessimistically discretised."""
    event = dp_accounting.SelfComposedDpEvent(dp_accounting.GaussianDpEvent(multiplier), times)
    return pld.PLDAccountant().compose(event).get_epsilon(delta)


@pytest.mark.parametrize(("multiplier", "times"), [(0.65, 1), (1.31, 4), (5.0, 100), (30.0, 64)])
def test_epsilon_is_that_of_the_composed_distributions(multiplier, times):
    """K contributions with multiplier z: the epsilon of k Gaussians, to five digits."""
    assert epsilon_of(times * cost(multiplier), DELTA) == pytest.approx(by_distributions(multiplier, times), rel=1e-5)


def test_unlike_contributions_add_up():
    """Costs of rounds with different noise make the epsilon of their composition."""
    accountant = pld.PLDAccountant()
    for multiplier, times in ((2.0, 3), (7.0, 10), (1.5, 1)):
        accountant.compose(dp_accounting.GaussianDpEvent(multiplier), times)
    spent = 3 * cost(2.0) + 10 * cost(7.0) + cost(1.5)

    assert epsilon_of(spent, DELTA) == pytest.approx(accountant.get_epsilon(DELTA), rel=1e-5)


@pytest.mark.parametrize(("multiplier", "times"), [(0.65, 1), (2.61, 16)])
def test_the_noise_that_is_drawn_is_discrete(multiplier, times):
    """The discrete Gaussian of the quanta really drawn, composed by dp-accounting, is within what is claimed."""
    sensitivity = round(sensitivity_quanta(256, 64))
    sigma = noise_sigma(multiplier, clip_quanta=256, count_quanta=64)
    distribution = pld.privacy_loss_distribution.from_discrete_gaussian_mechanism(
        sigma, sensitivity, value_discretization_interval=1e-3, use_connect_dots=True
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of scipy's FFT about rounding.
        found = distribution.self_compose(times).get_epsilon_for_delta(DELTA)

    assert found == pytest.approx(epsilon_of(times * cost(multiplier), DELTA), rel=2e-3)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(epsilon=st.floats(0.1, 20), participations=st.integers(1, 1000), exponent=st.integers(3, 9))
def test_noise_made_for_an_epsilon_keeps_it(epsilon, participations, exponent):
    """As many contributions as promised are afforded, one more is not, and together they have just that epsilon."""
    delta = 10.0**-exponent
    each = cost(multiplier_for(epsilon, delta, participations))
    budget = budget_of(epsilon, delta)

    assert affords(budget, participations * each)
    assert affords(budget, math.fsum([each] * participations))
    assert not affords(budget, (participations + 1) * each)
    assert epsilon_of(participations * each, delta) == pytest.approx(epsilon, rel=1e-6)


def test_more_contributions_cost_more():
    """Epsilon grows with what was spent and falls with the noise."""
    spent = [epsilon_of(times * cost(3.0), DELTA) for times in range(1, 20)]

    assert spent == sorted(spent)
    assert epsilon_of(cost(2.0), DELTA) > epsilon_of(cost(3.0), DELTA)


def test_without_noise_nothing_is_afforded_but_by_who_wants_no_limit():
    """Costs and epsilon are infinite; an unlimited budget affords them, and no other ever does again."""
    assert cost(0.0) == epsilon_of(cost(0.0), DELTA) == math.inf
    assert affords(budget_of(math.inf, DELTA), cost(0.0))
    assert not affords(budget_of(100.0, DELTA), cost(0.0))
    assert not affords(budget_of(8.0, DELTA), math.inf + cost(10.0))
    assert epsilon_of(0.0, DELTA) == 0.0


def test_the_multiplier_of_a_round_is_a_little_less_than_its_noise():
    """Three quanta's variance pays for the noise's being discrete; the way there and back is exact."""
    params = RoundParameters(
        dimension=1, layout_digest=bytes(32), clip_norm=1.0, clip_quanta=300, count_quanta=400, noise_sigma=math.hypot(1000.0, 3.0),
        participations_max=1, period_days=1, delta=DELTA, chunk_length=1,
    )  # fmt: skip

    assert noise_multiplier(params) == pytest.approx(2.0, rel=1e-12)
    assert noise_sigma(2.0, clip_quanta=300, count_quanta=400) == pytest.approx(params.noise_sigma)
    assert noise_sigma(0.0, clip_quanta=300, count_quanta=400) == 0.0


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-9, math.nan])
def test_a_delta_that_is_none_is_refused(delta):
    """Neither certainty nor impossibility."""
    with pytest.raises(OwnFault, match="delta"):
        epsilon_of(1.0, delta)
    with pytest.raises(OwnFault, match="delta"):
        budget_of(1.0, delta)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.nan])
def test_an_epsilon_that_is_none_is_refused(epsilon):
    """There is no noise for it."""
    with pytest.raises(OwnFault, match="epsilon"):
        budget_of(epsilon, DELTA)
