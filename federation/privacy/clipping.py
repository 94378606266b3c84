"""An update cut to an L2 norm.

Called by an institution's preparation, per customer or per contribution.
Never lets a vector through whose norm, computed without rounding errors, exceeds the bound."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from federation.errors import OwnFault

# A float64 norm of up to 2^20 coordinates, and the scaling by it, are wrong by less than 2^20 * 2^-52 = 2.4e-10 of it.
_SLACK: Final = 1e-9


class Clipped(NamedTuple):
    """A vector within the bound, whether it had to be cut, and the norm it had."""

    delta: NDArray[np.float64]
    was_clipped: bool
    norm_before: float


def clip(delta: NDArray[np.float64], norm: float) -> Clipped:
    """`delta` (float64[d]) scaled down, where need be, so that its exact L2 norm is at most `norm`.

    The direction is kept; the result is shorter than `norm` by up to 2e-9 of it, so that rounding cannot push it over.
    After rounding to integers at `scale` quanta per unit the norm is below norm * scale + sqrt(d) quanta, as each
    coordinate moves by less than one: noise is calibrated to that (`secagg.quantize.sensitivity_quanta`).
    OwnFault: a norm that is not positive, or an update without a finite norm.
    """
    if not (math.isfinite(norm) and norm > 0):
        raise OwnFault("a clip norm is positive and finite")
    with np.errstate(over="ignore", invalid="ignore"):
        norm_before = float(np.linalg.norm(delta))
    if not math.isfinite(norm_before):
        raise OwnFault("the update has no finite norm: the learner has diverged")
    if norm_before <= norm * (1 - _SLACK):
        return Clipped(delta, was_clipped=False, norm_before=norm_before)
    return Clipped(delta * (norm * (1 - 2 * _SLACK) / norm_before), was_clipped=True, norm_before=norm_before)
