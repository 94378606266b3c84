"""Card payments and four kinds of fraud among them, day by day, each payment's outcome known a week later.

Called by `sources`.
Never looks ahead: a day is drawn when it is asked for, and only compromised terminals are remembered between days."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from federation.messages import CardTransaction, OutcomeObserved
from riverbank.arrivals import DAY_MS, Arrival, customer_id, outcome_of, with_outcomes
from riverbank.generator.world import Draw, World

OUTCOME_DAYS: Final = 7
DRIFT_DAY: Final = 30
"""From this day on fraud hides better: stolen cards pay half as much too much, tests and high amounts look ordinary."""

TERMINALS_PER_CUSTOMER: Final = 0.25
TERMINALS_NEAR: Final = 12  # A customer pays at the nearest ones, and most at the very nearest.
PAYMENTS_PER_DAY: Final = 1.7
COMPROMISED_DAYS: Final = 10

# Cases per day and 1,000 customers.
COMPROMISED: Final = 0.25
STOLEN: Final = 1.2
TESTED: Final = 0.8
HIGH: Final = 4.0
# Each kind strikes every third institution so much more often: what one sees daily, the others hardly know.
PREFERENCE: Final = 6.0

Numbers: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Payments:
    """Columns of some payments of one day: customer, terminal, second of the day, amount, whether it is fraud."""

    who: Indices
    where: Indices
    second: Numbers
    amount: Numbers
    fraud: NDArray[np.bool_]


@dataclass(slots=True)
class _Cards:
    """What is true of every card for good, and which terminals are compromised just now."""

    institution: Indices
    usual: Numbers  # Mean amount.
    per_day: Numbers
    near: Indices  # (customers, TERMINALS_NEAR), nearest first.
    terminals: int
    compromised: dict[int, int] = field(default_factory=dict)  # Terminal -> first day on which it is clean again.

    @classmethod
    def drawn(cls, world: World) -> _Cards:
        """Homes and terminals anywhere on a square; amounts and habits differ by customer, and a little by institution."""
        rng = world.rng(Draw.CARDS)
        terminals = max(TERMINALS_NEAR, round(world.customers * TERMINALS_PER_CUSTOMER))
        homes, places = rng.random((world.customers, 2)), rng.random((terminals, 2))
        near = np.array([((places - home) ** 2).sum(axis=1).argsort(kind="stable")[:TERMINALS_NEAR] for home in homes])
        institution = np.array([world.institution_of(customer) for customer in range(world.customers)])
        usual = rng.gamma(4.0, 12.0, world.customers) * (1 + 0.15 * (institution % 3))
        return cls(institution, usual, rng.gamma(3.0, PAYMENTS_PER_DAY / 3, world.customers), near, terminals)

    def victims(self, rng: np.random.Generator, per_day: float, kind: int) -> Indices:
        """Customers struck today by the `kind`-th fraud, more of them where it prefers to strike."""
        weight = np.where(self.institution % 3 == kind, PREFERENCE, 1.0)
        count = rng.poisson(per_day * len(self.usual) / 1000)
        return rng.choice(len(self.usual), count, p=weight / weight.sum())


def arrivals(world: World) -> Iterator[Arrival]:
    """Payments and their outcomes, without an end."""
    return with_outcomes(_labelled(world))


def _labelled(world: World) -> Iterator[tuple[Arrival, OutcomeObserved]]:
    cards, rng = _Cards.drawn(world), world.rng(Draw.PAYMENTS)
    numbers = itertools.count(1)
    for day in itertools.count():
        hidden = day >= DRIFT_DAY
        ordinary = _ordinary(cards, rng, day)
        parts = [ordinary, _stolen(cards, rng, hidden=hidden), _tested(cards, rng, hidden=hidden), _high(cards, rng, hidden=hidden)]
        second = np.concatenate([part.second for part in parts]).clip(0, 86_399.999)
        order = second.argsort(kind="stable")
        columns = [np.concatenate([getattr(part, name) for part in parts])[order].tolist() for name in ("who", "where", "amount", "fraud")]
        midnight = world.day_start_ms(day)
        for at_s, who, where, amount, fraud in zip(second[order].tolist(), *columns, strict=True):
            institution = int(cards.institution[who])
            payment = CardTransaction(
                event_id=f"tx-{next(numbers):09d}",
                customer=customer_id(institution, who),
                occurred_at_ms=midnight + int(at_s * 1000),
                consented=world.consents(who),
                terminal=f"t-{where:08d}",
                amount=max(round(amount, 2), 0.01),
            )
            outcome = outcome_of(payment, positive=fraud, known_at_ms=payment.occurred_at_ms + OUTCOME_DAYS * DAY_MS)
            yield Arrival(world.names[institution], payment), outcome


def _ordinary(cards: _Cards, rng: np.random.Generator, day: int) -> _Payments:
    """Everybody's payments; at a compromised terminal half of them are copied cards, at ordinary amounts."""
    cards.compromised = {terminal: end for terminal, end in cards.compromised.items() if end > day}
    for terminal in rng.integers(0, cards.terminals, rng.poisson(COMPROMISED * len(cards.usual) / 1000)).tolist():
        cards.compromised[terminal] = day + COMPROMISED_DAYS
    counts = rng.poisson(cards.per_day * (1.2 if day % 7 >= 5 else 0.92))
    who = np.repeat(np.arange(len(counts)), counts)
    where = cards.near[who, (rng.random(len(who)) ** 2 * TERMINALS_NEAR).astype(np.int64)]
    amount = cards.usual[who] * rng.lognormal(-0.125, 0.5, len(who))
    fraud = np.isin(where, list(cards.compromised)) & (rng.random(len(who)) < 0.5)
    return _Payments(who, where, rng.normal(13.5 * 3600, 4 * 3600, len(who)), amount, fraud)


def _fraud(who: Indices, where: Indices, second: Numbers, amount: Numbers) -> _Payments:
    return _Payments(who, where, second, amount, np.ones(len(who), dtype=np.bool_))


def _stolen(cards: _Cards, rng: np.random.Generator, *, hidden: bool) -> _Payments:
    """A stolen card: three to seven payments within hours, anywhere, at five times the usual amount."""
    victims = cards.victims(rng, STOLEN, kind=0)
    who = np.repeat(victims, rng.integers(3, 8, len(victims)))
    begin = dict(zip(victims.tolist(), (rng.random(len(victims)) * 64_800).tolist(), strict=True))
    second = np.array([begin[victim] for victim in who.tolist()]) + rng.random(len(who)) * 21_600
    amount = cards.usual[who] * (2.5 if hidden else 5.0) * rng.lognormal(0, 0.3, len(who))
    return _fraud(who, rng.integers(0, cards.terminals, len(who)), second, amount)


def _tested(cards: _Cards, rng: np.random.Generator, *, hidden: bool) -> _Payments:
    """A card is tried with tiny amounts within minutes at one terminal; what works is used an hour later."""
    victims = cards.victims(rng, TESTED, kind=1)
    tries = rng.integers(5, 9, len(victims))
    who = np.concatenate([np.repeat(victims, tries), victims])
    terminal, begin = rng.integers(0, cards.terminals, len(victims)), rng.random(len(victims)) * 72_000
    where = np.concatenate([np.repeat(terminal, tries), rng.integers(0, cards.terminals, len(victims))])
    second = np.concatenate([np.repeat(begin, tries) + rng.random(tries.sum()) * 1_200, begin + 4_800])
    least, most = (4.0, 15.0) if hidden else (0.5, 2.0)
    amount = np.concatenate([rng.uniform(least, most, tries.sum()), cards.usual[victims] * rng.uniform(3, 6, len(victims))])
    return _fraud(who, where, second, amount)


def _high(cards: _Cards, rng: np.random.Generator, *, hidden: bool) -> _Payments:
    """One high payment, most often in the evening."""
    victims = cards.victims(rng, HIGH, kind=2)
    least, most = (120.0, 250.0) if hidden else (250.0, 900.0)
    second = rng.normal(21 * 3600, 2 * 3600, len(victims))
    return _fraud(victims, rng.integers(0, cards.terminals, len(victims)), second, rng.uniform(least, most, len(victims)))
