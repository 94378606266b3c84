from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.errors import OwnFault
from federation.messages import RoundParameters
from federation.secagg.quantize import decode_sum, norm_quanta_max, quanta_per_example
from federation.secagg.ring import centred
from institution_workers.preparation import prepare

DIMENSION = 40


def _entropy(seed=0):
    """A recorded stream of bytes."""
    numbers = itertools.count()
    return lambda count: hashlib.shake_256(f"{seed}/{next(numbers)}".encode()).digest(count)


def _terms(**other):
    usual = {
        "dimension": DIMENSION,
        "layout_digest": bytes(32),
        "clip_norm": 1.0,
        "scale": 65536.0,
        "noise_sigma": 0.0,
        "examples_max": 1000,
        "chunk_length": 16,
    }
    return RoundParameters(**{**usual, **other})


def _delta(norm, seed=0):
    vector = np.random.RandomState(seed).normal(size=DIMENSION)
    return vector * (norm / np.linalg.norm(vector))


@settings(derandomize=True, max_examples=60)
@given(norm=st.floats(0, 1e6), examples=st.integers(0, 10**7), seed=st.integers(0, 99))
def test_nothing_leaves_beyond_the_clip_norm(norm, examples, seed):
    """Whatever was learned, the vector's norm in quanta is within the bound that noise is calibrated to, and so is the weight."""
    made = prepare(_delta(norm, seed), examples, _terms(), honest_survivors=3, entropy=_entropy(seed))
    quanta = centred(made.values).astype(float)

    assert np.linalg.norm(quanta[:-1]) <= norm_quanta_max(_terms())
    assert 0 <= quanta[-1] <= 1000 * quanta_per_example(_terms())
    assert made.was_clipped == (norm * min(examples, 1000) / 1000 > 1.0)


def test_the_sum_is_the_weighted_mean():
    """Two institutions with 100 and 300 examples: the mean of their updates, weighted one to three."""
    one, two = _delta(0.5, 1), _delta(0.8, 2)
    total = sum(prepare(delta, n, _terms(), honest_survivors=3, entropy=_entropy(n)).values for delta, n in ((one, 100), (two, 300)))
    mean, examples = decode_sum(total, _terms(), 2)

    assert examples == 400
    assert np.allclose(mean, (one + 3 * two) / 4, atol=2e-4)


def test_a_contribution_without_examples_is_only_noise():
    """Nothing learned: zeros, and all the noise; nobody sees the difference."""
    noisy = _terms(noise_sigma=500.0)
    made = prepare(np.zeros(DIMENSION), 0, noisy, honest_survivors=3, entropy=_entropy())
    quiet = prepare(_delta(0.9), 0, _terms(), honest_survivors=3, entropy=_entropy())

    assert np.count_nonzero(made.values) > DIMENSION / 2
    assert not quiet.values.any()


def test_the_noise_share_is_a_part_of_the_whole():
    """Each of h honest survivors adds variance sigma^2 / h, the count included."""
    noisy = _terms(dimension=20_000, noise_sigma=900.0)
    made = prepare(np.zeros(20_000), 0, noisy, honest_survivors=9, entropy=_entropy())

    assert np.std(centred(made.values)) == pytest.approx(300.0, rel=0.03)


def test_the_noise_is_drawn_anew():
    """Two contributions of the same update differ."""
    noisy = _terms(noise_sigma=500.0)
    entropy = _entropy()
    one, two = (prepare(_delta(0.5), 10, noisy, honest_survivors=3, entropy=entropy).values for _ in range(2))

    assert not np.array_equal(one, two)


@pytest.mark.parametrize(
    ("delta", "terms", "match"),
    [
        (np.zeros(DIMENSION + 1), _terms(), "coordinates"),
        (np.full(DIMENSION, np.inf), _terms(), "finite"),
        (np.zeros(DIMENSION), _terms(noise_sigma=2.0), "noise share"),
        (np.zeros(DIMENSION), _terms(clip_norm=-1.0), "norm"),
    ],
)
def test_what_cannot_be_made_properly_is_not_made(delta, terms, match):
    """Another layout, a diverged learner, noise too small to share, impossible terms: an error, never a vector."""
    with pytest.raises(OwnFault, match=match):
        prepare(delta, 5, terms, honest_survivors=3, entropy=_entropy())
