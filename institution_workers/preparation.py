"""The only road out: customers' updates become one clipped, rounded, noised vector in the ring, ready to be masked.

Called by `participation` when a round asks for a contribution.
Never leaves out the noise and never skips a round: whether anything was learned must not be visible from who takes part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from federation.errors import OwnFault
from federation.messages import RoundParameters
from federation.privacy.customers import CustomerSum, Update, summed
from federation.privacy.gaussian import discrete_gaussian, noise_share_sigma
from federation.privacy.randomness import Stream
from federation.secagg.quantize import contribution_length, encode_contribution, parameter_problem
from federation.secagg.ring import RingVector
from streams.ports import Entropy


@dataclass(frozen=True, slots=True)
class Prepared:
    """A contribution before masking: `values` uint32[contribution_length], and what it is the sum of, which stays here."""

    values: RingVector = field(repr=False)
    customers: CustomerSum


def prepare(updates: Sequence[Update], parameters: RoundParameters, *, honest_survivors: int, entropy: Entropy) -> Prepared:
    """The contribution of one update per customer to a round whose sum has this many honest contributions.

    OwnFault: parameters no contribution may be made under, an update outside the dimension or not finite, or noise too small to
    be shared.
    """
    problem = parameter_problem(parameters)
    if problem is not None:
        raise OwnFault(problem)
    customers = summed(
        updates,
        dimension=parameters.dimension,
        clip_norm=parameters.clip_norm,
        clip_quanta=parameters.clip_quanta,
        count_quanta=parameters.count_quanta,
        stream=Stream(entropy),
    )
    sigma = noise_share_sigma(parameters.noise_sigma, honest_survivors)
    noise = discrete_gaussian(contribution_length(parameters), sigma, entropy=entropy, allow_none=parameters.noise_sigma == 0)
    return Prepared(encode_contribution(customers.total, noise, parameters), customers)
