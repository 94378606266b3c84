"""What is remembered of customers and terminals, and forgotten."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.heads.behaviour import DAY_MS, Behaviour, Habit, Kind, Record, Row, habit_at, record_at

PAYMENTS = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from("wxyz"), st.floats(0, 500), st.integers(0, 90 * DAY_MS), st.booleans()), max_size=40
)


def _lived(behaviour, payments):
    for customer, terminal, amount, at_ms, fraud in payments:
        behaviour.observe(customer, terminal, amount, at_ms)
        behaviour.label(terminal, fraud, at_ms + 7 * DAY_MS)


def test_what_was_paid_fades():
    """A payment counts 1 when made; after a day 1/e among the day's, after 28 days 1/e among the month's."""
    behaviour = Behaviour()
    behaviour.observe("ann", "shop", 30.0, 1000)
    habit, record = behaviour.customer("ann"), behaviour.terminal("shop")

    assert habit == Habit(1000, 1.0, 1.0, 30.0)
    assert record == Record(1000, 1.0, 0.0, 0.0)
    assert habit_at(habit, 1000 + DAY_MS).payments_day == pytest.approx(1 / math.e)
    assert habit_at(habit, 1000 + 28 * DAY_MS)[2:] == pytest.approx((1 / math.e, 30 / math.e))
    assert record_at(record, 1000 + 28 * DAY_MS).payments == pytest.approx(1 / math.e)


@given(st.integers(0, 400 * DAY_MS), st.integers(0, 400 * DAY_MS))
def test_fading_in_two_steps_is_fading_in_one(first, second):
    """What is remembered does not depend on when it was looked at; looking back changes nothing."""
    habit, record = Habit(0.0, 3.0, 9.0, 200.0), Record(0.0, 8.0, 5.0, 2.0)

    assert habit_at(habit_at(habit, first), first + second) == pytest.approx(habit_at(habit, first + second))
    assert record_at(record_at(record, first), first + second) == pytest.approx(record_at(record, first + second))
    assert habit_at(Habit(first, 1.0, 1.0, 1.0), first - 1) == Habit(first, 1.0, 1.0, 1.0)
    assert record_at(Record(first, 1.0, 1.0, 1.0), first - 1) == Record(first, 1.0, 1.0, 1.0)


def test_a_label_reaches_its_terminal():
    """Confirmed frauds and ruled-out ones count among the labels, from the day they became known."""
    behaviour = Behaviour()
    behaviour.observe("ann", "shop", 30.0, 0)
    behaviour.label("shop", True, 7 * DAY_MS)
    behaviour.label("shop", False, 7 * DAY_MS)

    assert behaviour.terminal("shop") == pytest.approx(Record(7 * DAY_MS, math.exp(-7 / 28), 2.0, 1.0))


def test_a_label_of_a_forgotten_terminal_is_let_go():
    """It would bring back a key with nothing but a label."""
    behaviour = Behaviour()
    behaviour.label("shop", True, 0)

    assert behaviour.terminal("shop") is None
    assert behaviour.take_changes() == ()


def test_events_out_of_order_count_as_if_now():
    """An older event neither rejuvenates nor raises what is remembered."""
    behaviour = Behaviour()
    behaviour.observe("ann", "shop", 30.0, 2 * DAY_MS)
    behaviour.observe("ann", "shop", 10.0, DAY_MS)

    assert behaviour.customer("ann") == Habit(2 * DAY_MS, 2.0, 2.0, 40.0)


def test_the_key_longest_unused_is_forgotten():
    """Memory is bounded; being used keeps a key, a label does not."""
    behaviour = Behaviour(keys_max=2)
    behaviour.observe("ann", "shop-1", 1.0, 0)
    behaviour.observe("ben", "shop-2", 1.0, 1)
    behaviour.observe("ann", "shop-2", 1.0, 2)
    behaviour.label("shop-1", True, 3)
    behaviour.take_changes()
    behaviour.observe("cy", "shop-3", 1.0, 4)

    assert [behaviour.customer(key) is not None for key in ("ann", "ben", "cy")] == [True, False, True]
    assert [behaviour.terminal(f"shop-{key}") is not None for key in (1, 2, 3)] == [False, True, True]
    changed = {(row.kind, row.key): row.numbers is not None for row in behaviour.take_changes()}
    assert changed == {
        (Kind.CUSTOMER, "cy"): True, (Kind.CUSTOMER, "ben"): False, (Kind.TERMINAL, "shop-3"): True, (Kind.TERMINAL, "shop-1"): False,
    }  # fmt: skip


@settings(derandomize=True, max_examples=50)
@given(PAYMENTS, PAYMENTS)
def test_saved_rows_are_the_whole_memory(before, after):
    """Changes saved as they come and loaded again: the copy remembers, and goes on, bit for bit."""
    original, saved = Behaviour(), {}
    for part in (before[:20], before[20:]):
        _lived(original, part)
        saved |= {(row.kind, row.key): row for row in original.take_changes()}
    assert original.take_changes() == ()
    copy = Behaviour()
    copy.load(saved.values())
    _lived(original, after)
    _lived(copy, after)

    assert copy._customers == original._customers
    assert copy._terminals == original._terminals


def test_loading_restores_who_was_used_last():
    """In whatever order rows come, the oldest is the next to be forgotten, and a forgotten key stays forgotten."""
    behaviour = Behaviour(keys_max=2)
    rows = [Row(Kind.CUSTOMER, key, (at, 1.0, 1.0, 1.0)) for key, at in (("new", 9.0), ("old", 1.0))]
    behaviour.load([*rows, Row(Kind.CUSTOMER, "gone", None)])
    behaviour.observe("newest", "shop", 1.0, 10)

    assert [behaviour.customer(key) is not None for key in ("old", "new", "gone")] == [False, True, False]


@pytest.mark.parametrize("numbers", [(1.0, 1.0, 1.0), (1.0, 1.0, 1.0, math.nan), (1.0, 1.0, 1.0, 1.0, 1.0)])
@pytest.mark.parametrize("kind", Kind)
def test_a_row_that_is_not_a_memory_is_refused(kind, numbers):
    """Too short, too long or not finite: better no start than a wrong memory."""
    with pytest.raises(ValueError, match="saved row"):
        Behaviour().load([Row(kind, "k", numbers)])
