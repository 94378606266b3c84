"""House checks against every head of the package, and heads that break each of them."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest

import federation.heads
from federation.errors import Broken
from federation.heads.checks import checks
from federation.heads.head import Head, Layout
from federation.heads.scorecard import Scorecard
from federation.messages import HeadName


def _encoders():
    """Every class of the package that is shipped with a layout."""
    found = {}
    for module in pkgutil.iter_modules(federation.heads.__path__, "federation.heads."):
        for thing in vars(importlib.import_module(module.name)).values():
            if isinstance(thing, type) and hasattr(thing, "shipped") and not inspect.signature(thing.shipped).parameters:
                found[thing.__name__] = thing
    return found


ENCODERS = _encoders()


def _scorecard(layout: Layout) -> Head:
    return Scorecard(layout, learning_rate=0.1)


def test_every_head_is_found():
    """Each head of the protocol has an encoder in the package, and none has two."""
    assert sorted(encoder.shipped().layout.head for encoder in ENCODERS.values()) == sorted(HeadName)


@pytest.mark.parametrize("check", [pytest.param(check, id=name) for name, check in checks()])
@pytest.mark.parametrize("encoder", ENCODERS.values(), ids=ENCODERS)
def test_every_head_keeps_house(encoder, check):
    """A scorecard over each shipped layout passes each house check."""
    check(lambda: encoder.shipped().layout, _scorecard)


class Forgetful(Scorecard):
    """Keeps something outside its vector."""

    lessons = 0

    def learn(self, active, positive, weight=1.0):
        self.lessons += 1
        super().learn(active, positive, weight / self.lessons)


class Boastful(Scorecard):
    def explain(self, active, most=5):
        return super().explain(active, most)[:most]


class Credulous(Scorecard):
    def from_vector(self, vector):
        if len(vector) == len(self.layout):
            super().from_vector([0.0 if number != number else number for number in vector])  # noqa: PLR0124 - NaN.


class Backward(Scorecard):
    def learn(self, active, positive, weight=1.0):
        super().learn(active, not positive, weight)


class Sprawling(Scorecard):
    def learn(self, active, positive, weight=1.0):
        super().learn((*active, 1 if 1 not in active else 2), positive, weight)


class Ordered(Scorecard):
    def learn(self, active, positive, weight=1.0):
        super().learn(active[:-1], positive, weight)


class Impartial(Scorecard):
    def __init__(self, layout, *, learning_rate):
        super().__init__(layout, learning_rate=learning_rate)
        self.learn((1,), positive=True)


@pytest.mark.parametrize(
    ("bad", "caught_by"),
    [
        (Forgetful, "vector_is_the_whole_state"),
        (Boastful, "points_add_up"),
        (Credulous, "bad_vectors_are_refused"),
        (Backward, "learning_moves_towards_the_label"),
        (Sprawling, "only_active_coordinates_learn"),
        (Ordered, "order_is_irrelevant"),
        (Impartial, "starts_at_the_prior"),
    ],
)
def test_a_bad_head_is_caught(bad, caught_by):
    """Each check refuses a head that breaks its rule."""
    layout = ENCODERS["FraudEncoder"].shipped().layout

    with pytest.raises(Broken):
        dict(checks())[caught_by](lambda: layout, lambda made: bad(made, learning_rate=0.1))


def test_an_unstable_layout_is_caught():
    """A layout that grows between two starts is refused."""
    layouts = iter([Layout(HeadName.FRAUD, 1, ("intercept=always", "a=1")), Layout(HeadName.FRAUD, 1, ("intercept=always", "a=2"))])

    with pytest.raises(Broken, match="differs"):
        dict(checks())["layout_survives_restarts"](lambda: next(layouts), _scorecard)


def test_a_portal_that_scores_otherwise_is_caught():
    """A head whose probability is not that of its vector is refused."""

    class Cheerful(Scorecard):
        def predict(self, active):
            return super().predict(active) / 2

    layout = ENCODERS["FraudEncoder"].shipped().layout
    with pytest.raises(Broken, match="portal"):
        dict(checks())["bare_vector_scores_alike"](lambda: layout, lambda made: Cheerful(made, learning_rate=0.1))
