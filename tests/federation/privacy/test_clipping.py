"""The norm bound holds exactly."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.errors import OwnFault
from federation.privacy.clipping import clip

vectors = st.lists(st.floats(min_value=-1e6, max_value=1e6), min_size=1, max_size=30)


def exact_square(values):
    return sum((Fraction(value) ** 2 for value in values), Fraction(0))


@settings(derandomize=True, deadline=None)
@given(vectors, st.floats(min_value=1e-6, max_value=1e6))
def test_the_exact_norm_is_within_the_bound(values, norm):
    """Computed with fractions, the norm of what comes out is at most the bound."""
    assert exact_square(clip(np.array(values), norm).delta) <= Fraction(norm) ** 2


@settings(derandomize=True, deadline=None)
@given(vectors)
def test_a_short_vector_is_left_alone(values):
    """Bit for bit, and it is said so."""
    norm = 2 * float(np.linalg.norm(values)) + 1
    clipped = clip(np.array(values), norm)

    assert clipped.delta.tolist() == values
    assert not clipped.was_clipped


def test_a_long_vector_keeps_its_direction():
    """(3, 4) cut to 1 is (0.6, 0.8), and its former norm is told."""
    clipped = clip(np.array([3.0, 4.0]), 1.0)

    assert clipped.was_clipped
    assert clipped.norm_before == 5.0
    assert clipped.delta == pytest.approx([0.6, 0.8], rel=1e-8)


def test_a_vector_on_the_bound_is_cut_a_little():
    """Where float64 cannot tell, the vector is cut: by two parts in a thousand million."""
    clipped = clip(np.array([0.6, 0.8]), 1.0)

    assert exact_square(clipped.delta) < 1
    assert clipped.delta == pytest.approx([0.6, 0.8], rel=1e-8)


def test_a_large_vector_is_within_the_bound():
    """A million coordinates: float64's rounding does not push it over."""
    delta = np.random.default_rng(7).standard_normal(1 << 20)
    clipped = clip(delta, 1.0).delta

    assert math.fsum(float(value) ** 2 for value in clipped) < 1.0


@pytest.mark.parametrize("bad", [[math.nan], [math.inf, 1.0], [1e300, 1e300]])
def test_a_diverged_update_is_refused(bad):
    """No finite norm, no contribution."""
    with pytest.raises(OwnFault, match="diverged"):
        clip(np.array(bad), 1.0)


@pytest.mark.parametrize("norm", [0.0, -1.0, math.nan, math.inf])
def test_a_bound_is_positive(norm):
    """Another bound is the caller's mistake."""
    with pytest.raises(OwnFault, match="clip norm"):
        clip(np.zeros(2), norm)
