from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.errors import Broken
from federation.heads.head import Layout
from federation.heads.scorecard import Scorecard
from federation.messages import HeadName
from federation.rounds.effects import model_digest
from institution_workers.pupil import FEDERATED, LOCAL, Basis, Pupil

LAYOUT = Layout(HeadName.FRAUD, 1, ("intercept=always", *(f"feature={n}" for n in range(5))))


def _pupil(*lessons):
    pupil = Pupil.new(LAYOUT, learning_rate=0.1)
    for active, positive in lessons:
        pupil.teach(active, positive)
        pupil.count_example()
    return pupil


def _model(seed):
    return np.random.RandomState(seed).normal(size=len(LAYOUT))


def test_included_keeps_what_was_learned_since_the_contribution():
    """New model + (now - as contributed): the rest was said."""
    pupil = _pupil(((1, 2), True), ((3,), False))
    pupil.contribute(1, 7)
    contributed = pupil.federated.to_vector()
    pupil.teach((1, 4), True)
    pupil.count_example()
    since = pupil.federated.to_vector() - contributed
    pupil.acknowledge(1, 7, included=True)
    pupil.adopt(_model(0), Basis(1, 1, 7))

    assert np.array_equal(pupil.federated.to_vector(), _model(0) + since)
    assert (pupil.learned, pupil.basis) == (3, Basis(1, 1, 7))


def test_left_out_keeps_everything_learned_since_the_base():
    """New model + (now - old base): only the lessons said are gone."""
    pupil = _pupil(((1, 2), True))
    pupil.contribute(1, 7)
    learned = pupil.federated.to_vector() - pupil.base
    pupil.acknowledge(1, 7, included=False)
    pupil.adopt(_model(0), Basis(1, 1, 7))

    assert np.array_equal(pupil.federated.to_vector(), _model(0) + learned)


def test_models_missed_are_made_up_for_by_the_newest():
    """Included in one model and absent for three more: only what the federation lacks stands on the newest."""
    pupil = _pupil(((1, 2), True))
    pupil.contribute(1, 7)
    pupil.teach((5,), True)
    since = pupil.federated.to_vector() - pupil.contributed
    pupil.acknowledge(1, 7, included=True)
    for number in (8, 9, 10):
        pupil.acknowledge(1, number, included=False)
    pupil.adopt(_model(3), Basis(4, 1, 10))

    assert np.array_equal(pupil.federated.to_vector(), _model(3) + since)
    assert pupil.base_digest == model_digest(_model(3))


def test_every_customer_starts_at_the_global_model():
    """An update is what his own lessons change there, learned one after the other; the order of customers is irrelevant."""
    pupil = _pupil(((1, 2), True), ((3,), False))
    pupil.adopt(_model(0), Basis(1, 1, 1))
    anna, ben = [((1, 2), True), ((1, 4), True)], [((3,), False)]
    updates = pupil.updates([anna, ben])
    alone = Scorecard(LAYOUT, learning_rate=0.1)
    alone.from_vector(_model(0))
    for lesson in anna:
        alone.learn(*lesson)

    dense = np.zeros(len(LAYOUT))
    dense[list(updates[0])] = list(updates[0].values())
    assert dense == pytest.approx(alone.to_vector() - _model(0), abs=1e-15)
    assert set(updates[1]) == {0, 3}
    assert pupil.updates([ben, anna]) == updates[::-1]


def test_a_model_with_somebody_elses_contribution_in_our_name_stops_us():
    """Rebasing on what we never said would lose what we learned."""
    pupil = _pupil(((1,), True))
    pupil.contribute(1, 7)

    with pytest.raises(Broken, match="not ours"):
        pupil.acknowledge(1, 8, included=True)


def test_the_local_model_never_sees_the_federation():
    """Adopting a global model leaves the local-only model alone."""
    pupil = _pupil(((1,), True))
    before = pupil.local.to_vector()
    pupil.adopt(_model(1), Basis(1, 1, 1))

    assert np.array_equal(pupil.local.to_vector(), before)


@pytest.mark.parametrize("model", [np.zeros(3), np.full(6, np.nan)])
def test_a_model_that_is_none_is_refused(model):
    """Another length or not finite: ValueError, and nothing changes."""
    pupil = _pupil(((1,), True))
    before = pupil.federated.to_vector()

    with pytest.raises(ValueError, match=r"coordinates|finite"):
        pupil.adopt(model, Basis(1, 1, 1))
    assert np.array_equal(pupil.federated.to_vector(), before)


def test_a_useless_global_model_is_not_trusted():
    """Never worse than alone: after some labels the mixture served is all but the local model, and goes back when it improves."""
    pupil = _pupil()
    pupil.adopt(_model(0) * 5, Basis(1, 1, 1))
    for number in range(200):
        positive = number % 2 == 0
        pupil.note_losses(*((-4.0, 2.0) if positive else (4.0, -2.0)), positive)
    assert pupil.trust() < 1e-9
    assert np.allclose(pupil.serving(), pupil.local.to_vector())
    for number in range(5000):
        pupil.note_losses(*((4.0, 0.0) if number % 2 else (-4.0, 0.0)), bool(number % 2))

    assert pupil.trust() > 0.99


def test_equally_good_models_are_mixed_in_halves():
    """Before anything is known neither is preferred."""
    pupil = _pupil(((1,), True))

    assert pupil.trust() == 0.5
    assert np.allclose(pupil.serving(), pupil.local.to_vector())


@settings(derandomize=True, max_examples=50)
@given(
    lessons=st.lists(st.tuples(st.sets(st.integers(1, 5), min_size=1), st.booleans()), max_size=30),
    after=st.lists(st.tuples(st.sets(st.integers(1, 5), min_size=1), st.booleans()), max_size=10),
    adopted=st.booleans(),
)
def test_a_restored_pupil_goes_on_bit_for_bit(lessons, after, adopted):
    """Vectors, counts and quality are the whole state: a pupil saved anywhere learns on as if never saved."""
    one = _pupil(*((tuple(sorted(active)), positive) for active, positive in lessons))
    one.contribute(3, 4)
    if adopted:
        one.acknowledge(3, 4, included=True)
        one.adopt(_model(2), Basis(5, 3, 4))
    one.quality[LOCAL].add(0.3, True)
    one.note_losses(0.1, 0.2, True)
    two = Pupil.new(LAYOUT, learning_rate=0.1)
    two.restore(one.vectors(), one.numbers())
    for kind in (FEDERATED, LOCAL):
        two.quality[kind].from_numbers(one.quality[kind].to_numbers())
    for active, positive in after:
        for pupil in (one, two):
            pupil.teach(tuple(sorted(active)), positive)
            pupil.count_example()

    for kind, vector in one.vectors().items():
        assert (vector is None) == (two.vectors()[kind] is None)
        assert vector is None or np.array_equal(vector, two.vectors()[kind])
    assert one.numbers() == two.numbers()
    assert one.quality[LOCAL].to_numbers() == two.quality[LOCAL].to_numbers()
