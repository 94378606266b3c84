"""The merged model of a head in groups, worked out from the groups' opened sums: by the aggregator, and again by every member.

Called by `head_decisions` (to publish it) and by an institution's shell (to check it).
Never trusts a digest it can work out itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from federation import messages as m
from federation.errors import OwnFault
from federation.merge import combine_groups, next_model
from federation.rounds.effects import RingVector, Vector, model_digest
from federation.rounds.head_transcript import Merged
from federation.rounds.unmasking import sum_digest
from federation.secagg.quantize import UnusableSum, decode_sum


def merged_vector(base: Vector, sums: Sequence[tuple[m.MergedSum, RingVector]], terms: m.GroupsInvited) -> Vector:
    """The next model, float64[dimension], from these sums, uint32[contribution_length] each; the same bits on every machine.

    OwnFault or UnusableSum: a sum from which no mean can come.
    """
    decoded = [decode_sum(total, terms.parameters, len(said.contributors)) for said, total in sums]
    means, customers = [mean for mean, _ in decoded], [count for _, count in decoded]
    combined = combine_groups(means, customers, rule=terms.rule, trim=terms.trim)
    return next_model(base, combined, server_step=terms.server_step)


def problem(merged: Merged, base: Vector, totals: Mapping[bytes, RingVector], vector: Vector) -> str | None:
    """Why `vector` is not what the rule makes of the sums that the log names, or None if it is.

    `totals`: sum_digest -> sum, uint32[contribution_length], for every sum named. KeyError if one is missing.
    """
    message = merged.message
    if model_digest(base) != message.base_digest:
        return "not the model that the round started from"
    sums = [(said, totals[said.sum_digest]) for said in message.sums]
    if any(sum_digest(total) != said.sum_digest for said, total in sums):
        return "not the sum that was named"
    try:
        made = merged_vector(base, sums, merged.terms)
    except (OwnFault, UnusableSum) as unusable:
        return str(unusable)
    if model_digest(made) != message.model_digest or model_digest(vector) != message.model_digest:
        return f"not what {merged.terms.rule.value} makes of the sums of groups {', '.join(str(said.group) for said in message.sums)}"
    return None
