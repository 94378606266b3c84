"""Applications for loans, judged by one hidden scorecard that every institution bends a little, each outcome known a month or two later.

Called by `sources`.
Never writes the hidden score, or anything that follows from the outcome, into an application."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from federation.messages import CreditApplication, OutcomeObserved
from riverbank.arrivals import DAY_MS, Arrival, customer_id, outcome_of, with_outcomes
from riverbank.generator.world import Draw, World

PER_DAY: Final = 60  # Per 1,000 customers paying by card; applicants come from twenty times as many people.
PEOPLE_PER_CUSTOMER: Final = 20
OUTCOME_DAYS: Final = (30, 60)
DRIFT_DAY: Final = 120
"""From this day on money is short: more loans fail everywhere, and those of heavy borrowers and new businesses most."""

BASE: Final = -3.1  # Log-odds of default with no point for or against.
STEPS: Final = {
    "instalment_ratio": ((0.15, 0.6), (0.25, 0.7), (0.4, 0.8)),
    "utilisation_1": ((0.5, 0.6), (0.9, 0.9)),
    "payment_status_1": ((1, 1.1), (2, 0.9)),
    "income_monthly": ((1800, -0.5), (4000, -0.5)),
    "balance_mean": ((1000, -0.4), (5000, -0.6)),
    "age": ((25, -0.5), (60, -0.3)),
    "term_months": ((48, 0.4),),
    "amount": ((30_000, 0.3),),
}
"""The hidden scorecard: each threshold reached adds its points of log-odds."""
CHOICES: Final = {
    "purpose": {"car": 0.0, "home": -0.4, "education": 0.2, "business": 0.3, "travel": 0.4, "debt": 0.8},
    "business_age": {"existing": -0.1, "new": 0.6},
    "revolving": {"no": 0.0, "yes": 0.3},
}
DRIFT_BASE: Final = 0.4
DRIFT_STEPS: Final = {"utilisation_1": ((0.5, 0.6), (0.9, 0.6))}
DRIFT_CHOICES: Final = {"business_age": {"new": 0.7}}

_PURPOSES: Final = tuple(CHOICES["purpose"])


def arrivals(world: World) -> Iterator[Arrival]:
    """Applications and their outcomes, without an end."""
    return with_outcomes(_labelled(world))


def points_of(numbers: dict[str, float], categories: dict[str, str], steps: Any, choices: Any) -> float:
    """Log-odds that a scorecard of steps and choices adds for an applicant."""
    reached = sum(points for name, edges in steps.items() if name in numbers for edge, points in edges if numbers[name] >= edge)
    return float(reached + sum(known.get(categories.get(name), 0.0) for name, known in choices.items()))


def log_odds(institution: int, numbers: dict[str, float], categories: dict[str, str], *, drifted: bool) -> float:
    """The truth of one application: the shared scorecard, the institution's own bend, and the drift."""
    own_book = 0.7 if categories["purpose"] == _PURPOSES[institution % len(_PURPOSES)] else 0.0
    total = BASE + (-0.2, 0.2)[institution % 2] + own_book + points_of(numbers, categories, STEPS, CHOICES)
    return total + (DRIFT_BASE + points_of(numbers, categories, DRIFT_STEPS, DRIFT_CHOICES) if drifted else 0.0)


def _labelled(world: World) -> Iterator[tuple[Arrival, OutcomeObserved]]:
    rng = world.rng(Draw.APPLICATIONS)
    serials = itertools.count(1)
    for day in itertools.count():
        count = int(rng.poisson(PER_DAY * world.customers / 1000))
        moments = np.sort(rng.uniform(8 * 3600, 18 * 3600, count)).tolist()
        people = rng.integers(0, world.customers * PEOPLE_PER_CUSTOMER, count).tolist()
        for at_s, person, chances in zip(moments, people, rng.random((count, 12)).tolist(), strict=True):
            institution = world.institution_of(person)
            numbers, categories = _applicant(institution, chances)
            at_ms = world.day_start_ms(day) + int(at_s * 1000)
            application = CreditApplication(
                event_id=f"loan-{next(serials):08d}",
                customer=customer_id(institution, person),
                occurred_at_ms=at_ms,
                consented=world.consents(person),
                numbers=numbers,
                categories=categories,
            )
            chance = 1 / (1 + math.exp(-log_odds(institution, numbers, categories, drifted=day >= DRIFT_DAY)))
            least, most = OUTCOME_DAYS
            known_at_ms = at_ms + int((least + chances[-1] * (most - least)) * DAY_MS)
            yield (
                Arrival(world.names[institution], application),
                outcome_of(application, positive=chances[-2] < chance, known_at_ms=known_at_ms),
            )


def _applicant(institution: int, chances: list[float]) -> tuple[dict[str, float], dict[str, str]]:
    """Features from uniform chances; small institutions lend more to businesses, large ones to richer people."""
    purpose = _PURPOSES[int((chances[0] * 0.75 + 0.25 * ((institution * 0.4 + chances[1]) % 1.0)) * len(_PURPOSES))]
    income = round(900 + 2400 * (-math.log(1 - chances[2])) * (1.2 - 0.08 * min(institution, 5)), 2)
    amount = round(1000 + 60_000 * chances[3] ** 3, -2)
    term = (12, 24, 36, 48, 60, 84)[int(chances[4] * 6)]
    late = chances[7]
    numbers = {
        "amount": amount,
        "term_months": float(term),
        "income_monthly": income,
        "instalment_ratio": round(amount / term * 1.08 / income, 4),
        "age": float(int(19 + 56 * chances[5])),
        "utilisation_1": round(chances[6] ** 1.5 * 1.1, 4),
        "payment_status_1": float(0 if late < 0.8 else 1 if late < 0.92 else 2),
    }
    if chances[8] > 0.1:  # One in ten has no account here yet.
        numbers["balance_mean"] = round(9000 * ((chances[8] - 0.1) / 0.9) ** 2, 2)
    categories = {"purpose": purpose, "revolving": "yes" if chances[9] < 0.3 else "no"}
    if purpose == "business":
        categories["business_age"] = "new" if chances[1] < 0.4 else "existing"
    return numbers, categories
