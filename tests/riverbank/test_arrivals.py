"""Events and their late outcomes become one stream in time order.

Run on a handful of payments.
Never needs a data set."""

from __future__ import annotations

from itertools import count, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.errors import Broken
from federation.messages import CardTransaction, HeadName, OutcomeObserved
from riverbank.arrivals import Arrival, customer_id, outcome_of, with_outcomes


def _payment(number: int, at_ms: int) -> Arrival:
    message = CardTransaction(
        event_id=f"tx-{number}", customer=customer_id(0, number), occurred_at_ms=at_ms, consented=True, terminal="t-1", amount=1.0
    )
    return Arrival("north-bank", message)


def _labelled(number: int, at_ms: int, delay_ms: int) -> tuple[Arrival, OutcomeObserved]:
    arrival = _payment(number, at_ms)
    assert isinstance(arrival.message, CardTransaction)
    return arrival, outcome_of(arrival.message, positive=False, known_at_ms=at_ms + delay_ms)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 80)), max_size=40))
def test_everything_comes_once_in_time_order_and_the_event_before_its_outcome(gaps_and_delays: list[tuple[int, int]]) -> None:
    """Whatever the delays, nothing is lost, doubled, or early."""
    rows, at_ms = [], 0
    for number, (gap_ms, delay_ms) in enumerate(gaps_and_delays):
        at_ms += gap_ms
        rows.append(_labelled(number, at_ms, delay_ms))
    stream = list(with_outcomes(rows))

    times = [arrival.at_ms for arrival in stream]
    ids = [arrival.message.event_id for arrival in stream]
    assert times == sorted(times)
    assert sorted(ids) == sorted(name for number in range(len(rows)) for name in (f"tx-{number}", f"outcome-tx-{number}"))
    assert all(ids.index(f"tx-{number}") < ids.index(f"outcome-tx-{number}") for number in range(len(rows)))


def test_an_endless_stream_holds_only_the_outcomes_on_their_way() -> None:
    """Outcomes come out between events; nothing waits for an end that never comes."""
    stream = with_outcomes(_labelled(number, number * 10, 25) for number in count())

    first = [arrival.message.event_id for arrival in islice(stream, 6)]
    assert first == ["tx-0", "tx-1", "tx-2", "outcome-tx-0", "tx-3", "outcome-tx-1"]


def test_events_that_go_back_in_time_are_a_bug() -> None:
    """An adapter that forgot to sort is found out at once."""
    with pytest.raises(Broken, match="back in time"):
        list(with_outcomes([_labelled(1, 100, 5), _labelled(2, 99, 5)]))


def test_an_outcome_that_is_not_later_than_its_event_is_a_bug() -> None:
    """Nobody learns a label with the event itself."""
    with pytest.raises(Broken, match="not later"):
        list(with_outcomes([_labelled(1, 100, 0)]))


def test_an_outcome_is_keyed_by_its_subject_and_an_event_by_its_customer() -> None:
    """As streams/topology.py says; the head follows from the event."""
    event, outcome = _labelled(7, 100, 5)

    assert event.key == customer_id(0, 7).encode()
    assert Arrival("north-bank", outcome).key == b"tx-7"
    assert outcome.head is HeadName.FRAUD
    assert (event.topic.name, Arrival("north-bank", outcome).topic.name) == ("events.transactions.v1", "events.outcomes.v1")
