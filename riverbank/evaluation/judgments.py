"""Predictions kept one by one with their truth, and their exact quality.

Filled by `institution` and `plain_river`, measured by `results`.
Never bins and never samples: the worker's own measures do the one, nothing here needs the other."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from federation.messages import HeadName

Quality: TypeAlias = dict[str, float | None]
"""Measure -> value; None where it is not defined."""

BURN_IN: Final = 0.1  # So much of each institution's own rows, the earliest, is left out.
LABELS_MIN: Final = 5  # With fewer positives or negatives, a ranking says nothing.
PARTS: Final = 20


class Rows(NamedTuple):
    """Predictions as columns, the earliest first."""

    at_ms: NDArray[np.int64]
    said: NDArray[np.float64]
    positive: NDArray[np.bool_]

    def quality(self, head: HeadName) -> Quality:
        """How many, and how good: AUC, AP and log loss of risks; hit rates and gains of products, of whom `said` holds the places."""
        if head is HeadName.PRODUCTS:
            return {"rows": len(self.said), **placed(self.said)}
        return {"rows": len(self.said), "positive": int(self.positive.sum()), **ranked(self.said, self.positive)}


class Judgments:
    """Predictions of one institution's rows; each under every name by which it was said."""

    def __init__(self, *, burn_in: float = BURN_IN) -> None:
        """`burn_in`: so much of the rows, the earliest by event time, does not count."""
        self._burn_in = burn_in
        self._at_ms = array("q")
        self._positive = array("b")
        self._said: dict[str, array[float]] = {}

    def __len__(self) -> int:
        return len(self._at_ms)

    def add(self, at_ms: int, said: Mapping[str, float], *, positive: bool) -> None:
        """One prediction made at `at_ms`; the names in `said` are the same every time."""
        self._at_ms.append(at_ms)
        self._positive.append(positive)
        for name, value in said.items():
            self._said.setdefault(name, array("d")).append(value)

    def names(self) -> tuple[str, ...]:
        """By which names predictions were said."""
        return tuple(self._said)

    def rows(self, name: str, *, burnt_in: bool = True) -> Rows:
        """What was said under `name`; with `burnt_in` without the rows that do not count."""
        at_ms = np.frombuffer(self._at_ms, dtype=np.int64)
        order = np.argsort(at_ms, kind="stable")[int(len(at_ms) * self._burn_in) if burnt_in else 0 :]
        said = np.frombuffer(self._said.get(name, array("d")), dtype=np.float64)
        return Rows(at_ms[order], said[order], np.frombuffer(self._positive, dtype=np.int8).astype(bool)[order])


def together(parts: Iterable[Rows]) -> Rows:
    """Several institutions' rows as one."""
    at_ms, said, positive = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(at_ms, kind="stable")
    return Rows(at_ms[order], said[order], positive[order])


def in_parts(rows: Rows, head: HeadName) -> list[Quality]:
    """How quality went: by time, in PARTS equal parts."""
    parts = np.array_split(np.arange(len(rows.at_ms)), PARTS)
    return [Rows(rows.at_ms[part], rows.said[part], rows.positive[part]).quality(head) for part in parts]


def ranked(log_odds: NDArray[np.float64], positive: NDArray[np.bool_]) -> Quality:
    """AUC, average precision and log loss (nats) of log-odds; None with fewer than LABELS_MIN of either label."""
    if min(int(positive.sum()), int((~positive).sum())) < LABELS_MIN:
        return {"auc": None, "ap": None, "log_loss": None}
    return {"auc": roc_auc(log_odds, positive), "ap": average_precision(log_odds, positive), "log_loss": log_loss(log_odds, positive)}


def placed(places: NDArray[np.float64]) -> Quality:
    """HR@3, NDCG@5 and NDCG@10 of the places (1 is first) of what was taken; a half place is a tie."""
    if not len(places):
        return {"hr3": None, "ndcg5": None, "ndcg10": None}
    gains = 1.0 / np.log2(1.0 + places)
    return {
        "hr3": float((places <= 3).mean()),
        "ndcg5": float(np.where(places <= 5, gains, 0.0).mean()),
        "ndcg10": float(np.where(places <= 10, gains, 0.0).mean()),
    }


def roc_auc(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """The chance that a positive outscores a negative, ties counting a half (Mann and Whitney 1947); both labels must occur."""
    _, ties, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2  # Mean rank of each group of equal scores.
    positives = int(positive.sum())
    above = ranks[ties][positive].sum() - positives * (positives + 1) / 2
    return float(above / (positives * (len(scores) - positives)))


def average_precision(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Mean precision at each positive found, equal scores found together; a positive must occur."""
    values, ties = np.unique(-scores, return_inverse=True)
    found = np.bincount(ties, weights=positive, minlength=len(values))
    hits, seen = np.cumsum(found), np.cumsum(np.bincount(ties, minlength=len(values)))
    return float((found * hits / seen).sum() / hits[-1])


def log_loss(log_odds: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Mean of -ln p(what happened)."""
    return float(np.logaddexp(0.0, np.where(positive, -log_odds, log_odds)).mean())
