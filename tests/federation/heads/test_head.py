"""Layouts, their digests and names."""

from __future__ import annotations

import math

import pytest

from federation.errors import Broken
from federation.heads.head import INTERCEPT, Head, Layout
from federation.heads.scorecard import Scorecard
from federation.messages import HeadName

LAYOUT = Layout(HeadName.FRAUD, 3, (INTERCEPT, "amount=below 5", "amount=from 5", "hour=a=b"), -2.0)


def test_the_digest_names_everything_that_gives_a_vector_meaning():
    """Head, version, prior, names and their order: change one and the digest changes."""
    others = [
        Layout(HeadName.CREDIT, 3, LAYOUT.names, -2.0),
        Layout(HeadName.FRAUD, 4, LAYOUT.names, -2.0),
        Layout(HeadName.FRAUD, 3, LAYOUT.names, -2.5),
        Layout(HeadName.FRAUD, 3, (INTERCEPT, *LAYOUT.names[:0:-1]), -2.0),
        Layout(HeadName.FRAUD, 3, LAYOUT.names[:-1], -2.0),
    ]

    assert len({layout.digest for layout in (LAYOUT, *others)}) == 6
    assert LAYOUT.digest == Layout(HeadName.FRAUD, 3, LAYOUT.names, -2.0).digest


def test_names_lead_to_coordinates_and_back():
    """A name is its feature and its value; the value may hold an equals sign."""
    assert LAYOUT.index("amount=from 5") == 2
    assert LAYOUT.parts(2) == ("amount", "from 5")
    assert LAYOUT.parts(3) == ("hour", "a=b")
    assert len(LAYOUT) == 4
    with pytest.raises(KeyError):
        LAYOUT.index("amount=missing")


@pytest.mark.parametrize(
    ("names", "prior"),
    [
        ((), 0.0),
        (("a=1", INTERCEPT), 0.0),
        ((INTERCEPT, "a=1", "a=1"), 0.0),
        ((INTERCEPT, "a"), 0.0),
        ((INTERCEPT, "a=1\nb=2"), 0.0),
        ((INTERCEPT,), math.nan),
        ((INTERCEPT,), 21.0),
    ],
)
def test_a_layout_that_means_nothing_is_refused(names, prior):
    """No intercept first, a name twice, a name without a value or over two lines, a prior that is no log-odds."""
    with pytest.raises(Broken):
        Layout(HeadName.FRAUD, 1, names, prior)


def test_a_layout_longer_than_a_vector_may_be_is_refused(monkeypatch):
    """The bound of the protocol's vectors is checked where a layout is made."""
    monkeypatch.setattr("federation.heads.head.DIMENSION_MAX", 3)

    with pytest.raises(Broken, match="longer"):
        Layout(HeadName.FRAUD, 3, LAYOUT.names)


def test_a_scorecard_is_a_head():
    """The learner implements the protocol."""
    assert isinstance(Scorecard(LAYOUT, learning_rate=0.1), Head)
