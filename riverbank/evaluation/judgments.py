"""Predictions kept one by one with their truth, and their exact quality.

Filled by `institution` and `plain_river`, measured by `results`.
Never bins and never samples: the worker's own measures do the one, nothing here needs the other."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from federation.messages import HeadName

Quality: TypeAlias = dict[str, float | None]
"""Measure -> value; None where it is not defined."""

BURN_IN: Final = 0.1  # So much of each institution's own rows, the earliest, is left out.
LABELS_MIN: Final = 5  # With fewer positives or negatives, a ranking says nothing.
PARTS: Final = 20


class Judgments:
    """Predictions of one institution's rows; each under every name by which it was said."""

    def __init__(self) -> None:
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

    def quality(self, name: str, head: HeadName) -> Quality:
        """Of what was said under `name`, after burn-in."""
        at_ms, said, positive = self._columns(name)
        kept = np.argsort(at_ms, kind="stable")[int(len(at_ms) * BURN_IN) :]
        counts: Quality = {"rows": len(kept)} if head is HeadName.PRODUCTS else {"rows": len(kept), "positive": int(positive[kept].sum())}
        return counts | measured(said[kept], positive[kept], head)

    def _columns(self, name: str) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
        """Times, what was said, and whether it was so."""
        said = np.frombuffer(self._said[name], dtype=np.float64) if len(self) else np.zeros(0)
        return np.frombuffer(self._at_ms, dtype=np.int64), said, np.frombuffer(self._positive, dtype=np.int8).astype(bool)


def in_parts(all_judgments: Iterable[Judgments], name: str, head: HeadName) -> list[Quality]:
    """How quality went: all institutions' rows together, by time, in PARTS equal parts; nothing is left out."""
    columns = [judgments._columns(name) for judgments in all_judgments if len(judgments)]  # noqa: SLF001 Of our own class.
    at_ms, said, positive = (np.concatenate(column) for column in zip(*columns, strict=True))
    parts = np.array_split(np.argsort(at_ms, kind="stable"), PARTS)
    return [measured(said[part], positive[part], head) for part in parts]


def measured(said: NDArray[np.float64], positive: NDArray[np.bool_], head: HeadName) -> Quality:
    """AUC, AP and log loss of risks; hit rates and gains of products, of whom `said` holds the places."""
    return placed(said) if head is HeadName.PRODUCTS else ranked(said, positive)


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
