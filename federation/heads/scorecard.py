"""A scorecard: River's logistic regression over a layout of 0/1 coordinates.

Made by the institution worker, two per head (federated and local-only).
Never imported by the portal: River costs a process a second of processor time and 80 MB."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from river.linear_model import LogisticRegression
from river.optim import SGD
from river.utils import VectorDict

from federation.heads.head import Active, Layout, Lesson, Reason, Vector
from federation.heads.scoring import checked_vector, probability_of, reasons_of


class Scorecard:
    """Implements `Head` with plain stochastic gradient steps of the log loss (River's LogisticRegression with SGD).

    `learning_rate` is the step in log-odds per unit of error; it is the only state outside the vector, so two scorecards
    with equal vectors and rates behave alike. (AdaGrad was measured: a little better on some data, but its accumulated squares
    would be state that the federation neither sees nor averages.)
    """

    def __init__(self, layout: Layout, *, learning_rate: float) -> None:
        """Start with all weights 0: every event has the prior's odds."""
        self.layout = layout
        # River's own intercept is the prior and stays; the learned intercept is coordinate 0, active in every event.
        self._river = LogisticRegression(optimizer=SGD(learning_rate), intercept_init=layout.prior, intercept_lr=0.0)
        self._coordinates = list(range(len(layout)))

    def learn(self, active: Active, positive: bool, weight: float = 1.0) -> None:
        """One gradient step on one labelled event; `weight` scales it."""
        self._river.learn_one(dict.fromkeys((0, *active), 1.0), positive, w=weight)

    def learn_apart(self, lessons: Iterable[Lesson]) -> dict[int, float]:
        """What these lessons, learned one after the other, change: coordinate -> difference. The scorecard stays as it was.

        Takes time and memory for the active coordinates alone, whatever the length of the layout.
        """
        weights, before = self._river._weights, {}  # noqa: SLF001 - the public property copies all of them.
        for active, positive in lessons:
            before.update({index: weights.get(index, 0.0) for index in (0, *active) if index not in before})
            self.learn(active, positive)
        changed = {index: float(weights[index]) - weight for index, weight in before.items()}
        for index, weight in before.items():
            weights[index] = weight
        return changed

    def log_odds(self, active: Active) -> float:
        """Prior, intercept and points, added."""
        return float(self._river._raw_dot_one(dict.fromkeys((0, *active), 1.0)))  # noqa: SLF001 - River gives only the probability.

    def predict(self, active: Active) -> float:
        """Probability that the event is positive, in [0, 1]."""
        return probability_of(self.log_odds(active))

    def explain(self, active: Active, most: int = 5) -> tuple[Reason, ...]:
        """The `most` strongest points, strongest first, and the rest in one line."""
        weights = self._river._weights  # noqa: SLF001 - the public property copies all of them.
        return reasons_of(self.layout, ((index, float(weights.get(index, 0.0))) for index in active), most)

    def to_vector(self) -> Vector:
        """All weights, float64[len(layout)], the intercept first."""
        return np.array(self._river._weights.to_numpy(self._coordinates), dtype=np.float64)  # noqa: SLF001 - as above.

    def from_vector(self, vector: Vector | Sequence[float]) -> None:
        """Take these weights; ValueError unless finite and as many as the layout has coordinates."""
        weights = checked_vector(vector, self.layout).tolist()
        self._river._weights = VectorDict(dict(enumerate(weights)))  # noqa: SLF001 - River has no setter.
