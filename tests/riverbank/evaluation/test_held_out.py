"""What is held out is neither learned nor held; all else is."""

from __future__ import annotations

import asyncio

import pytest

from federation.errors import OwnFault
from federation.messages import InteractionKind, ProductInteraction
from riverbank.arrivals import Arrival, customer_id
from riverbank.evaluation.course import Course, run
from riverbank.evaluation.held_out import after_the_first, last_of_each
from riverbank.evaluation.passage import Cadence
from riverbank.evaluation.sets import Opened, data_set
from riverbank.evaluation.variants import Variant


def _taken(number: int, product: str, at_ms: int) -> Arrival:
    acquired = ProductInteraction(
        event_id=f"take-{number}-{product}",
        customer=customer_id(0, number),
        occurred_at_ms=at_ms,
        consented=True,
        product=product,
        kind=InteractionKind.ACQUIRED,
        segment=None,
    )
    return Arrival("one", acquired)


def _of(arrivals):
    return [(each.key.decode()[-1], each.message.product) for each in arrivals]


def test_the_last_of_each_is_asked():
    """Of those who took two or more; the others are learned whole."""
    arrivals = [_taken(1, "current_account", 1), _taken(2, "credit_card", 1), _taken(1, "mortgage", 2), _taken(1, "funds", 3)]
    split = last_of_each(arrivals)

    assert _of(split.asked) == [("1", "funds")]
    assert _of(split.learned) == [("1", "current_account"), ("2", "credit_card"), ("1", "mortgage")]


def test_what_came_later_is_asked_of_those_who_were_there():
    """Who came later himself had nothing to go by, and is left out."""
    arrivals = [_taken(1, "current_account", 1), _taken(2, "credit_card", 1), _taken(1, "mortgage", 2), _taken(3, "funds", 3)]
    split = after_the_first(arrivals)

    assert _of(split.learned) == [("1", "current_account"), ("2", "credit_card")]
    assert _of(split.asked) == [("1", "mortgage")]


def test_only_what_was_held_out_is_measured():
    """Thirty customers who all go on from an account to a card teach that the thirty-first will, too."""
    learned = [_taken(number, product, number) for number in range(1, 31) for product in ("current_account", "credit_card")]
    asked = [_taken(31, "credit_card", 99), _taken(31, "mortgage", 99)]
    opened = Opened(("one",), lambda _refused: [*learned, _taken(31, "current_account", 98)], asked)
    found = data_set("santander")
    course = Course(data_set=found, opened=opened, events=None, labels_at_once=False, seed=1)
    ran = asyncio.run(run(course, Variant.parsed("local"), Cadence()))
    rows = ran.judgments["one"].rows("local")

    assert rows.said[0] == 1.0
    assert rows.said[1] > 1.0
    assert len(rows.said) == 2


def test_refusals_are_not_passed_over():
    """A product that is in no catalogue ends the evaluation: its figures would be of something else."""
    opened = Opened(("one",), lambda _refused: [_taken(1, "perpetual motion", 1)])
    course = Course(data_set=data_set("santander"), opened=opened, events=None, labels_at_once=False, seed=1)
    with pytest.raises(OwnFault, match="one refused 1 records of santander"):
        asyncio.run(run(course, Variant.parsed("local"), Cadence()))
