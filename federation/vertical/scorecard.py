"""One side's half of a vertical scorecard: the rows it sees, the points it gives, what its rows have taught it.

Called by `training`, by the shell for predictions, and by evaluations.
Never sees the other side's columns or points.

The objective is the log loss of all rows plus what earlier rows said: half the squared distance from the weights before, in the
metric `precision`. Each side in turn takes a Newton step on its own half. As curvature it uses CURVATURE times X'X, half of the largest
the logistic function has: the shortest such step of which it is certain that it never raises the loss (Boehning and Lindsay, 1988).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from federation.errors import OwnFault
from federation.heads.head import Active
from federation.vertical.exchange import Column
from federation.vertical.fixed_point import SCORE_MAX, Reals

Matrix = NDArray[np.float64]
Indices = NDArray[np.int64]

CURVATURE: Final = 1 / 8
_STEPS_MAX: Final = 100
_CONVERGED: Final = 1e-7
_STRETCH: Final = 4096
INTERCEPT_RIDGE: Final = 1e-3  # The base rate is hardly a matter of taste.


@dataclass(frozen=True, slots=True)
class Rows:
    """Coordinates that are 1, row after row: those of row i are `coordinates[starts[i]:starts[i + 1]]`; the intercept (0) is every row's."""

    starts: Indices
    coordinates: Indices

    @classmethod
    def of(cls, rows: Iterable[Active]) -> Rows:
        """From encoded events."""
        listed = [np.array((0, *active), dtype=np.int64) for active in rows]
        starts = np.cumsum([0, *(len(row) for row in listed)], dtype=np.int64)
        return cls(starts, np.concatenate(listed) if listed else np.zeros(0, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def part(self, first: int, last: int) -> Rows:
        """Rows first to last - 1."""
        return Rows(self.starts[first : last + 1] - self.starts[first], self.coordinates[self.starts[first] : self.starts[last]])

    def points(self, weights: Reals) -> Reals:
        """Each row's sum of weights."""
        return np.add.reduceat(weights[self.coordinates], self.starts[:-1])

    def columns(self, wanted: Sequence[int]) -> list[Column]:
        """The rows in which each of these coordinates is 1."""
        row_of = np.repeat(np.arange(len(self)), np.diff(self.starts))
        order = np.argsort(self.coordinates, kind="stable")
        ordered = self.coordinates[order]
        firsts, lasts = np.searchsorted(ordered, wanted, "left"), np.searchsorted(ordered, wanted, "right")
        return [row_of[order[first:last]] for first, last in zip(firsts, lasts, strict=True)]

    def counts(self, width: int) -> Indices:
        """In how many rows each of `width` coordinates is 1."""
        return np.bincount(self.coordinates, minlength=width)

    def gram(self, wanted: Indices, width: int) -> Matrix:
        """X'X of the wanted coordinates, a stretch of rows at a time."""
        total = np.zeros((len(wanted), len(wanted)))
        for first in range(0, len(self), _STRETCH):
            part = self.part(first, min(first + _STRETCH, len(self)))
            dense = np.zeros((len(part), width))
            dense[np.repeat(np.arange(len(part)), np.diff(part.starts)), part.coordinates] = 1.0
            dense = dense[:, wanted]
            total += dense.T @ dense
        return total


@dataclass(frozen=True, slots=True)
class Half:
    """One side's weights, the intercept first, and the metric in which the next training holds on to them."""

    weights: Reals
    precision: Matrix

    @classmethod
    def untaught(cls, width: int, *, ridge: float) -> Half:
        """All weights 0, held there with strength `ridge`."""
        strength = np.full(width, ridge)
        strength[0] = INTERCEPT_RIDGE
        return cls(np.zeros(width), np.diag(strength))


@dataclass(frozen=True, slots=True)
class Lesson:
    """What stays the same through a training: the half it starts from, the columns it may use, their curvature."""

    start: Half
    kept: Indices
    curvature: Matrix  # Of the kept columns, what earlier rows said included.

    @classmethod
    def of(cls, start: Half, rows: Rows, *, rows_min: int) -> Lesson:
        """From the training rows. A column with fewer than `rows_min` rows is left out: its sum would tell about single rows."""
        width = len(start.weights)
        kept = np.flatnonzero(rows.counts(width) >= rows_min)
        if not len(kept) or kept[0] != 0:
            raise OwnFault(f"a training needs at least {rows_min} rows")
        return cls(start, kept, start.precision[np.ix_(kept, kept)] + CURVATURE * rows.gram(kept, width))

    def step(self, weights: Reals, sums: Reals, rows: Rows, offset: float) -> tuple[Reals, float]:
        """(next weights, by how much the quadratic model says the objective falls), from the kept columns' sums of residuals.

        The step is halved until every row's half of the score, `offset` included, is within SCORE_MAX.
        """
        gradient = sums + (self.start.precision @ (weights - self.start.weights))[self.kept]
        direction = np.linalg.solve(self.curvature, gradient)
        for halving in range(60):
            share = 0.5**halving
            tried = weights.copy()
            tried[self.kept] -= share * direction
            if np.max(np.abs(rows.points(tried) + offset)) <= SCORE_MAX:
                return tried, float(gradient @ direction) * (share - share**2 / 2)
        raise OwnFault(f"the scores are beyond {SCORE_MAX:g} already")

    def converged(self, rows: Rows, labels: Reals, prior: float) -> Half:
        """The own half as if there were no other: Newton steps on the training rows until there is nothing to gain.

        The one-party scorecard that answers when the partner does not.
        """
        weights, columns = self.start.weights, rows.columns(self.kept.tolist())
        for _ in range(_STEPS_MAX):
            residuals = 0.5 * (1.0 + np.tanh(0.5 * (rows.points(weights) + prior))) - labels
            weights, gain = self.step(weights, np.array([residuals[column].sum() for column in columns]), rows, prior)
            if gain < _CONVERGED * len(rows):
                break
        return self.learned(weights)

    def learned(self, weights: Reals) -> Half:
        """The half after the training: it holds on to its weights as strongly as all rows so far demand."""
        precision = self.start.precision.copy()
        precision[np.ix_(self.kept, self.kept)] = self.curvature
        return Half(weights, precision)
