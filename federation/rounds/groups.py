"""Cohorts: a head's institutions split into groups whose sums are opened apart, and one model out of several sums.

Called by an aggregator's shell that runs one lane per group: whom to invite in each, and what came of them.
Never opens anything: it sees means over whole cohorts only, and fewer institutions hide one another in each (docs/protocol.md)."""

from __future__ import annotations

from collections.abc import Sequence

from federation.errors import OwnFault
from federation.ids import digest_of
from federation.limits import COHORT_MIN
from federation.merge import GroupRule, combine_groups, next_model
from federation.messages import HeadName
from federation.rounds.effects import CohortOpened, Vector
from federation.secagg.keys import framed


def cohorts_of(institutions: Sequence[str], count: int, *, federation: str, head: HeadName) -> tuple[tuple[str, ...], ...]:
    """`count` sorted cohorts of nearly equal size, or fewer where a cohort would fall below COHORT_MIN; everybody is in exactly one.

    Who is with whom depends on a digest of federation, head and name alone: neither the order of arrival nor the aggregator's
    wishes decide, and every institution can compute it. OwnFault: no cohort is asked for, or a name comes twice.
    """
    if count < 1 or len(set(institutions)) != len(institutions):
        raise OwnFault("at least one cohort, and every institution once")
    possible = max(1, min(count, len(institutions) // COHORT_MIN))
    ranked = sorted(institutions, key=lambda name: digest_of(framed(federation.encode(), head.value.encode(), name.encode())))
    return tuple(tuple(sorted(ranked[at::possible])) for at in range(possible))


def merged(base: Vector, cohorts: Sequence[CohortOpened], *, rule: GroupRule, server_step: float = 1.0) -> Vector:
    """The next model, float64[d], from the cohorts that were opened on one model, whose vector is `base`.

    Coordinate by coordinate ("median", "trimmed_mean"), a minority of cohorts cannot pull the model where it wants, whatever is
    inside their sums (Yin et al., ICML 2018); "mean" weighs by customers and is what one cohort of all would give.
    OwnFault: no cohort, or cohorts that started from different models.
    """
    if len({cohort.model_digest for cohort in cohorts}) != 1:
        raise OwnFault("cohorts are merged when they started from one model")
    means = [cohort.mean_delta for cohort in cohorts]
    combined = combine_groups(means, [cohort.customers for cohort in cohorts], rule=rule)
    return next_model(base, combined, server_step=server_step)
