"""What reaches an institution from its own systems: one event or outcome at a time, in the order of event time.

Made by `riverbank.datasets` and `riverbank.generator`, played by `riverbank.feed`.
Never holds more than the outcomes that are still on their way."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from federation.errors import require
from federation.messages import CardTransaction, CreditApplication, HeadName, OutcomeObserved, ProductInteraction
from streams.topology import APPLICATIONS, INTERACTIONS, OUTCOMES, TRANSACTIONS, Topic

Event: TypeAlias = CardTransaction | CreditApplication | ProductInteraction | OutcomeObserved

DAY_MS: Final = 86_400_000

INSTITUTIONS: Final = ("alder-bank", "brook-savings", "cedar-union", "delta-mutual", "estuary-trust")
"""The five invented institutions; a data set that names real lenders brings their names instead."""

_TOPICS: Final[dict[type, Topic]] = {
    CardTransaction: TRANSACTIONS,
    CreditApplication: APPLICATIONS,
    ProductInteraction: INTERACTIONS,
    OutcomeObserved: OUTCOMES,
}


@dataclass(frozen=True, slots=True)
class Arrival:
    """One message for one institution."""

    institution: str
    message: Event

    @property
    def topic(self) -> Topic:
        """The institution's topic it belongs to."""
        return _TOPICS[type(self.message)]

    @property
    def at_ms(self) -> int:
        """Event time, milliseconds since 1970 UTC."""
        return self.message.occurred_at_ms

    @property
    def key(self) -> bytes:
        """The record's key as the topology says: the subject of an outcome, the customer of everything else."""
        message = self.message
        return (message.subject if isinstance(message, OutcomeObserved) else message.customer).encode()


class Source(Protocol):
    """Starts a stream of arrivals from its beginning; the same stream every time."""

    def __call__(self, refused: Counter[str], /) -> Iterator[Arrival]:
        """Arrivals in time order; rows that cannot be used are counted in `refused` by reason, as they are met."""
        ...


def customer_id(institution: int, number: int) -> str:
    """A customer's identifier; long enough that finding its bytes anywhere else is no coincidence."""
    return f"c-{institution}-{number:010d}"


def institution_of(customer: str) -> int:
    """The institution's number, from a customer's identifier as `customer_id` made it."""
    return int(customer.split("-")[1])


def outcome_of(event: CardTransaction | CreditApplication, *, positive: bool, known_at_ms: int) -> OutcomeObserved:
    """The late label of a payment or an application, with an id of its own that follows from the event's."""
    return OutcomeObserved(
        event_id=f"outcome-{event.event_id}",
        head=HeadName.FRAUD if isinstance(event, CardTransaction) else HeadName.CREDIT,
        subject=event.event_id,
        positive=positive,
        occurred_at_ms=known_at_ms,
    )


def with_outcomes(labelled: Iterable[tuple[Arrival, OutcomeObserved]]) -> Iterator[Arrival]:
    """Events and their outcomes as one stream in time order; memory grows with the outcomes on their way only.

    `labelled`: events in time order, each with an outcome that is known later; Broken if either is not so.
    An outcome known at the very moment of another event comes first, so that nobody waits for it longer than needed.
    """
    waiting: list[tuple[int, int, Arrival]] = []
    last_ms: int | None = None
    for order, (event, outcome) in enumerate(labelled):
        at_ms = event.at_ms
        require(last_ms is None or at_ms >= last_ms, f"{event.institution}: events go back in time")
        require(outcome.occurred_at_ms > at_ms, f"{event.institution}: an outcome is not later than its event")
        last_ms = at_ms
        while waiting and waiting[0][0] <= at_ms:
            yield heapq.heappop(waiting)[2]
        yield event
        heapq.heappush(waiting, (outcome.occurred_at_ms, order, Arrival(event.institution, outcome)))
    while waiting:
        yield heapq.heappop(waiting)[2]
