from __future__ import annotations

import itertools

import pytest

from institution_workers import arrivals
from institution_workers.arrivals import Arrivals
from streams.memory import MemoryLog
from streams.ports import Outgoing, Position

EVENTS, LABELS = "bank.events", "bank.labels"


def _log(clock=None):
    return MemoryLog({EVENTS: 1, LABELS: 1}, now_ms=clock or itertools.count(1).__next__)


async def _all(log, size, start=(0, 0)):
    reading = await Arrivals.open(log, [Position(EVENTS, 0, start[0]), Position(LABELS, 0, start[1])])
    taken = []
    while batch := await reading.take(size, 50):
        taken += [(record.topic, record.offset) for record in batch]
    await reading.close()
    return taken


async def _written(log, pattern):
    for letter in pattern:
        await log.append([Outgoing(EVENTS if letter == "e" else LABELS, 0, None, b"x")])


async def test_a_backlog_comes_in_the_order_of_its_arrival():
    """Two topics are merged as the log received them, not as polls return them."""
    log = _log()
    await _written(log, "eelelleelllle")

    topics = "".join("e" if topic == EVENTS else "l" for topic, _ in await _all(log, 4))
    assert topics == "eelelleelllle"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
async def test_the_order_does_not_depend_on_the_size_of_a_turn(size, monkeypatch):
    """However much is taken at once, and however much is read ahead, the order is the same."""
    log = _log()
    await _written(log, "eleelelllleee" * 3)
    whole = await _all(log, 1000)
    monkeypatch.setattr(arrivals, "AHEAD_MAX", size)

    assert await _all(log, size) == whole


async def test_reading_goes_on_where_the_state_ends():
    """From saved offsets the rest comes in the order it would have come in."""
    log = _log()
    await _written(log, "eleelelllleee")
    whole = await _all(log, 1000)

    assert await _all(log, 3, start=(2, 1)) == [place for place in whole if place[1] >= (2 if place[0] == EVENTS else 1)]


async def test_equal_times_put_events_before_labels():
    """A label that arrived in the same millisecond is read after its event."""
    log = _log(lambda: 5)
    await _written(log, "lele")

    assert [topic for topic, _ in await _all(log, 10)] == [EVENTS, EVENTS, LABELS, LABELS]


async def test_new_records_are_noticed_while_waiting():
    """An empty take ends as soon as something comes."""
    log = _log()
    reading = await Arrivals.open(log, [Position(EVENTS, 0, 0), Position(LABELS, 0, 0)])
    assert await reading.take(10, 30) == ()
    await _written(log, "l")

    assert [record.topic for record in await reading.take(10, 30)] == [LABELS]


async def test_what_retention_took_does_not_hold_up_the_rest(monkeypatch):
    """A partition whose unread records are gone is read on from its new start."""
    monkeypatch.setattr(arrivals, "_PATIENCE_MS", 10)
    log = _log()
    await _written(log, "eeell")
    log.truncate(EVENTS, 0, 3)

    assert await _all(log, 10) == [(LABELS, 0), (LABELS, 1)]


async def test_the_lag_counts_what_was_not_taken():
    """Records behind, and the age of the oldest at hand."""
    log = _log()
    await _written(log, "eeeee")
    reading = await Arrivals.open(log, [Position(EVENTS, 0, 0), Position(LABELS, 0, 0)])
    assert reading.lag(EVENTS, 100)[0] == 5
    await reading.take(2, 30)

    assert reading.lag(EVENTS, 100) == (3, 97)
    assert reading.lag(LABELS, 100) == (0, 0)
