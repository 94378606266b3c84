"""Quality as it was: every event is scored before it is learned, and the score is counted when its label comes.

Kept by the institution worker per head and model, saved with it as plain numbers.
Never keeps an event: memory is the same after ten labels and ten million."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

BINS: Final = 2048
LOG_ODDS_MAX: Final = 16.0  # Bins are 1/64 wide; scores beyond are ties.


class PrequentialAuc:
    """ROC-AUC and log loss over binned log-odds; scores in one bin are ties and count a half."""

    def __init__(self) -> None:
        """Nothing counted."""
        self._counts = np.zeros((2, BINS))  # Row 0: negatives, row 1: positives.
        self._loss_sum = 0.0

    def add(self, log_odds: float, positive: bool) -> None:
        """Count one labelled score."""
        place = int((log_odds + LOG_ODDS_MAX) * (BINS / (2 * LOG_ODDS_MAX)))
        self._counts[int(positive), min(max(place, 0), BINS - 1)] += 1
        margin = -log_odds if positive else log_odds
        self._loss_sum += float(np.logaddexp(0.0, margin))

    @property
    def scored(self) -> int:
        """How many labelled scores were counted."""
        return int(self._counts.sum())

    @property
    def auc(self) -> float:
        """Area under the ROC curve: the chance that a positive outscores a negative; -1 until both were seen."""
        negatives, positives = self._counts.sum(axis=1)
        if not negatives or not positives:
            return -1.0
        below = np.cumsum(self._counts[0]) - self._counts[0] / 2
        return float((self._counts[1] * below).sum() / (negatives * positives))

    @property
    def log_loss(self) -> float:
        """Mean of -ln p(what happened), in nats; -1 until something was scored."""
        return self._loss_sum / self.scored if self.scored else -1.0

    def merge(self, other: PrequentialAuc) -> None:
        """Count what `other` counted, as if here: pooled over institutions or shards of one."""
        self._counts += other._counts
        self._loss_sum += other._loss_sum

    def to_numbers(self) -> list[float]:
        """What to save: loss sum, then negative and positive counts per bin."""
        return [self._loss_sum, *self._counts.ravel().tolist()]

    def from_numbers(self, numbers: Sequence[float]) -> None:
        """Take what `to_numbers` gave; ValueError for another length or counts below zero or not finite."""
        taken = np.array(numbers, dtype=np.float64)
        if taken.shape != (1 + 2 * BINS,) or not np.isfinite(taken).all() or (taken < 0).any():
            raise ValueError("not the numbers of a prequential AUC")
        self._loss_sum = float(taken[0])
        self._counts = taken[1:].reshape(2, BINS).copy()


class PrequentialHitRate:
    """How often the product taken was among the first three offered."""

    def __init__(self) -> None:
        """Nothing counted."""
        self.scored = 0.0
        self.hits = 0.0

    def add(self, place: float) -> None:
        """Count the expected place (1 is first) of a product taken."""
        self.scored += 1
        self.hits += place <= 3

    @property
    def rate(self) -> float:
        """HR@3; -1 until something was scored."""
        return self.hits / self.scored if self.scored else -1.0

    def merge(self, other: PrequentialHitRate) -> None:
        """Count what `other` counted."""
        self.scored += other.scored
        self.hits += other.hits

    def to_numbers(self) -> list[float]:
        """What to save."""
        return [self.scored, self.hits]

    def from_numbers(self, numbers: Sequence[float]) -> None:
        """Take what `to_numbers` gave; ValueError unless two finite counts, hits at most scored."""
        if len(numbers) != 2 or not 0 <= numbers[1] <= numbers[0] < float("inf"):
            raise ValueError("not the numbers of a hit rate")
        self.scored, self.hits = numbers
