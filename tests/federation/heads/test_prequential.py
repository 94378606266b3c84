"""Quality since the start and recently."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.heads.prequential import BINS, LOG_ODDS_MAX, MEMORY, PrequentialAuc, PrequentialHitRate

SCORED = st.lists(st.tuples(st.integers(-300, 300), st.booleans()), max_size=80)


def _counted(scored):
    measure = PrequentialAuc()
    for sixteenths, positive in scored:
        measure.add(sixteenths / 16 + 1 / 32, positive)
    return measure


def _exact(scored):
    """Chance that a positive outscores a negative, ties a half, by comparing all pairs."""
    held = [(max(-256, min(255, score)), positive) for score, positive in scored]
    pairs = [(p, n) for p, one in held if one for n, two in held if not two]
    return sum((p > n) + (p == n) / 2 for p, n in pairs) / len(pairs) if pairs else -1.0


@settings(derandomize=True)
@given(SCORED)
def test_the_area_is_that_of_all_pairs(scored):
    """Scores of different bins compare exactly; of one bin they are ties; beyond the ends they are ties too."""
    assert BINS == 2 * LOG_ODDS_MAX * 16
    assert _counted(scored).auc == pytest.approx(_exact(scored))


@settings(derandomize=True)
@given(SCORED)
def test_the_loss_is_the_textbooks(scored):
    """Mean of -ln p of what happened, from exact scores, without overflow."""
    measure = _counted(scored)
    losses = [np.logaddexp(0, -(s / 16 + 1 / 32) if positive else s / 16 + 1 / 32) for s, positive in scored]

    assert measure.log_loss == pytest.approx(np.mean(losses) if losses else -1.0)
    assert measure.scored == len(scored)


def test_nothing_is_claimed_before_both_classes_are_seen():
    """-1 until defined."""
    measure = PrequentialAuc()
    assert (measure.auc, measure.recent_auc, measure.log_loss, measure.recent_log_loss) == (-1.0, -1.0, -1.0, -1.0)
    measure.add(0.0, positive=False)
    assert (measure.auc, measure.recent_auc) == (-1.0, -1.0)
    measure.add(0.0, positive=True)
    assert (measure.auc, measure.recent_auc) == (0.5, 0.5)
    assert measure.log_loss == pytest.approx(math.log(2))


def test_the_recent_measure_forgets_the_beginning():
    """A model that was wrong long ago and is right now: recently good, since the start half good."""
    measure = PrequentialAuc()
    for number in range(20 * MEMORY):
        positive = number % 4 == 0
        right = 1.0 if number >= 10 * MEMORY else -1.0
        measure.add(right if positive else -right, positive)

    assert measure.recent_auc > 0.999
    assert measure.auc == pytest.approx(0.5)
    assert measure.recent_log_loss == pytest.approx(math.log1p(math.exp(-1)), abs=1e-3)
    assert measure.log_loss == pytest.approx(0.5 * (math.log1p(math.exp(-1)) + math.log1p(math.exp(1))))


def test_fading_is_to_one_over_e_after_memory_labels():
    """One early error weighs 1/e of a late one; the growing unit is folded back without a seam."""
    measure = PrequentialAuc()
    for _ in range(30 * MEMORY):
        measure.add(1.0, positive=False)
        assert 1.0 <= measure._unit <= 1e9
    measure.add(1.0, positive=True)
    for _ in range(MEMORY):
        measure.add(1.0, positive=False)
    negatives, positives = measure._counts[2:].sum(axis=1) / measure._unit

    assert positives == pytest.approx(1 / math.e)
    assert positives + negatives == pytest.approx(MEMORY, rel=1e-3)


@settings(derandomize=True)
@given(SCORED, SCORED)
def test_saved_numbers_are_the_whole_measure(before, after):
    """Restored, it counts on bit for bit."""
    original, copy = _counted(before), PrequentialAuc()
    copy.from_numbers(original.to_numbers())
    for score, positive in after:
        original.add(score / 16, positive)
        copy.add(score / 16, positive)

    assert copy.to_numbers() == original.to_numbers()


@settings(derandomize=True)
@given(SCORED, SCORED)
def test_merged_measures_count_both(one, two):
    """Since the start, as if one had counted all."""
    merged = _counted(one)
    merged.merge(_counted(two))

    assert merged.scored == len(one) + len(two)
    assert merged.auc == pytest.approx(_exact([*one, *two]))
    assert merged.log_loss == pytest.approx(_counted([*one, *two]).log_loss)


def test_merging_keeps_what_is_recent_recent():
    """A measure that has counted long and one that has counted little weigh by their recent labels."""
    long, short = PrequentialAuc(), PrequentialAuc()
    for number in range(5 * MEMORY):
        long.add(1.0, positive=bool(number % 2))
    short.add(2.0, positive=True)
    long.merge(short)

    assert long._counts[2:].sum() / long._unit == pytest.approx(MEMORY + 1, rel=0.01)


@pytest.mark.parametrize(
    "numbers", [[], [1.0] * (2 + 4 * BINS), [1.0, -1.0] + [0.0] * (1 + 4 * BINS), [math.nan] * (3 + 4 * BINS), [0.0] * (3 + 4 * BINS)]
)
def test_numbers_of_something_else_are_refused(numbers):
    """Another length, negative counts, numbers that are none, a unit of 0."""
    with pytest.raises(ValueError, match="prequential"):
        PrequentialAuc().from_numbers(numbers)


def test_a_hit_is_a_place_among_the_first_three():
    """Expected places over ties count as they are: 3.5 is no hit."""
    measure = PrequentialHitRate()
    assert (measure.rate, measure.recent_rate) == (-1.0, -1.0)
    for place in (1, 3, 3.5, 12):
        measure.add(place)

    assert (measure.scored, measure.hits, measure.rate) == (4, 2, 0.5)
    assert measure.recent_rate == pytest.approx(0.5, abs=0.001)


def test_the_recent_hit_rate_forgets():
    """Nothing hit for long, then everything."""
    measure = PrequentialHitRate()
    for number in range(20 * MEMORY):
        measure.add(1 if number >= 10 * MEMORY else 9)

    assert measure.rate == 0.5
    assert measure.recent_rate > 0.999


def test_hit_rates_are_saved_and_merged():
    """Bit for bit, and as one."""
    one, two, copy = PrequentialHitRate(), PrequentialHitRate(), PrequentialHitRate()
    for place in (1, 2, 8):
        one.add(place)
    two.add(9)
    copy.from_numbers(one.to_numbers())
    assert copy.to_numbers() == one.to_numbers()
    copy.merge(two)

    assert (copy.scored, copy.hits, copy.rate) == (4, 2, 0.5)
    assert copy.recent_rate == pytest.approx(0.5, abs=0.001)


@pytest.mark.parametrize(
    "numbers", [[1.0, 1.0], [1.0, 2.0, 1.0, 1.0], [1.0, 1.0, 1.0, 2.0], [1.0, -1.0, 1.0, 1.0], [math.inf, 1.0, 1.0, 1.0]]
)
def test_hit_rates_of_something_else_are_refused(numbers):
    """Another length, more hits than scored, counts below zero or without end."""
    with pytest.raises(ValueError, match="hit rate"):
        PrequentialHitRate().from_numbers(numbers)
