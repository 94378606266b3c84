"""The only road out: what a head has learned becomes a clipped, rounded, noised vector in the ring, ready to be masked.

Called by `participation` when a round asks for a contribution.
Never leaves out the noise and never skips a round: whether anything was learned must not be visible from who takes part."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from federation.errors import OwnFault
from federation.heads.head import Vector
from federation.messages import RoundParameters
from federation.privacy.clipping import clip
from federation.privacy.gaussian import discrete_gaussian, noise_share_sigma
from federation.secagg.quantize import encode_contribution
from federation.secagg.ring import RingVector
from streams.ports import Entropy


@dataclass(frozen=True, slots=True)
class Prepared:
    """A contribution before masking: `values` uint32[dimension + 1], and what was done to the update."""

    values: RingVector = field(repr=False)
    was_clipped: bool
    norm_before: float  # L2 norm of the weighted update, in model units: stays here.
    said: Vector = field(repr=False)  # float64[dimension]: the update as it is in the sum, unweighted, before rounding and noise.


def prepare(delta: Vector, examples: int, parameters: RoundParameters, *, honest_survivors: int, entropy: Entropy) -> Prepared:
    """The contribution of `delta` float64[dimension], learned from `examples`, to a round whose sum has this many honest ones.

    The update weighs min(examples, examples_max); its weighted norm is cut to clip_norm. OwnFault: parameters no contribution
    may be made under, a delta of another length or not finite, or noise too small to be shared.
    """
    if delta.shape != (parameters.dimension,):
        raise OwnFault(f"a model of {len(delta)} coordinates for a round of {parameters.dimension}")
    weight = min(examples, parameters.examples_max)
    share = weight / parameters.examples_max
    cut = clip(delta * share, parameters.clip_norm)
    # Back to the unweighted update, which `encode_contribution` weighs; the slack of `clip` is wider than the rounding of both.
    within = cut.delta / share if weight else np.zeros_like(delta)
    sigma = noise_share_sigma(parameters.noise_sigma, honest_survivors)
    noise = discrete_gaussian(parameters.dimension + 1, sigma, entropy=entropy, allow_none=parameters.noise_sigma == 0)
    values = encode_contribution(within, weight, parameters, noise, entropy=entropy)
    return Prepared(values, cut.was_clipped, cut.norm_before, within)
