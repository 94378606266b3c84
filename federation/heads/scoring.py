"""The score of a scorecard from its bare vector: sum of points, probability, reasons.

Called by `scorecard` and, without River, by the portal.
Never learns, and never imports River."""

from __future__ import annotations

import math
from collections.abc import Sequence

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


def log_odds_of(vector: Vector, active: Active) -> float:
    """Intercept and the points of the active coordinates, added."""
    return float(vector[0] + vector[list(active)].sum())


def predict(vector: Vector, active: Active) -> float:
    """Probability that the event is positive, in (0, 1)."""
    return probability_of(log_odds_of(vector, active))


def explain(layout: Layout, vector: Vector, active: Active, most: int = 5) -> tuple[Reason, ...]:
    """The `most` strongest points, then the rest in one line; with the intercept they add up to the log-odds."""
    return reasons_of(layout, [(index, float(vector[index])) for index in active], most)


def reasons_of(layout: Layout, points: Sequence[tuple[int, float]], most: int) -> tuple[Reason, ...]:
    """Reasons from (coordinate, points) pairs: strongest first, equal ones in layout order, the rest in one line."""
    ordered = sorted(points, key=lambda pair: (-abs(pair[1]), pair[0]))
    named = [Reason(*layout.parts(index), points=value) for index, value in ordered[:most] if value != 0.0]
    rest = ordered[most:]
    if rest:
        named.append(Reason("other", f"{len(rest)} more", math.fsum(value for _, value in rest)))
    return tuple(named)
