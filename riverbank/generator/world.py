"""Who there is: institutions of different sizes, their customers, and where the random numbers come from.

Called by the streams of this package.
Never keeps state: what is true of a customer follows from his number."""

from __future__ import annotations

import datetime as dt
import itertools
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

import numpy as np

from federation.errors import OwnFault
from riverbank.arrivals import DAY_MS, INSTITUTIONS
from riverbank.datasets.files import date_ms

START_MS: Final = date_ms(dt.date(1990, 1, 1))
"""First generated day; far enough back that a fast replay runs for hours before it meets the present."""

SIZE_RATIO: Final = 0.75  # Each institution has so much of the customers of the one before it.
CONSENT_ONE_IN: Final = 25  # One customer in so many does not consent to learning.
_GOLDEN: Final = 0.6180339887498949


class Draw(IntEnum):
    """What a random stream is for; each has its own, so that one head's events do not depend on another's."""

    CARDS = 1
    PAYMENTS = 2
    APPLICATIONS = 3
    ACQUISITIONS = 4
    ATTACK = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The seed, the institutions (largest first), how many customers pay by card, and the first day (midnight UTC)."""

    seed: int
    names: tuple[str, ...] = INSTITUTIONS
    customers: int = 1000
    start_ms: int = START_MS
    edges: tuple[float, ...] = field(init=False, repr=False)  # Cumulative shares of the customers.

    def __post_init__(self) -> None:
        """OwnFault for a world that cannot be."""
        if not 0 < len(self.names) <= self.customers or self.start_ms < 0 or self.start_ms % DAY_MS or self.seed < 0:
            raise OwnFault("a generated world needs a seed of 0 or more, 1 to `customers` institutions, and a midnight since 1970 to start")
        sizes = [SIZE_RATIO**index for index in range(len(self.names))]
        object.__setattr__(self, "edges", tuple(total / sum(sizes) for total in itertools.accumulate(sizes)))

    def rng(self, purpose: Draw) -> np.random.Generator:
        """The random stream of one purpose, from its beginning."""
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence((self.seed, purpose))))

    def institution_of(self, customer: int) -> int:
        """Index of the customer's institution."""
        place = (customer + 1) * _GOLDEN % 1.0  # Spread evenly, so that any range of numbers holds the same shares.
        return next((index for index, edge in enumerate(self.edges) if place < edge), len(self.names) - 1)

    def consents(self, customer: int) -> bool:
        """Whether the customer agrees that models learn from his events."""
        return customer % CONSENT_ONE_IN != CONSENT_ONE_IN - 1

    def day_start_ms(self, day: int) -> int:
        """Midnight UTC of a day, from 0."""
        return self.start_ms + day * DAY_MS
