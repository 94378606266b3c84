"""Scores and reasons from a bare vector."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.heads import scoring
from federation.heads.head import INTERCEPT, Layout, Reason
from federation.messages import HeadName

LAYOUT = Layout(HeadName.FRAUD, 1, (INTERCEPT, *(f"f{n}=v{n}" for n in range(1, 8))), -1.0)
VECTOR = np.array([0.5, 1.0, -3.0, 0.0, 2.0, 0.25, 1.0, -0.5])


@given(st.floats(allow_nan=False))
def test_any_log_odds_have_a_probability(log_odds):
    """Between 0 and 1, without overflow, and symmetric."""
    probability = scoring.probability_of(log_odds)

    assert 0.0 <= probability <= 1.0
    assert probability + scoring.probability_of(-log_odds) == pytest.approx(1.0)


def test_points_are_added_to_prior_and_intercept():
    """The score is a sum."""
    assert scoring.log_odds_of(LAYOUT, VECTOR, (1, 2)) == -1.0 + 0.5 + 1.0 - 3.0
    assert scoring.log_odds_of(LAYOUT, VECTOR, ()) == -0.5
    assert scoring.predict(LAYOUT, VECTOR, (1, 2)) == pytest.approx(1 / (1 + math.exp(2.5)))


def test_reasons_come_strongest_first_and_the_rest_in_one_line():
    """Ties keep the layout's order, weights of 0 are no reason, and nothing is lost."""
    assert scoring.explain(LAYOUT, VECTOR, (1, 2, 3, 4, 6), 3) == (
        Reason("f2", "v2", -3.0),
        Reason("f4", "v4", 2.0),
        Reason("f1", "v1", 1.0),
        Reason("other", "1 more", 1.0),
    )
    assert scoring.explain(LAYOUT, VECTOR, (3,), 3) == ()
    assert scoring.explain(LAYOUT, VECTOR, (5,), 3) == (Reason("f5", "v5", 0.25),)


def test_a_checked_vector_is_a_copy():
    """What the caller does with his array afterwards changes nothing."""
    mine = VECTOR.copy()
    checked = scoring.checked_vector(mine, LAYOUT)
    mine[0] = 99.0

    assert checked.tolist() == VECTOR.tolist()


@pytest.mark.parametrize("bad", [VECTOR[:-1], np.append(VECTOR, 0.0), VECTOR.reshape(2, 4), VECTOR * np.nan, VECTOR + np.inf])
def test_a_bad_vector_is_refused(bad):
    """Another length or shape, or a number that is not finite."""
    with pytest.raises(ValueError, match=r"a vector of|not finite"):
        scoring.checked_vector(bad, LAYOUT)


def test_scoring_does_not_cost_river():
    """The portal imports scoring, the encoders and the catalogue without River."""
    program = "import sys, federation.heads.scoring, federation.heads.products, federation.heads.fraud, federation.heads.credit; sys.exit('river' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
