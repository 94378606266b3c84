"""One customer's part in a sum of customers is bounded, exactly, and the sum is right on average."""

from __future__ import annotations

import hashlib
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.errors import Broken, OwnFault
from federation.limits import COORDINATE_QUANTA_MAX
from federation.privacy import customers
from federation.privacy.customers import summed
from federation.privacy.randomness import Stream

DIMENSION = 12
USUAL = {"dimension": DIMENSION, "clip_norm": 0.5, "clip_quanta": 64, "count_quanta": 16}

differences = st.floats(-1e6, 1e6) | st.floats(-0.5, 0.5)
updates = st.dictionaries(st.integers(0, DIMENSION - 1), differences, max_size=DIMENSION)


def stream(seed=0):
    numbers = itertools.count()
    return Stream(lambda count: hashlib.shake_256(f"{seed}/{next(numbers)}".encode()).digest(count))


def quanta_of(update, seed=0, **changes):
    return summed([update], **{**USUAL, **changes}, stream=stream(seed)).total


@settings(derandomize=True, max_examples=300, deadline=None)
@given(update=updates, seed=st.integers(0, 99))
def test_no_customer_is_worth_more_than_the_clip_norm(update, seed):
    """Whatever one customer's update is, his integers have an L2 norm of at most clip_quanta: computed with Python's integers."""
    total = quanta_of(update, seed)

    assert sum(int(value) ** 2 for value in total[:-1]) <= USUAL["clip_quanta"] ** 2
    assert total[-1] == USUAL["count_quanta"]


@settings(derandomize=True, max_examples=100, deadline=None)
@given(others=st.lists(updates, max_size=6), update=updates, place=st.integers(0, 6))
def test_adding_a_customer_changes_nobody_else(others, update, place):
    """With the same words drawn for each customer, the sums with and without him differ by his integers alone, and within the bound."""
    words = {number: Stream(lambda count, n=number: hashlib.shake_256(f"customer {n}".encode()).digest(count)) for number in range(8)}

    class Apart:
        """Each customer's words come from a stream of his own, whoever else is there."""

        def __init__(self, people):
            self.people = people

        def fractions(self, count):
            drawn = [words[number].fractions(size) for number, size in self.people]
            assert sum(map(len, drawn)) == count
            return np.concatenate([np.zeros(0), *drawn])

    def total(people):
        for number in words:
            words[number] = Stream(lambda count, n=number: hashlib.shake_256(f"customer {n}".encode()).digest(count))
        return summed([u for _, u in people], **USUAL, stream=Apart([(n, len(u)) for n, u in people])).total

    without = list(enumerate(others))
    with_him = [*without[:place], (7, update), *without[place:]]
    difference = total(with_him) - total(without)

    assert sum(int(value) ** 2 for value in difference) <= USUAL["clip_quanta"] ** 2 + USUAL["count_quanta"] ** 2


small = st.lists(st.dictionaries(st.integers(0, DIMENSION - 1), st.floats(-0.03, 0.03), max_size=DIMENSION), max_size=6)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(people=small, seed=st.integers(0, 99), norm=st.sampled_from([0.5, 0.25, 1.0]))
def test_a_customer_is_off_by_less_than_one_quantum(people, seed, norm):
    """Against rational arithmetic: every coordinate of a sum of customers who are not cut is less than one quantum a customer away."""
    clip_quanta = int(128 * norm)  # 128 quanta a unit, so that multiplying is exact.
    made = summed(people, **{**USUAL, "clip_norm": norm, "clip_quanta": clip_quanta}, stream=stream(seed))
    for coordinate in range(DIMENSION):
        exact = sum((Fraction(update.get(coordinate, 0.0)) * 128 for update in people), Fraction(0))
        off = abs(Fraction(int(made.total[coordinate])) - exact)

        assert off < len(people) or off == 0
    assert made.clipped == 0


def test_an_update_within_the_norm_is_whole_and_right_on_average():
    """Rounded up or down by less than one quantum, the mean of many roundings is the update."""
    update, many = {0: 0.1, 3: -0.2, 11: 0.0123}, 40_000
    made = summed([update] * many, **USUAL, stream=stream())
    exact = np.zeros(DIMENSION)
    exact[list(update)] = np.array(list(update.values())) * 128

    assert made.clipped == 0
    assert made.customers == many
    assert np.abs(made.total[:-1] / many - exact).max() < 5 * 0.5 / math.sqrt(many)
    assert np.abs(quanta_of(update)[:-1] - exact).max() < 1


def test_a_long_update_keeps_its_direction():
    """Cut to the norm, less the room that rounding needs; nothing else changes."""
    update = {k: 3.0 * (k + 1) for k in range(4)}
    made = summed([update] * 10_000, **USUAL, stream=stream())
    mean = made.total[:4] / 10_000

    assert made.clipped == 10_000
    assert np.linalg.norm(mean) == pytest.approx(64 - 2, abs=0.05)
    assert mean / mean[0] == pytest.approx([1, 2, 3, 4], rel=0.01)


def test_nobody_is_a_sum_too():
    """Without customers all is zero; a customer whose events change nothing still counts."""
    nobody, quiet = (summed(people, **USUAL, stream=stream()) for people in ([], [{}, {5: 0.0}]))

    assert not nobody.total.any()
    assert quiet.total.tolist() == [0] * DIMENSION + [32]


def test_a_sum_beyond_the_ring_is_cut_to_it_and_said():
    """More customers than a coordinate can hold: coordinates and count stop at the bound, and two such sums come no further apart."""
    many = summed([{0: 0.5}] * 3000, dimension=1, clip_norm=0.5, clip_quanta=4096, count_quanta=2048, stream=stream())

    assert many.total.tolist() == [COORDINATE_QUANTA_MAX, COORDINATE_QUANTA_MAX]
    assert many.clamped == 2


@pytest.mark.parametrize("bad", [{0: math.nan}, {0: math.inf}, {0: 1e200, 1: 1e200}, {DIMENSION: 0.1}, {-1: 0.1}])
def test_an_update_that_cannot_be_is_refused(bad):
    """Not finite, or not of this round: an error, never a sum. The coordinate after the last is the count, and nobody's update's."""
    with pytest.raises(OwnFault):
        quanta_of(bad)


def test_too_few_quanta_to_round_to_are_refused():
    """Rounding twelve coordinates may lengthen an update by 3.5 quanta: of six, that is too many."""
    with pytest.raises(OwnFault, match="too few"):
        quanta_of(dict.fromkeys(range(DIMENSION), 0.1), clip_quanta=6)


def test_integers_beyond_the_bound_stop_us(monkeypatch):
    """Were cutting ever to leave too much, nothing would leave."""
    monkeypatch.setattr(customers, "_SLACK", -1.0)

    with pytest.raises(Broken, match="beyond the clip norm"):
        quanta_of({0: 9.0})
