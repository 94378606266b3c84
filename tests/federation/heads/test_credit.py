"""Applications as coordinates."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.heads.credit import CreditEncoder
from federation.heads.features import FeatureSchema
from federation.heads.head import FeatureError
from federation.messages import CreditApplication, HeadName

NUMBERS = {
    "amount": 50_000.0, "term_months": 84.0, "employees": 4.0, "jobs_created": 0.0, "jobs_retained": 2.0, "guaranteed_share": 0.5,
    "credit_limit": 1e5, "age": 41.0, "balance_mean": 4e4, "balance_min": -3.0, "income_monthly": 2.5e4, "instalment_ratio": 0.2,
    "transactions_monthly": 6.0, "district_salary": 9e3, "district_unemployment": 3.1,
} | {f"{name}_{month}": 1.0 for name in ("utilisation", "paid_ratio", "payment_status") for month in range(1, 7)}  # fmt: skip
CATEGORIES = {
    "sector": "44", "region": "CA", "business_age": "new", "franchise": "no", "location": "urban", "revolving": "yes", "low_doc": "no",
    "sex": "female", "education": "university", "marriage": "single", "purpose": "home", "frequency": "monthly",
}  # fmt: skip
ENCODER = CreditEncoder.shipped()


def _application(numbers=None, categories=None):
    return CreditApplication(
        event_id="a", customer="c", occurred_at_ms=0, consented=True, numbers=numbers or {}, categories=categories or {}
    )  # fmt: skip


def _named(encoder, application):
    return [encoder.layout.names[index] for index in encoder.encode(application)]


def test_each_feature_given_has_one_coordinate():
    """A bin or a value of its own; pairs when both are given."""
    application = _application({"term_months": 84.0, "amount": 25_000.0}, {"low_doc": "yes", "sector": "99"})

    assert _named(ENCODER, application) == [
        "term_months=84 to 85", "amount=25000 to 30000", "sector=other", "low_doc=yes", "term_months and low_doc=84 to 85 and yes",
    ]  # fmt: skip


def test_what_is_missing_has_none():
    """An application that says nothing scores as the prior and the intercept say."""
    assert ENCODER.encode(_application()) == ()
    assert _named(ENCODER, _application(categories={"low_doc": "no"})) == ["low_doc=no"]


@settings(derandomize=True, max_examples=50)
@given(st.permutations(sorted(NUMBERS)), st.permutations(sorted(CATEGORIES)))
def test_every_canonical_name_is_known_in_any_order(numbers, categories):
    """All names that adapters may use are accepted, and the order of a map means nothing."""
    application = _application({name: NUMBERS[name] for name in numbers}, {name: CATEGORIES[name] for name in categories})

    assert ENCODER.encode(application) == ENCODER.encode(_application(NUMBERS, CATEGORIES))


def test_who_a_customer_is_is_not_scored():
    """Sex, marriage, education and region change nothing."""
    alike = _application(NUMBERS, CATEGORIES | {"sex": "male", "marriage": "married", "education": "other", "region": "TX"})

    assert ENCODER.encode(alike) == ENCODER.encode(_application(NUMBERS, CATEGORIES))


@pytest.mark.parametrize(
    ("numbers", "categories", "sentence"),
    [
        ({"shoe_size": 44.0}, {}, "shoe_size is not a numeric feature"),
        ({"sector": 44.0}, {}, "sector is not a numeric feature"),
        ({}, {"amount": "much"}, "amount is not a categorical feature"),
        ({"amount": -1.0}, {}, "amount is -1, outside 0 to"),
        ({"term_months": 1e9}, {}, "term_months is 1e"),
        ({"amount": float("nan")}, {}, "amount is nan"),
    ],
)
def test_what_the_schema_does_not_know_is_refused_with_a_sentence(numbers, categories, sentence):
    """An unknown name, a name of the other kind, a value outside its range."""
    with pytest.raises(FeatureError, match=sentence):
        ENCODER.encode(_application(numbers, categories))


def test_coordinates_ascend_within_the_layout():
    """No intercept, none twice, all below the layout's length."""
    active = ENCODER.encode(_application(NUMBERS, CATEGORIES))

    assert list(active) == sorted(set(active))
    assert active[0] > 0
    assert active[-1] < len(ENCODER.layout)


def test_a_pair_names_the_right_cell():
    """Every combination of two features has a coordinate of its own, and a usual bin has none."""
    schema = FeatureSchema.parsed(
        """
        head = "credit"
        version = 1
        prior_log_odds = 0
        numbers = [
          {names = ["a"], edges = [1, 2], least = 0, most = 9, usual = 0}, {names = ["b"], edges = [1], least = 0, most = 9},
        ]
        pairs = [{of = ["a", "b"]}]
        """
    )
    encoder = CreditEncoder(schema)

    assert _named(encoder, _application({"a": 1.0, "b": 5.0})) == ["a=1 to 2", "b=from 1", "a and b=1 to 2 and from 1"]
    assert _named(encoder, _application({"a": 3.0, "b": 0.0})) == ["a=from 2", "b=below 1", "a and b=from 2 and below 1"]
    assert _named(encoder, _application({"a": 0.0, "b": 0.0})) == ["b=below 1"]


def test_the_shipped_layout_is_the_credit_heads():
    """It says so itself."""
    assert ENCODER.layout.head is HeadName.CREDIT
