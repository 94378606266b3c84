"""Payments as coordinates."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.errors import Broken
from federation.heads.behaviour import DAY_MS, Behaviour
from federation.heads.features import FeatureSchema
from federation.heads.fraud import QUANTITIES, FraudEncoder
from federation.heads.head import FeatureError
from federation.messages import CardTransaction, HeadName

NOON_MS = 20_000 * DAY_MS + DAY_MS // 2
MINUTE_MS = 60_000
ENCODER = FraudEncoder.shipped()


def _payment(at_ms=NOON_MS, customer="ann", terminal="shop", amount=50.0):
    return CardTransaction(event_id="p", customer=customer, occurred_at_ms=at_ms, consented=True, terminal=terminal, amount=amount)


def _paid(behaviour, payment):
    behaviour.observe(payment.customer, payment.terminal, payment.amount, payment.occurred_at_ms)


def _named(payment, behaviour):
    """Names of the coordinates, without the terminal's bucket."""
    names = [ENCODER.layout.names[index] for index in ENCODER.encode(payment, behaviour)]
    assert names[-1].startswith("terminal_bucket=")
    return names[:-1]


def test_a_first_payment_shows_its_amount_only():
    """Nothing is remembered, and noon is usual."""
    assert _named(_payment(), Behaviour()) == ["amount=20 to 60"]


def test_the_night_is_unusual():
    """Before six in the morning, UTC."""
    midnight = NOON_MS - DAY_MS // 2
    assert "hour=below 6" in _named(_payment(midnight), Behaviour())
    assert "hour=below 6" in _named(_payment(midnight + 6 * 3_600_000 - 1), Behaviour())
    assert "hour=below 6" not in _named(_payment(midnight + 6 * 3_600_000), Behaviour())


def test_an_amount_is_compared_with_the_customers_own():
    """Five times what the customer usually pays, whatever others pay."""
    behaviour = Behaviour()
    for day in range(3):
        _paid(behaviour, _payment(NOON_MS - (4 - day) * DAY_MS, amount=10.0, terminal="other"))
        _paid(behaviour, _payment(NOON_MS - (4 - day) * DAY_MS, amount=500.0, customer="ben"))

    assert "amount_to_usual=from 5" in _named(_payment(amount=50.0), behaviour)
    assert "amount_to_usual=below 0.5" in _named(_payment(amount=50.0, customer="ben"), behaviour)


def test_many_payments_in_little_time_are_unusual():
    """A card used again within minutes, and often within the day."""
    behaviour = Behaviour()
    for minute in range(8):
        _paid(behaviour, _payment(NOON_MS + minute * MINUTE_MS))
    names = _named(_payment(NOON_MS + 8 * MINUTE_MS), behaviour)

    assert "hours_since_last=below 0.25" in names
    assert "payments_1_day=from 6" in names
    assert not [name for name in _named(_payment(NOON_MS + 9 * DAY_MS), behaviour) if name.startswith(("hours", "payments"))]


def test_a_terminal_found_out_is_remembered():
    """Once a fraud there is confirmed, payments there show it; before, and elsewhere, they do not."""
    behaviour = Behaviour()
    _paid(behaviour, _payment())
    before = _named(_payment(NOON_MS + 7 * DAY_MS, customer="ben"), behaviour)
    behaviour.label("shop", True, NOON_MS + 7 * DAY_MS)
    after = _named(_payment(NOON_MS + 7 * DAY_MS, customer="ben"), behaviour)
    elsewhere = _named(_payment(NOON_MS + 7 * DAY_MS, customer="ben", terminal="mill"), behaviour)

    assert [name for name in before if "fraud" in name] == []
    assert [name for name in after if "fraud" in name] == ["terminal_frauds=1 to 2", "terminal_fraud_rate=from 0.4"]
    assert [name for name in elsewhere if "fraud" in name] == []


def test_a_new_terminal_is_unusual():
    """One payment within the month is little; one just now is enough to know the place."""
    behaviour = Behaviour()
    _paid(behaviour, _payment(NOON_MS - DAY_MS, customer="ben"))

    assert "terminal_payments=below 1" in _named(_payment(), behaviour)


def test_encoding_changes_nothing():
    """Scoring the same payment twice gives the same, and leaves nothing to save."""
    behaviour = Behaviour()
    _paid(behaviour, _payment(NOON_MS - DAY_MS))
    behaviour.take_changes()
    first = ENCODER.encode(_payment(), behaviour)

    assert ENCODER.encode(_payment(), behaviour) == first
    assert behaviour.take_changes() == ()


def test_terminals_share_buckets_across_institutions():
    """The same terminal has the same coordinate wherever it is seen, and others have others."""
    buckets = {terminal: ENCODER.encode(_payment(terminal=terminal), Behaviour())[-1] for terminal in map(str, range(100))}

    assert ENCODER.encode(_payment(terminal="7", customer="zoe"), Behaviour())[-1] == buckets["7"]
    assert len(set(buckets.values())) > 80


def test_free_payments_do_not_divide_by_zero():
    """A customer who has paid nothing but zeros has no usual amount."""
    behaviour = Behaviour()
    _paid(behaviour, _payment(NOON_MS - DAY_MS, amount=0.0))

    assert not [name for name in _named(_payment(), behaviour) if name.startswith("amount_to_usual")]


@settings(derandomize=True)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.floats(0, 1e9), st.integers(0, 2**46)), max_size=20))
def test_whatever_comes_has_coordinates_in_order(payments):
    """Amounts from nothing to the limit, times in any order: ascending coordinates within the layout."""
    behaviour = Behaviour()
    for customer, terminal, amount, at_ms in payments:
        payment = _payment(at_ms, customer, terminal, amount)
        active = ENCODER.encode(payment, behaviour)
        _paid(behaviour, payment)

        assert list(active) == sorted(set(active))
        assert active[0] > 0
        assert active[-1] < len(ENCODER.layout)


@pytest.mark.parametrize(
    ("payment", "sentence"),
    [
        (_payment(amount=-1.0), "amount is -1"),
        (_payment(amount=1e12), "amount is 1e"),
        (_payment(amount=float("inf")), "amount is inf"),
        (_payment(at_ms=-1), "before 1970"),
    ],
)
def test_absurd_payments_are_refused_with_a_sentence(payment, sentence):
    """Negative or endless amounts, times before time."""
    with pytest.raises(FeatureError, match=sentence):
        ENCODER.encode(payment, Behaviour())


def test_a_schema_of_other_quantities_is_refused():
    """The encoder computes what the schema declares, or does not start."""
    schema = FeatureSchema.shipped(HeadName.FRAUD)
    fewer = FeatureSchema(**{**vars(schema), "numbers": schema.numbers[1:]})
    bare = FeatureSchema(**{**vars(schema), "declared": {**schema.declared, "terminal_buckets": 0}})

    assert len(schema.numbers) == len(QUANTITIES)
    for wrong in (fewer, bare):
        with pytest.raises(Broken):
            FraudEncoder(wrong)
