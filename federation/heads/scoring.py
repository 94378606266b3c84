"""The score of a scorecard from its bare vector: sum of points, probability, reasons.

Called by `scorecard` and `products`, and so, without River, by the portal.
Never learns, and never imports River."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from federation.heads.head import Active, Layout, Reason, Vector


def checked_vector(vector: Vector | Sequence[float], layout: Layout) -> Vector:
    """A float64 copy of `vector`; ValueError unless it has the layout's length and is finite throughout."""
    copy = np.array(vector, dtype=np.float64)
    if copy.shape != (len(layout),):
        raise ValueError(f"a vector of {copy.shape} for a layout of {len(layout)} coordinates")
    if not np.isfinite(copy).all():
        raise ValueError("a weight is not finite")
    return copy


def probability_of(log_odds: float) -> float:
    """The logistic function, without overflow on either side."""
    if log_odds >= 0:
        return 1.0 / (1.0 + math.exp(-log_odds))
    odds = math.exp(max(log_odds, -700.0))
    return odds / (1.0 + odds)


def log_odds_of(layout: Layout, vector: Vector, active: Active) -> float:
    """Prior, intercept and the points of the active coordinates, added."""
    return layout.prior + float(vector[0] + vector[list(active)].sum())


def predict(layout: Layout, vector: Vector, active: Active) -> float:
    """Probability that the event is positive, in [0, 1]."""
    return probability_of(log_odds_of(layout, vector, active))


def explain(layout: Layout, vector: Vector, active: Active, most: int = 5) -> tuple[Reason, ...]:
    """The `most` strongest points, then the rest in one line; with prior and intercept they add up to the log-odds."""
    return reasons_of(layout, zip(active, vector[list(active)].tolist(), strict=True), most)


def reasons_of(layout: Layout, points: Iterable[tuple[int, float]], most: int) -> tuple[Reason, ...]:
    """Reasons from (coordinate, points) pairs: strongest first, equal ones in layout order, the rest in one line."""
    ordered = sorted(((index, value) for index, value in points if value), key=lambda pair: (-abs(pair[1]), pair[0]))
    named = tuple(Reason(*layout.parts(index), points=value) for index, value in ordered[:most])
    rest = ordered[most:]
    if not rest:
        return named
    return (*named, Reason("other", f"{len(rest)} more", math.fsum(value for _, value in rest)))
