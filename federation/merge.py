"""From the opened sum's mean to the next global model, and from several cohorts' means to one.

Called by `rounds.coordinator` once a round's sum is open.
Never lets a number that is not finite into a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from federation.errors import OwnFault

Vector: TypeAlias = NDArray[np.float64]
GroupRule: TypeAlias = Literal["mean", "median", "trimmed_mean"]


def next_model(base: Vector, mean_delta: Vector, *, server_step: float = 1.0) -> Vector:
    """`base + server_step * mean_delta`, float64[d] (FedAvg: McMahan et al., AISTATS 2017, algorithm 1).

    OwnFault if lengths differ or a number, the result's included, is not finite.
    """
    if base.shape != mean_delta.shape or base.ndim != 1:
        raise OwnFault(f"a delta of {mean_delta.shape} for a model of {base.shape}")
    with np.errstate(over="ignore", invalid="ignore"):  # Overflow is refused below, as a fault instead of a warning.
        model = base.astype(np.float64) + server_step * mean_delta
    if not np.isfinite(model).all():
        raise OwnFault("the next model is not finite")
    return model


def combine_groups(means: Sequence[Vector], weights: Sequence[float], *, rule: GroupRule = "mean") -> Vector:
    """One mean delta, float64[d], from one per cohort.

    "mean" weighs by `weights` (customers); "median" and "trimmed_mean" (a quarter of the cohorts off each end) go
    coordinate by coordinate and ignore weights, so that no cohort buys influence by claiming customers
    (Yin et al., ICML 2018). OwnFault for no cohort, unequal lengths, a weight that is not positive, or numbers not finite.
    """
    if not means or len(means) != len(weights):
        raise OwnFault(f"{len(means)} means with {len(weights)} weights")
    if any(mean.shape != means[0].shape or mean.ndim != 1 for mean in means):
        raise OwnFault("cohorts' means differ in length")
    stacked = np.stack([mean.astype(np.float64) for mean in means])
    shares = np.array(weights, dtype=np.float64)
    if not (np.isfinite(stacked).all() and np.isfinite(shares).all() and (shares > 0).all()):
        raise OwnFault("a cohort's mean is not finite or its weight not positive")
    if rule == "mean":
        combined: Vector = (shares / shares.sum()) @ stacked
        return combined
    if rule == "median":
        return np.asarray(np.median(stacked, axis=0), dtype=np.float64)
    trimmed = len(means) // 4
    return np.asarray(np.sort(stacked, axis=0)[trimmed : len(means) - trimmed].mean(axis=0), dtype=np.float64)
