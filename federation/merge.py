"""From the opened sum's mean to the next global model, and from several groups' means to one.

Called by `rounds.decisions` once a round's sum is open, and by `rounds.merging`.
Never lets a number that is not finite into a model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from federation.errors import OwnFault
from federation.messages import GroupRule

Vector: TypeAlias = NDArray[np.float64]


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


def combine_groups(means: Sequence[Vector], weights: Sequence[float], *, rule: GroupRule, trim: int = 0) -> Vector:
    """One mean delta, float64[d], from one per group; the same bits on every machine, so that members can compare digests.

    "mean" weighs by `weights` (customers). "median" and "trimmed_mean" (without the `trim` largest and smallest) go coordinate
    by coordinate and ignore weights, so that no group buys influence by claiming customers (Yin et al., ICML 2018).
    OwnFault for no group, unequal lengths, a weight that is not positive, numbers not finite, or nothing left after trimming.
    """
    if not means or len(means) != len(weights):
        raise OwnFault(f"{len(means)} means with {len(weights)} weights")
    if any(mean.shape != means[0].shape or mean.ndim != 1 for mean in means):
        raise OwnFault("groups' means differ in length")
    stacked = np.stack([mean.astype(np.float64) for mean in means])
    if not np.isfinite(stacked).all() or not all(math.isfinite(weight) and weight > 0 for weight in weights):
        raise OwnFault("a group's mean is not finite or its weight not positive")
    if rule is GroupRule.MEAN:
        return _added([weight * mean for weight, mean in zip(weights, stacked, strict=True)]) / sum(weights)
    # Both cut the same number of groups off each end; of the median one or two remain.
    cut = (len(means) - 1) // 2 if rule is GroupRule.MEDIAN else trim
    kept = np.sort(stacked, axis=0)[cut : len(means) - cut]
    if cut < 0 or not len(kept):
        raise OwnFault(f"nothing is left of {len(means)} groups without {trim} at each end")
    return _added(list(kept)) / len(kept)


def _added(vectors: Sequence[Vector]) -> Vector:
    # One after the other: numpy's own reductions add in an order that depends on the processor.
    total = vectors[0].copy()
    for vector in vectors[1:]:
        total += vector
    return total
