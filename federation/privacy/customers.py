"""Customers' updates cut to a norm, each, rounded to integers and added up: what one customer can change is known exactly.

Called by an institution's preparation, before noise and masks.
Never adds floats: the sum of integers is the same in any order, so taking one customer out takes out just his integers.

The unit of privacy is the customer. With or without one customer, the sum differs by his integers, whose L2 norm is at most
clip_quanta, and by count_quanta in the last coordinate (`accountant.sensitivity_quanta` puts the two together). Rounding draws
words for each customer apart; for any words drawn the bound holds, hence for their mixture (the divergences of differential
privacy are jointly convex)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np

from federation.errors import OwnFault, require
from federation.limits import COORDINATE_QUANTA_MAX
from federation.privacy.randomness import Ints, Stream

Update: TypeAlias = Mapping[int, float]
"""What one customer's events change: coordinate -> difference, in model units; coordinates not named stay."""

# A float64 norm of up to 2^20 coordinates, and the scaling by it, are wrong by less than 2^20 * 2^-52 = 2.4e-10 of it.
_SLACK: Final = 1e-9


@dataclass(frozen=True, slots=True)
class CustomerSum:
    """The sum over an institution's customers, and what had to be done to it. All of this stays at the institution."""

    total: Ints = field(repr=False)  # int64[dimension + 1], the last for the number of customers.
    customers: int
    clipped: int  # Customers whose update was cut.
    clamped: int  # Coordinates of the sum that were cut to the largest that fits the ring.


def summed(
    updates: Sequence[Update], *, dimension: int, clip_norm: float, clip_quanta: int, count_quanta: int, stream: Stream
) -> CustomerSum:
    """The sum of one update per customer, `clip_norm` (model units) being `clip_quanta` quanta.

    Each update is scaled down, where need be, until its rounded integers have an L2 norm of at most clip_quanta: rounding moves
    each of its m coordinates by less than one, so m coordinates are cut to sqrt(m) less. Rounding is stochastic and right on average.
    A sum too large for the ring is cut to it coordinate by coordinate, which never takes two sums further apart.
    OwnFault: an update that is not finite or outside the dimension, or fewer quanta than `quantize.parameter_problem` allows.
    """
    sizes = np.fromiter(map(len, updates), dtype=np.int64, count=len(updates))
    owners = np.repeat(np.arange(len(updates)), sizes)
    places = np.fromiter(itertools.chain.from_iterable(updates), dtype=np.int64, count=len(owners))
    values = np.fromiter(itertools.chain.from_iterable(u.values() for u in updates), dtype=np.float64, count=len(owners))
    if ((places < 0) | (places >= dimension)).any():
        raise OwnFault(f"an update outside the {dimension} coordinates of the round")
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.sqrt(np.bincount(owners, np.square(values), minlength=len(updates)))
    if not np.isfinite(norms).all():
        raise OwnFault("the update has no finite norm: the learner has diverged")
    per_unit = clip_quanta / clip_norm
    if (4 * sizes > clip_quanta**2).any():
        raise OwnFault(f"{clip_quanta} quanta are too few to round {sizes.max()} coordinates to")
    room = (clip_quanta - np.sqrt(sizes)) * (1 - _SLACK)
    cut = norms * per_unit > room
    factors = np.full(len(updates), per_unit)
    factors[cut] = room[cut] / norms[cut]
    exact = values * factors[owners]
    below = np.floor(exact)
    quanta = (below + (stream.fractions(len(exact)) < exact - below)).astype(np.int64)
    # Exact: squares below 2^44, and the sum is refused long before 2^53.
    squares = np.bincount(owners, np.square(quanta), minlength=len(updates))
    require(bool((squares <= clip_quanta**2).all()), "a customer's integers are beyond the clip norm")
    total = np.zeros(dimension + 1, dtype=np.int64)
    np.add.at(total, places, quanta)
    total[-1] = len(updates) * count_quanta
    kept = np.clip(total, -COORDINATE_QUANTA_MAX, COORDINATE_QUANTA_MAX)
    return CustomerSum(kept, len(updates), int(cut.sum()), int(np.count_nonzero(kept != total)))
