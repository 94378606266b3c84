"""A data set's arrivals on their way into an evaluation: how many, when their labels come, when a round is due.

Called by `course`.
Never reorders events: only labels are moved, and only when that is asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from federation.errors import OwnFault
from federation.messages import OutcomeObserved
from riverbank.arrivals import Arrival

_UNITS_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


@dataclass(frozen=True, slots=True)
class Cadence:
    """How far apart rounds are: so many events of all institutions together, or so much event time."""

    events: int | None = None
    event_ms: int | None = None

    @classmethod
    def parsed(cls, text: str) -> Cadence:
        """From "200" (events) or "60s", "15m", "1h", "1d" (event time); OwnFault for anything else."""
        found = re.fullmatch(r"([1-9][0-9]*)([smhd]?)", text)
        if found is None:
            raise OwnFault(f"{text!r} is no distance of rounds: write a number of events as 200, or event time as 60s, 15m, 1h or 1d")
        count, unit = int(found[1]), found[2]
        return cls(event_ms=count * _UNITS_MS[unit]) if unit else cls(events=count)


@dataclass(slots=True)
class Beat:
    """Tells when a round is due; a pause without events has one round, not many.

    `then`: from that time on another cadence, beginning with a round.
    """

    cadence: Cadence
    then: tuple[int, Cadence] | None = None
    _events: int = 0
    _due_ms: int | None = field(default=None)

    def due(self, arrival: Arrival) -> bool:
        """Whether a round is due before this arrival."""
        if self.then is not None and arrival.at_ms >= self.then[0]:
            self._due_ms, self.cadence, self.then = *self.then, None
        every, event_ms = self.cadence.events, self.cadence.event_ms
        if every is not None:
            due = self._events == every
            self._events = (0 if due else self._events) + (not isinstance(arrival.message, OutcomeObserved))
            return due
        if event_ms is None:
            return False
        due = self._due_ms is not None and arrival.at_ms >= self._due_ms
        if due or self._due_ms is None:
            self._due_ms = arrival.at_ms - arrival.at_ms % event_ms + event_ms
        return due


def first_events(arrivals: Iterable[Arrival], events: int, *, labelled: bool) -> Iterator[Arrival]:
    """The first so many events and, where events are `labelled`, the outcomes of these."""
    taken = 0
    waiting: set[str] = set()
    for arrival in arrivals:
        if taken == events and not waiting:
            return
        message = arrival.message
        if isinstance(message, OutcomeObserved):
            if message.subject in waiting:
                waiting.remove(message.subject)
                yield arrival
        elif taken < events:
            taken += 1
            if labelled:
                waiting.add(message.event_id)
            yield arrival


def at_once(arrivals: Iterable[Arrival]) -> Iterator[Arrival]:
    """Every outcome right after its event: the "predict, then learn" of benchmarks. Holds all arrivals in memory."""
    everything = list(arrivals)
    outcomes = {each.message.subject: each.message for each in everything if isinstance(each.message, OutcomeObserved)}
    for arrival in everything:
        if not isinstance(arrival.message, OutcomeObserved):
            yield arrival
            if arrival.message.event_id in outcomes:
                yield Arrival(arrival.institution, replace(outcomes[arrival.message.event_id], occurred_at_ms=arrival.at_ms))
