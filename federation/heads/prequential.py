"""Quality as it was: every event is scored before it is learned, and the score is counted when its label comes.

Kept by the institution worker per head and model, saved with it as plain numbers. Each measure is kept since the start and
as a recent one, in which a label's weight fades to 1/e while MEMORY more labels come (prequential with fading factors:
Gama, Sebastiao and Rodrigues, Machine Learning 90, 2013).
Never keeps an event: memory is the same after ten labels and ten million."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

BINS: Final = 512
LOG_ODDS_MAX: Final = 16.0  # Bins are 1/16 wide; scores beyond are ties.
MEMORY: Final = 4000

_GROWTH: Final = math.exp(1 / MEMORY)
_SINCE_START: Final = slice(0, 2)  # Rows of counts: negatives, positives.
_RECENT: Final = slice(2, 4)
_UNIT_MAX: Final = 1e9


class PrequentialAuc:
    """ROC-AUC and log loss over binned log-odds; scores in one bin are ties and count a half."""

    def __init__(self) -> None:
        """Nothing counted."""
        self._counts = np.zeros((4, BINS))
        self._losses = np.zeros(2)  # Summed since the start, and recent.
        self._unit = 1.0  # What the newest label weighs among the recent: it grows, which is as if all older ones faded.

    def add(self, log_odds: float, positive: bool) -> None:
        """Count one labelled score."""
        place = min(max(int((log_odds + LOG_ODDS_MAX) * (BINS / (2 * LOG_ODDS_MAX))), 0), BINS - 1)
        margin = -log_odds if positive else log_odds
        loss = max(margin, 0.0) + math.log1p(math.exp(-abs(margin)))
        self._unit *= _GROWTH
        self._counts[int(positive), place] += 1.0
        self._counts[2 + positive, place] += self._unit
        self._losses[0] += loss
        self._losses[1] += loss * self._unit
        if self._unit > _UNIT_MAX:
            self._counts[_RECENT] /= self._unit
            self._losses[1] /= self._unit
            self._unit = 1.0

    @property
    def scored(self) -> int:
        """How many labelled scores were counted."""
        return int(self._counts[_SINCE_START].sum())

    @property
    def auc(self) -> float:
        """Area under the ROC curve: the chance that a positive outscores a negative; -1 until both were seen."""
        return _auc(self._counts[_SINCE_START])

    @property
    def recent_auc(self) -> float:
        """The same of recent labels; -1 until both were seen."""
        return _auc(self._counts[_RECENT])

    @property
    def log_loss(self) -> float:
        """Mean of -ln p(what happened), in nats; -1 until something was scored."""
        return float(self._losses[0] / self._counts[_SINCE_START].sum()) if self.scored else -1.0

    @property
    def recent_log_loss(self) -> float:
        """The same of recent labels; -1 until something was scored."""
        return float(self._losses[1] / self._counts[_RECENT].sum()) if self.scored else -1.0

    def merge(self, other: PrequentialAuc) -> None:
        """Count what `other` counted, as if here and as recently: pooled over institutions, or shards of one."""
        share = self._unit / other._unit
        self._counts[_SINCE_START] += other._counts[_SINCE_START]
        self._counts[_RECENT] += other._counts[_RECENT] * share
        self._losses += other._losses * (1.0, share)

    def to_numbers(self) -> list[float]:
        """What to save: 3 + 4 * BINS numbers."""
        return [self._unit, *self._losses.tolist(), *self._counts.ravel().tolist()]

    def from_numbers(self, numbers: Sequence[float]) -> None:
        """Take what `to_numbers` gave; ValueError for another length, or a number below zero or not finite."""
        taken = np.array(numbers, dtype=np.float64)
        if taken.shape != (3 + 4 * BINS,) or not np.isfinite(taken).all() or (taken < 0).any() or not taken[0]:
            raise ValueError("not the numbers of a prequential AUC")
        self._unit = float(taken[0])
        self._losses = taken[1:3].copy()
        self._counts = taken[3:].reshape(4, BINS).copy()


class PrequentialHitRate:
    """How often the product taken was among the first three offered (HR@3)."""

    def __init__(self) -> None:
        """Nothing counted."""
        self.scored = 0
        self.hits = 0
        self._recent_scored = 0.0
        self._recent_hits = 0.0

    def add(self, place: float) -> None:
        """Count the expected place (1 is first) of a product taken."""
        hit = place <= 3
        self.scored += 1
        self.hits += hit
        self._recent_scored = self._recent_scored / _GROWTH + 1.0
        self._recent_hits = self._recent_hits / _GROWTH + hit

    @property
    def rate(self) -> float:
        """HR@3 since the start; -1 until something was scored."""
        return self.hits / self.scored if self.scored else -1.0

    @property
    def recent_rate(self) -> float:
        """HR@3 of recent acquisitions; -1 until something was scored."""
        return self._recent_hits / self._recent_scored if self.scored else -1.0

    def merge(self, other: PrequentialHitRate) -> None:
        """Count what `other` counted, as if here and as recently."""
        self.scored += other.scored
        self.hits += other.hits
        self._recent_scored += other._recent_scored
        self._recent_hits += other._recent_hits

    def to_numbers(self) -> list[float]:
        """What to save: four numbers."""
        return [self.scored, self.hits, self._recent_scored, self._recent_hits]

    def from_numbers(self, numbers: Sequence[float]) -> None:
        """Take what `to_numbers` gave; ValueError unless four finite counts, hits at most scored."""
        if (
            len(numbers) != 4
            or not all(math.isfinite(n) for n in numbers)
            or not (0 <= numbers[1] <= numbers[0] and 0 <= numbers[3] <= numbers[2])
        ):
            raise ValueError("not the numbers of a hit rate")
        self.scored, self.hits = int(numbers[0]), int(numbers[1])
        self._recent_scored, self._recent_hits = numbers[2:]


def _auc(counts: NDArray[np.float64]) -> float:
    """From weights float64[2, BINS] of negatives and positives by ascending score."""
    negatives, positives = counts.sum(axis=1)
    if not negatives or not positives:
        return -1.0
    below = np.cumsum(counts[0]) - counts[0] / 2
    return float(counts[1] @ below / (negatives * positives))
