"""River's steps, vectors that come back, explanations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.heads.head import INTERCEPT, Layout, Reason
from federation.heads.scorecard import Scorecard
from federation.messages import HeadName

WIDTH = 9
LAYOUT = Layout(HeadName.FRAUD, 1, (INTERCEPT, *(f"f{n}=v" for n in range(1, WIDTH))), -1.5)
ACTIVES = st.lists(st.integers(1, WIDTH - 1), max_size=5, unique=True).map(lambda numbers: tuple(sorted(numbers)))
LESSONS = st.lists(st.tuples(ACTIVES, st.booleans(), st.floats(0, 3)), max_size=30)


@settings(derandomize=True)
@given(LESSONS)
def test_river_takes_the_steps_of_the_textbook(lessons):
    """Weights -= rate * weight * (probability - label), for the intercept and each active coordinate; the prior stays."""
    card, expected = Scorecard(LAYOUT, learning_rate=0.3), np.zeros(WIDTH)
    for active, positive, weight in lessons:
        card.learn(active, positive, weight)
        error = 1 / (1 + math.exp(-(LAYOUT.prior + expected[[0, *active]].sum()))) - positive
        expected[[0, *active]] -= 0.3 * weight * error

    assert np.allclose(card.to_vector(), expected, rtol=0, atol=1e-12)


@settings(derandomize=True)
@given(st.lists(st.floats(-1e6, 1e6), min_size=WIDTH, max_size=WIDTH))
def test_a_vector_comes_back_bit_for_bit(numbers):
    """Whatever the prior is: saving and restoring must not drift."""
    card = Scorecard(LAYOUT, learning_rate=0.3)
    card.from_vector(numbers)

    assert card.to_vector().tobytes() == np.array(numbers).tobytes()


def test_the_vector_is_a_copy():
    """Changing what was handed out changes no score."""
    card = Scorecard(LAYOUT, learning_rate=0.3)
    card.to_vector()[:] = 7.0

    assert card.log_odds((1, 2)) == LAYOUT.prior


def test_what_is_learned_explains():
    """A fraud seen twice: its coordinates are the reasons, positive points towards fraud."""
    card = Scorecard(LAYOUT, learning_rate=1.0)
    card.learn((2, 5), positive=True)
    card.learn((2, 7), positive=True)
    first, second = card.explain((1, 2, 5), most=5)

    assert (first.feature, second.feature) == ("f2", "f5")
    assert first.points > second.points > 0
    assert card.explain((1, 2, 5), most=1)[1] == Reason("other", "1 more", second.points)
    assert card.predict((2, 5)) > card.predict((2,)) > card.predict((1,))


def test_certainty_does_not_overflow():
    """Extreme weights give probabilities 0 and 1, and learning goes on."""
    card = Scorecard(LAYOUT, learning_rate=0.3)
    card.from_vector([0.0, 1e6, -1e6, *[0.0] * (WIDTH - 3)])
    card.learn((1,), positive=True)
    card.learn((2,), positive=False)

    assert (card.predict((1,)), card.predict((2,))) == (1.0, pytest.approx(0.0, abs=1e-300))
    assert np.isfinite(card.to_vector()).all()
