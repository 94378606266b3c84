"""The road out: what leaves is the customers' sum and its noise, or nothing."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.errors import OwnFault
from federation.messages import RoundParameters
from federation.privacy.accountant import sensitivity_quanta
from federation.secagg.quantize import decode_sum
from federation.secagg.ring import centred
from institution_workers.preparation import prepare

DIMENSION = 40


def _entropy(seed=0):
    """A recorded stream of bytes."""
    numbers = itertools.count()
    return lambda count: hashlib.shake_256(f"{seed}/{next(numbers)}".encode()).digest(count)


def _terms(**other):
    usual = {
        "dimension": DIMENSION, "layout_digest": bytes(32), "clip_norm": 1.0, "clip_quanta": 4096, "count_quanta": 1024,
        "noise_sigma": 0.0, "participations_max": 1, "period_days": 365, "delta": 1e-6, "chunk_length": 16,
    }  # fmt: skip
    return RoundParameters(**{**usual, **other})


def _update(norm, seed=0):
    vector = np.random.RandomState(seed).normal(size=DIMENSION)
    return dict(enumerate((vector * (norm / np.linalg.norm(vector))).tolist()))


@settings(derandomize=True, max_examples=60, deadline=None)
@given(norm=st.floats(0, 1e6), seed=st.integers(0, 99))
def test_one_customer_is_within_the_sensitivity(norm, seed):
    """A contribution of one customer is, count and all, no longer than what the noise multiplier is relative to."""
    made = prepare([_update(norm, seed)], _terms(), honest_survivors=3, entropy=_entropy(seed))

    assert np.linalg.norm(centred(made.values).astype(float)) <= sensitivity_quanta(4096, 1024)
    assert made.customers.clipped == (norm > 1 - np.sqrt(DIMENSION) / 4096)


def test_the_sum_is_the_mean_over_customers():
    """Two institutions with 100 and 300 customers: the mean of the customers' updates, one to three."""
    one, two = _update(0.5, 1), _update(0.8, 2)
    total = sum(prepare([update] * n, _terms(), honest_survivors=3, entropy=_entropy(n)).values for update, n in ((one, 100), (two, 300)))
    mean, customers = decode_sum(total, _terms(), 2)

    assert customers == 400
    assert mean == pytest.approx([(one[k] + 3 * two[k]) / 4 for k in range(DIMENSION)], abs=1e-4)


def test_a_contribution_of_nobody_is_only_noise():
    """Nothing learned: zeros, and all the noise; nobody sees the difference."""
    made = prepare([], _terms(noise_sigma=500.0), honest_survivors=3, entropy=_entropy())
    quiet = prepare([], _terms(), honest_survivors=3, entropy=_entropy())

    assert np.count_nonzero(made.values) > DIMENSION / 2
    assert not quiet.values.any()


def test_the_noise_share_is_a_part_of_the_whole():
    """Each of h honest survivors adds variance sigma^2 / h, the count included."""
    made = prepare([], _terms(dimension=20_000, noise_sigma=900.0), honest_survivors=9, entropy=_entropy())

    assert np.std(centred(made.values)) == pytest.approx(300.0, rel=0.03)


def test_the_noise_is_drawn_anew():
    """Two contributions of the same customers differ."""
    entropy = _entropy()
    one, two = (prepare([_update(0.5)], _terms(noise_sigma=500.0), honest_survivors=3, entropy=entropy).values for _ in range(2))

    assert not np.array_equal(one, two)


@pytest.mark.parametrize(
    ("update", "terms", "match"),
    [
        ({DIMENSION: 0.1}, _terms(), "coordinates"),
        ({0: np.inf}, _terms(), "finite"),
        ({}, _terms(noise_sigma=2.0), "noise share"),
        ({}, _terms(clip_norm=-1.0), "clip_norm"),
        ({}, _terms(clip_quanta=12), "too few"),
    ],
)
def test_what_cannot_be_made_properly_is_not_made(update, terms, match):
    """Another layout, a diverged learner, noise too small to share, impossible terms: an error, never a vector."""
    with pytest.raises(OwnFault, match=match):
        prepare([update], terms, honest_survivors=3, entropy=_entropy())
