"""The protocol of a learnable head: a fixed layout of named 0/1 coordinates, and points that add up.

Implemented by `scorecard`; spoken by the institution worker's learner.
Never grows: a layout is complete at start-up, whatever the events bring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from federation.errors import require
from federation.ids import digest_of
from federation.limits import DIMENSION_MAX
from federation.messages import HeadName

Active: TypeAlias = tuple[int, ...]
"""Coordinates that are 1 for one event: ascending, without the intercept (0), each below the layout's length."""

Lesson: TypeAlias = tuple[Active, bool]
"""One labelled event: its coordinates, and whether it was positive.

What contributions are made of depends on the customer's own events and on published models alone (docs/privacy.md).
"""

Vector: TypeAlias = NDArray[np.float64]

INTERCEPT: Final = "intercept=always"
PRIOR_MAX: Final = 20.0


class FeatureError(ValueError):
    """An event's content does not fit the feature schema; the message is a sentence for the dead letter."""


@dataclass(frozen=True)
class Layout:
    """Names of all coordinates, in order: `feature=value`, the intercept first.

    `prior` is the log-odds of a head that has learned nothing (a vector of zeros): without it, everything would be even odds
    until labels come, and a fraud model would flag every payment of its first week.
    Two parties whose digests agree mean the same thing by every position of a vector.
    """

    head: HeadName
    version: int
    names: tuple[str, ...]
    prior: float = 0.0

    def __post_init__(self) -> None:
        """Raise Broken unless the names are distinct, well formed and few enough, and the prior is a log-odds."""
        require(self.names and self.names[0] == INTERCEPT, "a layout starts with the intercept")
        require(len(set(self.names)) == len(self.names), "two coordinates share a name")
        require(len(self.names) <= DIMENSION_MAX, "a layout is longer than a vector may be")
        require(all("=" in name and "\n" not in name for name in self.names), "a coordinate's name is feature=value on one line")
        require(abs(self.prior) <= PRIOR_MAX, "a prior is a log-odds within 20")  # NaN is not.

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def digest(self) -> bytes:
        """BLAKE2b-256 of head, schema version, prior and all names, one a line."""
        return digest_of("\n".join((f"riverbank.layout {self.head.value} {self.version} {self.prior!r}", *self.names)).encode())

    @cached_property
    def indices(self) -> dict[str, int]:
        """Name -> coordinate."""
        return {name: index for index, name in enumerate(self.names)}

    def index(self, name: str) -> int:
        """The coordinate of this name; KeyError if there is none."""
        return self.indices[name]

    def parts(self, index: int) -> tuple[str, str]:
        """Feature and value of a coordinate."""
        feature, _, value = self.names[index].partition("=")
        return feature, value


@dataclass(frozen=True, slots=True)
class Reason:
    """One line of an explanation: points are log-odds, positive towards fraud, default or acquisition."""

    feature: str
    value: str
    points: float


@runtime_checkable
class Head(Protocol):
    """A learner over a fixed layout whose score is a sum of points."""

    @property
    def layout(self) -> Layout:
        """What each coordinate of the vector means."""
        ...

    def learn(self, active: Active, positive: bool, weight: float = 1.0) -> None:
        """Learn one labelled event; `weight` scales its gradient."""
        ...

    def predict(self, active: Active) -> float:
        """Probability that the event is positive, in [0, 1]."""
        ...

    def log_odds(self, active: Active) -> float:
        """The score: prior, intercept and points, added."""
        ...

    def explain(self, active: Active, most: int = 5) -> tuple[Reason, ...]:
        """The `most` strongest points, then the rest summed in one line; with prior and intercept they make the log-odds."""
        ...

    def to_vector(self) -> Vector:
        """All weights, float64[len(layout)], the intercept first; the caller's own copy."""
        ...

    def from_vector(self, vector: Vector | Sequence[float]) -> None:
        """Take these weights; ValueError if their number is not the layout's or one is not finite."""
        ...
