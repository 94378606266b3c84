"""No customer spends what he has not: budgets, periods, restarts, lost states."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.messages import HeadName
from institution_workers.ledger import DAY_MS, Ledger, Price
from institution_workers.storage import Store

FRAUD, CREDIT = HeadName.FRAUD, HeadName.CREDIT
START_MS = 20_000 * DAY_MS
THREE = Price(cost=0.25, budget=0.75, period_days=10)


@pytest.fixture
def ledger(store):
    return Ledger(store.database)


def contribute(ledger, round_, customers, price=THREE, day=0, head=FRAUD):
    """Those who can pay, do; who that was."""
    at_ms = START_MS + day * DAY_MS
    spent = ledger.admitted(head, customers, price, at_ms)
    paying = {customer: total for customer, total in zip(customers, spent, strict=True) if total is not None}
    ledger.enter(head, round_, paying, price, at_ms)
    return list(paying)


def test_a_budget_of_three_is_for_three_contributions(ledger):
    """Whoever has spent it is left out; the others are not, and other heads have budgets of their own."""
    assert [contribute(ledger, n, ["anna"]) for n in range(1, 4)] == [["anna"]] * 3
    assert contribute(ledger, 4, ["anna", "ben"]) == ["ben"]
    assert contribute(ledger, 1, ["anna"], head=CREDIT) == ["anna"]
    assert ledger.spent_most(FRAUD) == 0.75


def test_a_contribution_counts_for_the_whole_period(ledger):
    """A day's spending is back when the day is a period ago, not a day earlier; then its row is gone."""
    for number, day in enumerate((0, 0, 5), start=1):
        contribute(ledger, number, ["anna"], day=day)

    assert contribute(ledger, 4, ["anna"], day=9) == []
    assert contribute(ledger, 5, ["anna"], day=10) == ["anna"]
    assert contribute(ledger, 6, ["anna"], day=10) == ["anna"]
    assert contribute(ledger, 7, ["anna"], day=14) == []
    assert contribute(ledger, 8, ["anna"], day=15) == ["anna"]
    assert ledger._database.execute("SELECT min(day) - 20000 FROM spendings").fetchone()[0] == 10


def test_other_noise_counts_by_its_cost(ledger):
    """Four contributions with half the noise of a dear round cost as much as one of it."""
    dear, cheap = Price(1.0, 2.0, 10), Price(0.25, 2.0, 10)
    assert contribute(ledger, 1, ["anna"], dear) == ["anna"]
    assert [contribute(ledger, n, ["anna"], cheap) for n in range(2, 6)] == [["anna"]] * 4

    assert contribute(ledger, 6, ["anna"], cheap) == contribute(ledger, 7, ["anna"], dear) == []


def test_who_contributed_without_noise_has_nothing_left(ledger):
    """Rounds without noise are for those who want no limit; whoever was in one is left out of every other for the period."""
    open_ = Price(math.inf, math.inf, 10)
    assert [contribute(ledger, n, ["anna"], open_) for n in (1, 2)] == [["anna"]] * 2

    assert contribute(ledger, 3, ["anna", "ben"]) == ["ben"]
    assert contribute(ledger, 4, ["anna"], day=10) == ["anna"]


def test_a_clock_set_back_brings_no_day_back(ledger):
    """Nor does it make spendings of yesterday spendings of the future."""
    contribute(ledger, 1, ["anna"], day=4)
    contribute(ledger, 2, ["anna"], day=-300)
    contribute(ledger, 3, ["anna"], day=3)

    assert contribute(ledger, 4, ["anna"], day=13) == []
    assert contribute(ledger, 5, ["anna"], day=14) == ["anna"]


def test_a_turn_that_failed_has_spent_nothing_and_one_that_was_saved_has(tmp_path):
    """Spending is part of the turn: rolled back with it, there after a restart."""
    store = Store.open(tmp_path, "bank")
    ledger = Ledger(store.database)

    def failing_turn():
        with store.turn():
            ledger.enter(FRAUD, 1, {"anna": 0.75}, Price(0.75, 0.75, 10), START_MS)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing_turn()
    assert ledger.spent_most(FRAUD) == 0
    with store.turn():
        ledger.enter(FRAUD, 1, {"anna": 0.75}, Price(0.75, 0.75, 10), START_MS)
    store.close()
    again = Store.open(tmp_path, "bank")

    assert Ledger(again.database).admitted(FRAUD, ["anna", "ben"], THREE, START_MS) == [None, 0.25]
    again.close()


def test_a_contribution_of_ours_that_we_do_not_know_closes_the_ledger(ledger):
    """After a lost or restored state nobody contributes until that contribution, too, is a period old; who has no limit goes on."""
    contribute(ledger, 7, ["anna"])
    assert ledger.heard(FRAUD, 7, START_MS)
    assert ledger.heard(FRAUD, 3, START_MS)
    assert not ledger.heard(FRAUD, 9, START_MS)

    assert contribute(ledger, 10, ["anna", "ben"]) == contribute(ledger, 11, ["ben"], day=9) == []
    assert contribute(ledger, 12, ["ben"], Price(math.inf, math.inf, 10), day=9) == ["ben"]
    assert contribute(ledger, 13, ["carl"], day=10) == ["carl"]
    assert contribute(ledger, 1, ["anna"], head=CREDIT) == ["anna"]


def test_lanes_that_count_their_rounds_apart_are_no_gap(ledger):
    """Drawn into another group, an institution contributes to a round with a lower number; what it said before stays known."""
    contribute(ledger, 500, ["anna"])
    contribute(ledger, 480, ["anna"])

    assert ledger.heard(FRAUD, 500, START_MS)
    assert ledger.heard(FRAUD, 480, START_MS)
    assert contribute(ledger, 481, ["anna"]) == ["anna"]


def test_a_fresh_state_that_finds_old_contributions_is_closed(ledger):
    """A state folder that was moved away does not give budgets back."""
    assert not ledger.heard(FRAUD, 40, START_MS)

    assert contribute(ledger, 41, ["anna"]) == []
    assert ledger.heard(FRAUD, 41, START_MS)


@settings(derandomize=True, max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.sets(st.sampled_from("abc"), min_size=1), st.sampled_from([0.1, 0.25, 0.3])), max_size=25))
def test_no_window_of_a_period_ever_holds_more_than_the_budget(tmp_path_factory, steps):
    """Whatever the days between contributions, who is active and what they cost."""
    store = Store.open(tmp_path_factory.mktemp("ledger"), "bank")
    ledger, day, spent = Ledger(store.database), 0, []
    for number, (days, active, cost) in enumerate(steps, start=1):
        day += days
        spent += [(customer, day, cost) for customer in contribute(ledger, number, sorted(active), Price(cost, 0.75, 10), day=day)]
    store.close()

    for customer, last, _ in spent:
        assert math.fsum(cost for who, when, cost in spent if who == customer and last - 10 < when <= last) <= 0.75 * (1 + 1e-6)
