"""From an operator's settings to what contributions must obey."""

from __future__ import annotations

import pytest

from aggregator_worker.wiring import customers_floor, epsilon_of_rounds, round_parameters, shipped_layout
from federation.errors import OwnFault
from federation.messages import HeadName
from federation.privacy.accountant import noise_multiplier
from federation.secagg.quantize import parameter_problem
from institution_workers.wiring import budget
from streams.settings import USUAL_HEADS, HeadSettings, PrivacySettings

LAYOUT = shipped_layout(HeadName.CREDIT)


@pytest.mark.parametrize(("epsilon", "participations"), [(8.0, 1), (1.0, 4), (4.0, 100)])
def test_noise_is_made_for_the_epsilon_asked_for(epsilon, participations):
    """What is said with the models is what was asked for; institutions with that policy take part, stricter ones do not."""
    parameters = round_parameters(HeadSettings(epsilon=epsilon, participations_max=participations), LAYOUT)
    spent = participations / noise_multiplier(parameters) ** 2

    assert parameter_problem(parameters) is None
    assert epsilon_of_rounds(parameters) == pytest.approx(epsilon, rel=1e-6)
    assert spent <= budget(PrivacySettings(epsilon_max=epsilon)).cost_max * (1 + 1e-9)
    assert spent > budget(PrivacySettings(epsilon_max=0.99 * epsilon)).cost_max


def test_a_multiplier_is_taken_as_it_is():
    """The epsilon that comes of it is said; without noise there is none."""
    assert noise_multiplier(round_parameters(HeadSettings(noise_multiplier=2.0), LAYOUT)) == pytest.approx(2.0)
    assert epsilon_of_rounds(round_parameters(HeadSettings(noise_multiplier=2.0), LAYOUT)) == pytest.approx(2.2541, abs=1e-3)
    assert epsilon_of_rounds(round_parameters(HeadSettings(noise_multiplier=0.0), LAYOUT)) is None


def test_a_number_of_customers_that_may_be_noise_makes_no_model():
    """Four deviations of the noise in the count, which is worth a quarter of the clip norm."""
    assert customers_floor(round_parameters(HeadSettings(noise_multiplier=2.0), LAYOUT)) == 33
    assert customers_floor(round_parameters(HeadSettings(noise_multiplier=0.0), LAYOUT)) == 1


def test_noise_that_cannot_be_drawn_is_refused_with_the_way_out():
    """The sampler is exact up to 8,000 quanta: fewer quanta per clip norm leave room for more noise."""
    with pytest.raises(OwnFault, match="set clip_quanta to 776 or less"):
        round_parameters(HeadSettings(noise_multiplier=10.0, clip_quanta=1000), LAYOUT)
    round_parameters(HeadSettings(noise_multiplier=10.0, clip_quanta=776), LAYOUT)


@pytest.mark.parametrize("head", HeadName)
def test_the_usual_heads_can_be_run(head):
    """Their parameters are sound for the shipped layouts."""
    assert parameter_problem(round_parameters(USUAL_HEADS[head], shipped_layout(head))) is None
