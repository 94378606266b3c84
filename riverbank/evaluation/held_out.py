"""Acquisitions set aside and asked about when everything else has been learned: leave one out, or all that came later.

Called by `sets` for the protocols under which recommenders are usually compared.
Never lets a held-out acquisition be learned, or be seen among what its customer holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from riverbank.arrivals import Arrival


class Split(NamedTuple):
    """What is learned, in time order, and what is asked afterwards."""

    learned: list[Arrival]
    asked: list[Arrival]


def last_of_each(arrivals: Iterable[Arrival]) -> Split:
    """Of every customer with two acquisitions or more, the last is asked about."""
    everything = list(arrivals)
    counts = Counter(_customer_of(arrival) for arrival in everything)
    seen: Counter[str] = Counter()
    split = Split([], [])
    for arrival in everything:
        customer = _customer_of(arrival)
        seen[customer] += 1
        is_last = seen[customer] == counts[customer] > 1
        (split.asked if is_last else split.learned).append(arrival)
    return split


def after_the_first(arrivals: Iterable[Arrival]) -> Split:
    """What came at the first moment (of Santander, the holdings of the first month) is learned; what those customers took later is asked."""
    everything = list(arrivals)
    learned = [arrival for arrival in everything if arrival.at_ms == everything[0].at_ms]
    known = {_customer_of(arrival) for arrival in learned}
    return Split(learned, [arrival for arrival in everything[len(learned) :] if _customer_of(arrival) in known])


def _customer_of(arrival: Arrival) -> str:
    return arrival.key.decode()
