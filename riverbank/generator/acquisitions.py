"""Customers who join and take one product after another, drawn by their segment and by what they hold already.

Called by `sources`.
Never keeps a customer longer than his few weeks of choosing: what waits is bounded by those under way."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from federation.messages import InteractionKind, ProductInteraction
from riverbank.arrivals import DAY_MS, Arrival, customer_id
from riverbank.generator.world import Draw, World

JOINING_PER_DAY: Final = 0.08  # Of the customers paying by card; these join first, in the order of their numbers.
GAP_DAYS: Final = 4.0  # Mean time between two products of one customer.
PRODUCTS_MOST: Final = 8
DRIFT_DAY: Final = 40
"""From this day on saving is in fashion and the stock market is not."""

SEGMENTS: Final = {
    "student": ("e_account", "current_account", "credit_card"),
    "family": ("current_account", "mortgage", "direct_debit", "payroll"),
    "affluent": ("current_account", "funds", "securities", "credit_card"),
    "retired": ("pension_deposit", "deposit_long", "savings_account"),
    "self_employed": ("current_account", "taxes", "direct_debit"),
}
"""Segment -> what it takes most."""
NEXT: Final = {
    "current_account": ("direct_debit", "credit_card"),
    "payroll": ("payroll_account", "pension_plan"),
    "payroll_account": ("credit_card", "personal_loan"),
    "e_account": ("savings_account", "securities"),
    "savings_account": ("deposit_short", "funds"),
    "deposit_short": ("deposit_long",),
    "deposit_long": ("funds",),
    "funds": ("securities", "pension_plan"),
    "securities": ("funds",),
    "mortgage": ("home_account", "direct_debit"),
    "credit_card": ("personal_loan",),
    "pension_deposit": ("taxes", "deposit_long"),
    "taxes": ("direct_debit",),
    "direct_debit": ("taxes",),
    "pension_plan": ("deposit_long",),
    "home_account": ("mortgage",),
    "personal_loan": ("credit_card",),
}
"""Product held -> what it leads to."""
FASHION: Final = {"savings_account": 2.0, "deposit_short": 1.5, "funds": -2.0, "securities": -2.0}
PRODUCTS: Final = tuple(NEXT)

_SEGMENT_PULL: Final = 2.0
_NEXT_PULL: Final = 2.2


@dataclass(slots=True)
class _Customer:
    """A customer who is still choosing."""

    number: int
    segment: str
    left: int  # Products still to come.
    taken: list[int] = field(default_factory=list)


class _Tastes:
    """Log-odds of the next product: the segment's, the holdings', and the fashion's."""

    def __init__(self) -> None:
        number = {product: index for index, product in enumerate(PRODUCTS)}
        self._segment = {name: np.zeros(len(PRODUCTS)) for name in SEGMENTS}
        for name, favourites in SEGMENTS.items():
            self._segment[name][[number[product] for product in favourites]] = _SEGMENT_PULL
        self._next = np.zeros((len(PRODUCTS), len(PRODUCTS)))
        for product, following in NEXT.items():
            self._next[number[product], [number[other] for other in following]] = _NEXT_PULL
        self._fashion = np.array([FASHION.get(product, 0.0) for product in PRODUCTS])

    def chances(self, customer: _Customer, *, drifted: bool) -> NDArray[np.float64]:
        """Of each product; 0 for what was taken before."""
        odds = self._segment[customer.segment] + self._next[customer.taken].sum(axis=0) + (self._fashion if drifted else 0.0)
        weights = np.exp(odds)
        weights[customer.taken] = 0.0
        chances: NDArray[np.float64] = weights / weights.sum()
        return chances


class _Branch:
    """What is due, soonest first: (time, order, customer, product, kind)."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = world.rng(Draw.ACQUISITIONS)
        self._tastes = _Tastes()
        self._orders = itertools.count()
        self._due: list[tuple[int, int, _Customer, int, InteractionKind]] = []

    def join(self, day: int, numbers: range) -> None:
        """These customers take their first product some time on this day."""
        for number, at_s in zip(numbers, np.sort(self._rng.uniform(8 * 3600, 20 * 3600, len(numbers))).tolist(), strict=True):
            left = min(2 + int(self._rng.geometric(0.4)), PRODUCTS_MOST)
            segment = tuple(SEGMENTS)[int(self._rng.random() * len(SEGMENTS))]
            self._plan(_Customer(number, segment, left), self._world.day_start_ms(day) + int(at_s * 1000))

    def due_before(self, end_ms: int) -> Iterator[tuple[int, _Customer, int, InteractionKind]]:
        """What happens until then; what follows from it is planned meanwhile."""
        while self._due and self._due[0][0] < end_ms:
            at_ms, _, customer, product, kind = heapq.heappop(self._due)
            yield at_ms, customer, product, kind
            if kind is InteractionKind.ACQUIRED:
                customer.taken.append(product)
                customer.left -= 1
                if self._rng.random() < 0.03:
                    self._put(at_ms + 10 * DAY_MS, customer, product, InteractionKind.CANCELLED)
                if customer.left > 0:
                    self._plan(customer, at_ms + 3_600_000 + int(self._rng.exponential(GAP_DAYS) * DAY_MS))

    def _plan(self, customer: _Customer, at_ms: int) -> None:
        drifted = at_ms >= self._world.day_start_ms(DRIFT_DAY)
        chances = np.cumsum(self._tastes.chances(customer, drifted=drifted))
        product, other = np.searchsorted(chances, self._rng.random(2) * chances[-1], side="right").tolist()
        self._put(at_ms, customer, product, InteractionKind.ACQUIRED)
        habit = self._rng.random()
        if habit < 0.2:
            self._put(at_ms - 1_800_000, customer, product, InteractionKind.VIEWED)
        elif habit < 0.3 and other != product:
            self._put(at_ms - 1_800_000, customer, other, InteractionKind.DECLINED)

    def _put(self, at_ms: int, customer: _Customer, product: int, kind: InteractionKind) -> None:
        heapq.heappush(self._due, (at_ms, next(self._orders), customer, product, kind))


def arrivals(world: World) -> Iterator[Arrival]:
    """Acquisitions, and now and then a product looked at, declined or given up, without an end."""
    branch = _Branch(world)
    serials = itertools.count(1)
    joining = max(1, round(world.customers * JOINING_PER_DAY))
    for day in itertools.count():
        branch.join(day, range(day * joining, (day + 1) * joining))
        for at_ms, customer, product, kind in branch.due_before(world.day_start_ms(day + 1)):
            institution = world.institution_of(customer.number)
            interaction = ProductInteraction(
                event_id=f"take-{next(serials):09d}",
                customer=customer_id(institution, customer.number),
                occurred_at_ms=at_ms,
                consented=world.consents(customer.number),
                product=PRODUCTS[product],
                kind=kind,
                segment=customer.segment,
            )
            yield Arrival(world.names[institution], interaction)
