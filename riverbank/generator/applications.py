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
GROWTH_DAYS: Final = 120
GROWTH_MOST: Final = 20.0
"""After the drift, lending grows by its first volume every GROWTH_DAYS, up to GROWTH_MOST times: the calendar of a feed at a steady
pace slows down, so that its years last for days of ours, while outcomes under way stay within what an institution remembers."""
OUTCOME_DAYS: Final = (30, 60)
DRIFT_DAY: Final = 120
"""From this day on money is short: more loans fail everywhere, and those of heavy borrowers and new businesses most."""

BASE: Final = -3.55  # Log-odds of default with no point for or against.
STEPS: Final = {
    "instalment_ratio": ((0.1, 0.6), (0.2, 0.7), (0.3, 0.8)),
    "utilisation_1": ((0.4, 0.6), (0.95, 0.9)),
    "payment_status_1": ((1, 1.1), (2, 0.9)),
    "income_monthly": ((20e3, -0.5), (40e3, -0.5)),
    "balance_mean": ((10e3, -0.4), (50e3, -0.6)),
    "transactions_monthly": ((4, -0.3),),
    "term_months": ((48, 0.4),),
    "amount": ((250e3, 0.3),),
}
"""The hidden scorecard: each threshold reached adds its points of log-odds."""
CHOICES: Final = {
    "purpose": {"household": 0.0, "insurance": -0.3, "leasing": 0.3, "loan": 0.7},
    "business_age": {"existing": -0.1, "new": 0.6},
    "revolving": {"no": 0.0, "yes": 0.3},
}
DRIFT_BASE: Final = 0.4
DRIFT_STEPS: Final = {"utilisation_1": ((0.4, 0.6), (0.95, 0.6))}
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


def volume(day: int) -> float:
    """Applications on this day, in multiples of the first days'."""
    return min(1 + max(0, day - DRIFT_DAY) / GROWTH_DAYS, GROWTH_MOST)


def _labelled(world: World) -> Iterator[tuple[Arrival, OutcomeObserved]]:
    rng = world.rng(Draw.APPLICATIONS)
    serials = itertools.count(1)
    for day in itertools.count():
        count = int(rng.poisson(PER_DAY * volume(day) * world.customers / 1000))
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
    """Features from uniform chances; small institutions have poorer customers, and each prefers purposes of its own."""
    preferred = (institution * 0.4 + chances[1]) % 1.0
    purpose = _PURPOSES[int((0.75 * chances[0] + 0.25 * preferred) * len(_PURPOSES))]
    income = round(8e3 + 18e3 * -math.log(1 - chances[2]) * (1.2 - 0.08 * min(institution, 5)), 2)
    amount = round(10e3 + 400e3 * chances[3] ** 3, -2)
    term = (12, 24, 36, 48, 60, 84)[int(chances[4] * 6)]
    late = chances[7]
    numbers = {
        "amount": amount,
        "term_months": float(term),
        "income_monthly": income,
        "instalment_ratio": round(amount / term * 1.08 / income, 4),
        "utilisation_1": round(chances[6] ** 1.5 * 1.1, 4),
        "payment_status_1": float(0 if late < 0.8 else 1 if late < 0.92 else 2),
    }
    if chances[8] > 0.1:  # One in ten has no account here yet.
        numbers["balance_mean"] = round(90e3 * ((chances[8] - 0.1) / 0.9) ** 2, 2)
        numbers["transactions_monthly"] = round(1 + 11 * chances[5], 2)
    categories = {"purpose": purpose, "revolving": "yes" if chances[9] < 0.3 else "no"}
    if purpose == "leasing":  # Businesses lease.
        categories["business_age"] = "new" if chances[1] < 0.4 else "existing"
    return numbers, categories
