"""A scorecard: River's logistic regression over a layout of 0/1 coordinates.

Made by the institution worker, two per head (federated and local-only).
Never imported by the portal: River costs it a second and 80 MB."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from river.linear_model import LogisticRegression
from river.optim import SGD
from river.utils import VectorDict

from federation.heads.head import Active, Layout, Reason, Vector
from federation.heads.scoring import checked_vector, probability_of, reasons_of


class Scorecard:
    """Implements `Head` with plain stochastic gradient steps of the log loss (River's LogisticRegression with SGD).

    `learning_rate` is the step in log-odds per unit of error; it is the only state outside the vector, so two scorecards
    with equal vectors and rates behave alike.
    """

    def __init__(self, layout: Layout, *, learning_rate: float) -> None:
        """Start with all weights 0: every event is even odds."""
        self.layout = layout
        self._river = LogisticRegression(optimizer=SGD(learning_rate), intercept_lr=learning_rate)
        self._coordinates = list(range(1, len(layout)))

    def learn(self, active: Active, positive: bool, weight: float = 1.0) -> None:
        """One gradient step on one labelled event; `weight` scales it."""
        self._river.learn_one(dict.fromkeys(active, 1.0), positive, w=weight)

    def log_odds(self, active: Active) -> float:
        """Intercept and points, added."""
        return float(self._river._raw_dot_one(dict.fromkeys(active, 1.0)))  # noqa: SLF001 - River gives only the probability.

    def predict(self, active: Active) -> float:
        """Probability that the event is positive, in (0, 1)."""
        return probability_of(self.log_odds(active))

    def explain(self, active: Active, most: int = 5) -> tuple[Reason, ...]:
        """The `most` strongest reasons, strongest first, and the rest in one line."""
        weights = self._river._weights  # noqa: SLF001 - the public property copies all of them.
        return reasons_of(self.layout, [(index, float(weights.get(index, 0.0))) for index in active], most)

    def to_vector(self) -> Vector:
        """All weights, float64[len(layout)], the intercept first."""
        vector = np.empty(len(self.layout))
        vector[0] = self._river.intercept
        vector[1:] = self._river._weights.to_numpy(self._coordinates)  # noqa: SLF001 - the public property builds a dict.
        return vector

    def from_vector(self, vector: Vector | Sequence[float]) -> None:
        """Take these weights; ValueError unless finite and as many as the layout has coordinates."""
        weights = checked_vector(vector, self.layout).tolist()
        self._river.intercept = weights[0]
        self._river._weights = VectorDict(dict(zip(self._coordinates, weights[1:], strict=True)))  # noqa: SLF001 - River has no setter.
