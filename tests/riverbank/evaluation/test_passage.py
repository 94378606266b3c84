"""How arrivals are cut, when labels come, when rounds are due."""

from __future__ import annotations

from itertools import pairwise

import pytest

from federation.errors import OwnFault
from federation.messages import HeadName, OutcomeObserved
from riverbank.evaluation.passage import Beat, Cadence, at_once, first_events
from riverbank.generator.sources import sources
from riverbank.generator.world import World


def _arrivals(head=HeadName.FRAUD):
    return sources(World(seed=3))[head]({})


def test_the_first_events_keep_their_outcomes():
    """As many events as asked for, each with its outcome, though the stream has no end."""
    taken = list(first_events(_arrivals(), 500, labelled=True))
    events = {each.message.event_id for each in taken if not isinstance(each.message, OutcomeObserved)}
    subjects = [each.message.subject for each in taken if isinstance(each.message, OutcomeObserved)]

    assert len(events) == 500
    assert sorted(subjects) == sorted(events)
    assert len(list(first_events(_arrivals(HeadName.PRODUCTS), 500, labelled=False))) == 500


def test_labels_at_once_follow_their_events():
    """Event, outcome, event, outcome; at one time."""
    taken = list(at_once(first_events(_arrivals(), 100, labelled=True)))

    assert len(taken) == 200
    assert all(outcome.message.subject == event.message.event_id for event, outcome in zip(taken[::2], taken[1::2], strict=True))
    assert all(outcome.at_ms == event.at_ms for event, outcome in zip(taken[::2], taken[1::2], strict=True))


def test_a_round_is_due_after_so_many_events():
    """Outcomes do not count."""
    beat = Beat(Cadence.parsed("100"))
    due = [beat.due(each) for each in first_events(_arrivals(), 1000, labelled=True)]

    assert sum(due) == 10  # The last one before the outcomes that are left.


def test_a_round_is_due_after_so_much_event_time():
    """At most one between two arrivals, however long the pause."""
    beat, arrivals = Beat(Cadence.parsed("1h")), list(first_events(_arrivals(), 1000, labelled=False))
    due = [beat.due(each) for each in arrivals]
    hours = [each.at_ms // 3_600_000 for each in arrivals]

    assert due == [False, *(later > earlier for earlier, later in pairwise(hours))]


@pytest.mark.parametrize("text", ["0", "-3", "1w", "often", "", "1.5h"])
def test_a_cadence_that_is_none_is_refused(text):
    """With a sentence that says how one is written."""
    with pytest.raises(OwnFault, match="write a number of events"):
        Cadence.parsed(text)
