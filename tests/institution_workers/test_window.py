"""Lessons wait, by customer, for the contribution that they are part of."""

from __future__ import annotations

import pytest

from federation.messages import HeadName, InteractionKind
from institution_workers import window as module
from institution_workers.window import Window

CREDIT, FRAUD, PRODUCTS = HeadName.CREDIT, HeadName.FRAUD, HeadName.PRODUCTS


@pytest.fixture
def window(store):
    return Window(store.database)


def test_lessons_are_grouped_by_customer_in_the_order_they_came(store, window):
    """Whatever came between them, over turns and a restart; other heads' are apart."""
    with store.turn():
        window.add(FRAUD, "ben", ((3, 5), True))
        window.add(FRAUD, "anna", ((1,), False))
        window.add(CREDIT, "anna", ((2,), True))
        window.flush()
    with store.turn():
        window.add(FRAUD, "anna", ((), True))
        window.add(FRAUD, "anna", ((1,), True))
        window.flush()

    expected = [("anna", [((1,), False), ((), True), ((1,), True)]), ("ben", [((3, 5), True)])]
    assert window.lessons(FRAUD) == Window(store.database).lessons(FRAUD) == expected
    assert window.lessons(CREDIT) == [("anna", [((2,), True)])]


def test_what_was_said_is_gone(store, window):
    """A contribution takes all lessons of its head and no others."""
    with store.turn():
        window.add(FRAUD, "ben", ((3,), True))
        window.add(CREDIT, "ben", ((4,), True))
        window.flush()
        window.clear(FRAUD)

    assert window.lessons(FRAUD) == []
    assert window.lessons(CREDIT) == [("ben", [((4,), True)])]


def test_a_full_window_takes_no_more(store, window, monkeypatch):
    """What it holds stays; there is room again after the contribution, and a restart knows how full it is."""
    monkeypatch.setattr(module, "LESSONS_MAX", 2)
    with store.turn():
        assert [window.add(FRAUD, name, ((1,), True)) for name in ("anna", "ben", "carl")] == [True, True, False]
        assert window.add(CREDIT, "carl", ((1,), True))
        window.flush()
        again = Window(store.database)
        assert not again.add(FRAUD, "dora", ((1,), True))
        again.clear(FRAUD)
        assert again.add(FRAUD, "dora", ((1,), True))

    assert [customer for customer, _ in window.lessons(CREDIT)] == ["carl"]


def test_every_head_teaches_by_customer(store, studying, scribe):
    """A label its payment's customer, an acquisition the customer with all the products not taken, an answer who gave it."""
    study = studying(store)
    study.turn([scribe.payment("p1", customer="ben"), scribe.application("a1"), scribe.interaction("i1", "guarantee", customer="carl")])
    study.turn(
        [
            scribe.outcome("o1", "p1"),
            scribe.outcome("o2", "a1", head=CREDIT, positive=False),
            scribe.interaction("i2", "payroll_account", kind=InteractionKind.DECLINED),
        ]
    )

    assert [(customer, len(lessons)) for customer, lessons in study.window.lessons(FRAUD)] == [("ben", 1)]
    assert [(customer, lessons[0][1]) for customer, lessons in study.window.lessons(CREDIT)] == [("anna", False)]
    assert [(customer, len(lessons)) for customer, lessons in study.window.lessons(PRODUCTS)] == [("anna", 1), ("carl", 9)]


def test_lessons_without_room_are_counted(store, studying, scribe, monkeypatch):
    """The institution's own models learn them all the same."""
    monkeypatch.setattr(module, "LESSONS_MAX", 0)
    study = studying(store)
    study.turn([scribe.payment("p1"), scribe.outcome("o1", "p1")])

    assert study.learner.counts["unshared.fraud"] == 1
    assert study.pupils[FRAUD].local.to_vector().any()
