"""Why an event was flagged, in points that add up, and which closed cases were like it.

Called by `web.pages.case` and the API.
Never rounds before it adds: what is shown sums to the score to the last digit shown."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from sqlalchemy import Row

from federation.heads.credit import CreditEncoder
from federation.heads.fraud import FraudEncoder
from federation.heads.head import Layout
from federation.heads.scoring import probability_of
from federation.messages import HeadName
from web.cases.case import Case

SIMILAR_MOST: Final = 5
SIMILAR_FROM: Final = 0.3


@dataclass(frozen=True)
class Point:
    """A feature's part of a score, in log-odds."""

    feature: str
    value: str
    points: float


@dataclass(frozen=True)
class Explanation:
    """A flagged event's score: `base` and all points add up to `log_odds`."""

    log_odds: float
    probability: float
    base: float  # What every event has: the prior and the intercept.
    base_rate: float  # The same as a probability.
    points: tuple[Point, ...]
    named: bool  # False: made with other features than this portal knows, so that points have numbers for names.


@cache
def layout_of(head: HeadName) -> Layout:
    """The names of a risk's coordinates, as shipped."""
    return (FraudEncoder if head is HeadName.FRAUD else CreditEncoder).shipped().layout


def explained(event: Row[Any]) -> Explanation:
    """A row of case_events, explained: the strongest points first."""
    layout = layout_of(HeadName(event.head))
    named = layout.digest.hex() == event.layout_digest and all(0 < index < len(layout) for index in event.active)
    names = [layout.parts(index) if named else (f"coordinate {index}", "") for index in event.active]
    points = [Point(feature, value, points) for (feature, value), points in zip(names, event.points, strict=True)]
    base = event.log_odds - math.fsum(event.points)
    ordered = tuple(sorted(points, key=lambda point: -abs(point.points)))
    return Explanation(event.log_odds, probability_of(event.log_odds), base, probability_of(base), ordered, named)


def similar(active: Collection[int], closed: Sequence[tuple[Case, frozenset[int]]], but: str) -> list[tuple[Case, float]]:
    """Closed cases with an event like this one, the likest first: Jaccard's share of the coordinates that either has.

    >>> similar([1, 2], [], but="")
    []
    """
    best: dict[str, tuple[Case, float]] = {}
    wanted = frozenset(active)
    for case, theirs in closed:
        share = len(wanted & theirs) / max(1, len(wanted | theirs))
        if case.id != but and share >= SIMILAR_FROM and share > best.get(case.id, (case, 0.0))[1]:
            best[case.id] = (case, share)
    return sorted(best.values(), key=lambda pair: -pair[1])[:SIMILAR_MOST]
