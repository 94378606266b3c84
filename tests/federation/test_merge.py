"""The next model, and groups' means as one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.errors import OwnFault
from federation.merge import combine_groups, next_model
from federation.messages import GroupRule

FINITE = st.floats(-1e6, 1e6)
VECTORS = st.integers(1, 6).flatmap(lambda d: st.lists(st.lists(FINITE, min_size=d, max_size=d).map(np.array), min_size=2, max_size=9))


def test_the_next_model_is_the_base_and_a_step():
    """FedAvg: as far along the mean update as the server's step says; neither input changes."""
    base, delta = np.array([1.0, -2.0]), np.array([0.5, 4.0])

    assert next_model(base, delta, server_step=1.0).tolist() == [1.5, 2.0]
    assert next_model(base, delta, server_step=0.5).tolist() == [1.25, 0.0]
    assert (base.tolist(), delta.tolist()) == ([1.0, -2.0], [0.5, 4.0])


@pytest.mark.parametrize(
    ("base", "delta", "step"),
    [
        ([0.0, 0.0], [np.nan, 0.0], 1.0),
        ([0.0, 0.0], [np.inf, 0.0], 1.0),
        ([np.inf, 0.0], [0.0, 0.0], 1.0),
        ([np.inf, 0.0], [-np.inf, 0.0], 1.0),
        ([1e308, 0.0], [1e308, 0.0], 1.0),
        ([0.0, 0.0], [0.0, 0.0], np.nan),
        ([0.0, 0.0], [0.0], 1.0),
        ([[0.0]], [[0.0]], 1.0),
    ],
)
def test_a_model_that_is_none_is_refused(base, delta, step):
    """Not finite, overflowing, of another length or shape."""
    with pytest.raises(OwnFault):
        next_model(np.array(base), np.array(delta), server_step=step)


@settings(derandomize=True)
@given(VECTORS, st.sampled_from(GroupRule))
def test_every_rule_stays_within_the_groups(means, rule):
    """Coordinate by coordinate between the least and the greatest; equal groups give what they all say, in any order the same bits."""
    trim = (len(means) - 1) // 2 if rule is GroupRule.TRIMMED_MEAN else 0
    combined = combine_groups(means, [1.0] * len(means), rule=rule, trim=trim)

    assert np.all(combined >= np.min(means, axis=0) - 1e-6)
    assert np.all(combined <= np.max(means, axis=0) + 1e-6)
    assert combine_groups([means[0]] * 4, [1.0] * 4, rule=rule, trim=int(rule is GroupRule.TRIMMED_MEAN)) == pytest.approx(means[0])
    if rule is not GroupRule.MEAN:
        assert combine_groups(means[::-1], [2.0] * len(means), rule=rule, trim=trim).tobytes() == combined.tobytes()


def test_the_mean_weighs_by_examples():
    """Three times the examples, three times the say."""
    assert combine_groups([np.array([0.0]), np.array([4.0])], [1, 3], rule=GroupRule.MEAN).tolist() == [3.0]


@pytest.mark.parametrize(("rule", "trim"), [(GroupRule.MEDIAN, 0), (GroupRule.TRIMMED_MEAN, 1)])
def test_one_group_of_liars_moves_a_robust_rule_no_further_than_the_honest(rule, trim):
    """Whatever it says and however many examples it claims."""
    honest = [np.array([value]) for value in (1.0, 2.0, 3.0)]
    for lie in (-1e9, 1e9):
        combined = combine_groups([*honest, np.array([lie])], [1, 1, 1, 1e9], rule=rule, trim=trim)
        assert 1.0 <= combined[0] <= 3.0


def test_what_is_trimmed_is_trimmed_at_both_ends():
    """Of eight without two at each end, the middle four; of a median, the middle one or the mean of the middle two."""
    means = [np.array([float(2**n)]) for n in range(8)]

    assert combine_groups(means, [1] * 8, rule=GroupRule.TRIMMED_MEAN, trim=2).tolist() == [(4 + 8 + 16 + 32) / 4]
    assert combine_groups(means, [1] * 8, rule=GroupRule.MEDIAN).tolist() == [(8 + 16) / 2]
    assert combine_groups(means[:7], [1] * 7, rule=GroupRule.MEDIAN).tolist() == [8]


@pytest.mark.parametrize("trim", [-1, 2, 3])
def test_a_trim_that_leaves_nothing_is_refused(trim):
    """Two off each end of four leave none."""
    with pytest.raises(OwnFault):
        combine_groups([np.array([1.0])] * 4, [1] * 4, rule=GroupRule.TRIMMED_MEAN, trim=trim)


@pytest.mark.parametrize(
    ("means", "weights"),
    [
        ([], []),
        ([[1.0]], [1.0, 1.0]),
        ([[1.0], [1.0, 2.0]], [1.0, 1.0]),
        ([[[1.0]]], [1.0]),
        ([[np.nan]], [1.0]),
        ([[1.0]], [0.0]),
        ([[1.0]], [-1.0]),
        ([[1.0]], [np.inf]),
    ],
)
@pytest.mark.parametrize("rule", GroupRule)
def test_groups_that_do_not_fit_are_refused(means, weights, rule):
    """None, unequal numbers or lengths, what is not finite, a weight that is not positive."""
    with pytest.raises(OwnFault):
        combine_groups([np.array(mean) for mean in means], weights, rule=rule)
