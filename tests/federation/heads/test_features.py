"""Bins, choices and schema files."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.errors import Broken
from federation.heads.features import Bins, Choices, FeatureSchema
from federation.heads.head import FeatureError
from federation.messages import HeadName

SCHEMA = """
head = "credit"
version = 2
prior_log_odds = -1
[[numbers]]
names = ["amount", "debt"]
edges = [10, 20]
least = 0
most = 100
usual = 15
[[categories]]
name = "sector"
known = ["farm", "shop"]
[[pairs]]
of = ["amount", "sector"]
[ignored]
numbers = ["shoe_size"]
categories = ["hat"]
"""


def test_bins_hold_their_lower_edge_and_not_their_upper():
    """Below the first edge, between two, from the last on."""
    bins = Bins("amount", (10.0, 20.0), 0.0, 100.0)

    assert bins.values == ("below 10", "10 to 20", "from 20")
    assert [bins.place_of(value) for value in (0, 9.99, 10, 19.99, 20, 100)] == [0, 0, 1, 1, 2, 2]


def test_the_usual_bin_is_silent():
    """It has no place, and the others close ranks."""
    bins = Bins("amount", (10.0, 20.0), 0.0, 100.0, usual=15.0)

    assert bins.values == ("below 10", "from 20")
    assert [bins.place_of(value) for value in (5, 15, 50)] == [0, None, 1]


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_every_number_has_a_bin_or_is_refused(value):
    """Within the range a bin, outside it and for NaN a sentence that names the feature."""
    bins = Bins("amount", (10.0, 20.0), 0.0, 100.0)
    if 0 <= value <= 100:
        assert bins.place_of(value) in {0, 1, 2}
    else:
        with pytest.raises(FeatureError, match="amount is"):
            bins.place_of(value)


@pytest.mark.parametrize(
    ("edges", "least", "most", "usual"),
    [
        ((), 0, 100, None),
        ((20.0, 10.0), 0, 100, None),
        ((10.0, 10.0), 0, 100, None),
        ((0.0,), 0, 100, None),
        ((100.0,), 0, 100, None),
        ((10.0,), 0, math.nan, None),
        ((math.nan,), 0, 100, None),
        ((10.0,), 0, 100, 101.0),
    ],
)
def test_bins_that_cannot_be_are_refused(edges, least, most, usual):
    """No edge, edges that do not ascend within the range, a usual value outside it."""
    with pytest.raises(Broken):
        Bins("amount", edges, least, most, usual)


def test_an_unknown_value_is_other():
    """Known values keep their place; whatever comes later shares one."""
    choices = Choices("sector", ("farm", "shop"))

    assert choices.values == ("farm", "shop", "other")
    assert [choices.place_of(value) for value in ("farm", "shop", "bank", "")] == [0, 1, 2, 2]
    with pytest.raises(Broken):
        Choices("sector", ("farm", "other"))


def test_a_schema_is_read_whole():
    """Head, version, prior, one feature per name, pairs and ignored names."""
    schema = FeatureSchema.parsed(SCHEMA)

    assert (schema.head, schema.version, schema.prior) == (HeadName.CREDIT, 2, -1.0)
    assert [bins.name for bins in schema.numbers] == ["amount", "debt"]
    assert schema.numbers[1].values == ("below 10", "from 20")
    assert [choices.name for choices in schema.categories] == ["sector"]
    assert schema.pairs == (("amount", "sector"),)
    assert schema.ignored == {"shoe_size", "hat"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('names = ["amount", "debt"]', 'names = ["amount", "amount"]'),
        ('names = ["amount", "debt"]', 'names = ["amount", "sector"]'),
        ('of = ["amount", "sector"]', 'of = ["amount", "age"]'),
        ('categories = ["hat"]', 'categories = ["sector"]'),
    ],
)
def test_a_schema_that_contradicts_itself_is_refused(old, new):
    """A feature declared twice, a pair of nothing, a feature both scored and ignored."""
    assert old in SCHEMA
    with pytest.raises(Broken):
        FeatureSchema.parsed(SCHEMA.replace(old, new))


@pytest.mark.parametrize("head", HeadName)
def test_every_head_has_a_shipped_schema(head):
    """The package carries a schema per head, and it is that head's."""
    schema = FeatureSchema.shipped(head)

    assert schema.head is head
    assert schema.version >= 1
