"""A kind of fraud nobody has seen: from one moment on, web shops that did not exist before take copied cards of one institution's customers.

Called by `riverbank.evaluation`, which asks how soon the other institutions' models know it.
Never gives itself away by amount or hour: both are the customer's own, and only the shops tell."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from federation.messages import CardTransaction, OutcomeObserved
from riverbank.arrivals import Arrival, customer_id, outcome_of, with_outcomes
from riverbank.generator import payments
from riverbank.generator.world import Draw, World

MINUTE_MS: Final = 60_000
_FIRST_SHOP: Final = 90_000_000  # Beyond every terminal there is.


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """Where, when and how fast. The victims' own institution confirms each fraud `confirmed_ms` after it."""

    world: World
    day: int = 21
    hour: int = 10
    minutes: int = 60
    shops: int = 6
    per_minute: int = 6
    confirmed_ms: int = MINUTE_MS

    @property
    def victim(self) -> str:
        """The institution whose customers are struck: the first, which is the largest."""
        return self.world.names[0]

    @property
    def start_ms(self) -> int:
        """The first payment comes within a minute of this."""
        return self.world.day_start_ms(self.day) + self.hour * 60 * MINUTE_MS

    @property
    def end_ms(self) -> int:
        """When it is over, and all of it confirmed."""
        return self.start_ms + self.minutes * MINUTE_MS + self.confirmed_ms

    def arrivals(self) -> Iterator[Arrival]:
        """Everybody's ordinary payments (and ordinary fraud), the attack among them, up to its end."""
        for arrival in heapq.merge(payments.arrivals(self.world), with_outcomes(self._labelled()), key=lambda each: each.at_ms):
            if arrival.at_ms >= self.end_ms:
                return
            yield arrival

    def probes(self, institution: int, at_ms: int, count: int) -> Iterator[CardTransaction]:
        """What the same attack would be on this institution's customers just now; the same customers and amounts every time."""
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((self.world.seed, Draw.ATTACK, institution))))
        return (self._payment(rng, institution, f"probe-{number}", at_ms) for number in range(count))

    def _labelled(self) -> Iterator[tuple[Arrival, OutcomeObserved]]:
        rng = self.world.rng(Draw.ATTACK)
        moments = np.sort(rng.uniform(0, self.minutes * MINUTE_MS, self.minutes * self.per_minute)).astype(np.int64)
        for number, moment in enumerate(moments.tolist()):
            payment = self._payment(rng, 0, f"tx-attack-{number:06d}", self.start_ms + moment)
            yield Arrival(self.victim, payment), outcome_of(payment, positive=True, known_at_ms=payment.occurred_at_ms + self.confirmed_ms)

    def _payment(self, rng: np.random.Generator, institution: int, event_id: str, at_ms: int) -> CardTransaction:
        own = _customers(self.world, institution)
        customer = own[int(rng.integers(len(own)))]
        return CardTransaction(
            event_id=event_id,
            customer=customer_id(institution, customer),
            occurred_at_ms=at_ms,
            consented=self.world.consents(customer),
            terminal=f"t-{_FIRST_SHOP + int(rng.integers(self.shops)):08d}",
            amount=round(float(rng.lognormal(3.6, 0.5)), 2),
        )


@lru_cache(maxsize=8)
def _customers(world: World, institution: int) -> tuple[int, ...]:
    return tuple(customer for customer in range(world.customers) if world.institution_of(customer) == institution)
