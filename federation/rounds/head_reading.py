"""One record of a head's log, read: lots, merged models, and what a lane may not do because of the other lanes.

Called by `head_coordinator` and `head_participant`: `fold` for the head's own records, `check` and `after` around a lane's reading.
Never half-reads: a refused record raises PeerFault and everything stays as it was."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from federation import messages as m
from federation.errors import PeerFault
from federation.limits import COHORT_MAX, COHORT_MIN
from federation.rounds.effects import Received
from federation.rounds.head_transcript import Drawing, Gathering, HeadMessage, HeadTranscript, LaneKey, Merged, lane_key
from federation.rounds.lots import commitment, drawing_seed, drawn_groups, groups_possible
from federation.rounds.phases import (
    DRAWING_MOVES,
    GATHERING_MOVES,
    INSTITUTION_SAYS,
    AllEnded,
    AllRevealed,
    DrawingPhase,
    GatheringPhase,
    Word,
)
from federation.rounds.reading import check_entitled
from federation.rounds.transcript import LATE, Ending, LaneMessage, Transcript, refuse_move, repeated, require_peer
from federation.secagg.quantize import parameter_problem


def fold(head: HeadTranscript, received: Received) -> HeadTranscript:
    """The transcript with one more of the head's own records read; the very same object if it says nothing new.

    PeerFault as `reading.fold`.
    """
    message = received.message
    if not isinstance(message, HeadMessage):
        raise PeerFault("not_entitled", f"{type(message).__name__} is not about a head", accused=received.sender)
    check_entitled(message, received, head.aggregator, head.serials)
    # As in a lane: who starts in the middle of the log has not seen the beginning of earlier drawings.
    if message.epoch < head.epoch_first or (head.epoch_first == 0 and not isinstance(message, m.GroupsInvited)):
        return head
    read = _read(head, message, received)
    # As in a lane: from the first record under a newer certificate on, the older key is not heard.
    return read if read is head else read.heard_under({received.sender: received.serial})


def _read(head: HeadTranscript, message: HeadMessage, received: Received) -> HeadTranscript:  # One branch per message.
    match message:
        case m.GroupsInvited():
            return _invited(head, message, received)
        case m.LotSealed():
            return _sealed(head, message, received)
        case m.LotsFixed():
            return _fixed(head, message, received)
        case m.LotRevealed():
            return _revealed(head, message, received)
        case m.DrawingVoided():
            return _voided(head, message, received)
        case m.GroupsMerged() | m.MergeAbandoned():
            return _round_ended(head, message, received)


# --- the drawing ----------------------------------------------------------------------------------------------------
def terms_problem(terms: m.GroupsInvited) -> str | None:
    """Why no groups may be drawn on these terms, or None when they are sound."""
    least = {m.GroupRule.MEAN: 1, m.GroupRule.MEDIAN: 3, m.GroupRule.TRIMMED_MEAN: 2 * terms.trim + 1}[terms.rule]
    if terms.trim < 0 or (terms.trim > 0) != (terms.rule is m.GroupRule.TRIMMED_MEAN):
        return "trim belongs to a trimmed mean"
    if not least <= terms.groups_min <= terms.groups <= COHORT_MAX // COHORT_MIN:
        return f"groups_min must be {least} to the number of groups, for the rule {terms.rule.value}"
    if not (math.isfinite(terms.server_step) and terms.server_step > 0):
        return "server_step must be positive"
    return parameter_problem(terms.parameters)


def _invited(head: HeadTranscript, message: m.GroupsInvited, received: Received) -> HeadTranscript:
    sender, before = received.sender, head.pending
    if before is not None and before.number == message.epoch:
        repeated(received, before.digest, "second_decision")
        return head
    require_peer(message.epoch > head.epoch_last, "stale", f"drawing {message.epoch} was invited to before", accused=sender)
    phase = DRAWING_MOVES[DrawingPhase.VOID][m.GroupsInvited]
    require_peer(before is None, "out_of_phase", "another drawing is under way", accused=sender)
    names = message.invited
    require_peer(
        COHORT_MIN <= len(names) <= COHORT_MAX and names == tuple(sorted(set(names))) and head.aggregator not in names,
        "bad_invitation", "too few, too many, or not a sorted set", accused=sender,
    )  # fmt: skip
    serials = dict(zip(names, message.serials, strict=False))
    require_peer(
        len(message.serials) == len(names) and min(serials.values()) >= 1, "bad_invitation", "not one serial for each", accused=sender
    )
    in_order = message.sealed_deadline_ms <= message.revealed_deadline_ms
    require_peer(in_order, "bad_invitation", "deadlines out of order", accused=sender)
    problem = terms_problem(message)
    require_peer(problem is None, "bad_parameters", problem or "", accused=sender)
    return replace(
        head.heard_under(serials),
        pending=Drawing(message, received.digest, phase),
        epoch_first=head.epoch_first or message.epoch,
        epoch_last=message.epoch,
    )


def _sealed(head: HeadTranscript, message: m.LotSealed, received: Received) -> HeadTranscript:
    sender = received.sender
    drawing = _find(head, message, sender)
    said = drawing.sealed.get(sender)
    if said is not None:
        require_peer(said == message.commitment, "two_records", "two different lots sealed", accused=sender)
        return head
    phase = _drawing_move(drawing, message, sender)
    require_peer(sender in drawing.invited.invited, "not_entitled", "not invited", accused=sender)
    return _with(head, replace(drawing, phase=phase, sealed={**drawing.sealed, sender: message.commitment}))


def _fixed(head: HeadTranscript, message: m.LotsFixed, received: Received) -> HeadTranscript:
    sender = received.sender
    drawing = _find(head, message, sender)
    if drawing.fixed is not None and repeated(received, drawing.fixed_digest, "second_decision"):
        return head
    phase = _drawing_move(drawing, message, sender)
    names = tuple(listed.institution for listed in message.lots)
    require_peer(names == tuple(sorted(set(names))), "forged_lots", "not a sorted set", accused=sender)
    for listed in message.lots:
        sealed = drawing.sealed.get(listed.institution) == listed.commitment
        require_peer(sealed, "forged_lots", f"{listed.institution} has not sealed this lot", accused=sender)
    enough = groups_possible(len(names), drawing.invited.groups) >= drawing.invited.groups_min
    require_peer(enough, "forged_lots", "too few lots for the least number of groups", accused=sender)
    return _with(head, replace(drawing, phase=phase, fixed=message, fixed_digest=received.digest))


def _revealed(head: HeadTranscript, message: m.LotRevealed, received: Received) -> HeadTranscript:
    sender = received.sender
    drawing = _find(head, message, sender)
    if sender in drawing.revealed:
        require_peer(drawing.revealed[sender] == message.lot, "two_records", "two different lots revealed", accused=sender)
        return head
    phase = _drawing_move(drawing, message, sender)
    require_peer(sender in drawing.counted, "not_entitled", "its lot does not count", accused=sender)
    require_peer(message.fixed_digest == drawing.fixed_digest, "split_view", "says other lots than fixed", accused=sender)
    made = commitment(message.lot, federation=head.federation, head=head.head, epoch=message.epoch, institution=sender)
    require_peer(made == drawing.sealed[sender], "bad_lot", "not the lot it sealed", accused=sender)
    revealed = {**drawing.revealed, sender: message.lot}
    groups: tuple[tuple[str, ...], ...] = ()
    if len(revealed) == len(drawing.counted):
        phase = DRAWING_MOVES[phase][AllRevealed]
        groups = groups_of(head, drawing, revealed)
    return _with(head, replace(drawing, phase=phase, revealed=revealed, groups=groups))


def groups_of(head: HeadTranscript, drawing: Drawing, lots: Mapping[str, bytes]) -> tuple[tuple[str, ...], ...]:
    """The groups that these lots, which are all that count, have drawn."""
    seed = drawing_seed(lots, federation=head.federation, head=head.head, epoch=drawing.number)
    return drawn_groups(drawing.counted, groups_possible(len(lots), drawing.invited.groups), seed)


def _voided(head: HeadTranscript, message: m.DrawingVoided, received: Received) -> HeadTranscript:
    drawing = _find(head, message, received.sender)
    _drawing_move(drawing, message, received.sender)
    require_peer(drawing is head.pending, "out_of_phase", "rounds have been opened under it", accused=received.sender)
    return replace(head, pending=None)


def _find(head: HeadTranscript, message: HeadMessage, accused: str) -> Drawing:
    drawing = head.drawing(message.epoch)
    if drawing is None:
        kind = LATE if isinstance(message, INSTITUTION_SAYS) else "stale"
        raise PeerFault(kind, f"drawing {message.epoch} is not under way or used", accused=accused)
    return drawing


def _drawing_move(drawing: Drawing, message: HeadMessage, accused: str) -> DrawingPhase:
    row: Mapping[Word, DrawingPhase] = DRAWING_MOVES[drawing.phase]
    if type(message) in row:
        return row[type(message)]
    if isinstance(message, m.LotSealed):
        raise PeerFault(LATE, "its lot came when the lots were fixed", accused=accused)
    raise refuse_move(drawing.phase, message, accused=accused)


def _with(head: HeadTranscript, drawing: Drawing) -> HeadTranscript:
    if head.pending is not None and head.pending.number == drawing.number:
        return replace(head, pending=drawing)
    return replace(head, current=drawing)


# --- the lanes' records ---------------------------------------------------------------------------------------------
def unknown_lane(head: HeadTranscript, message: LaneMessage, sender: str) -> PeerFault | None:
    """The fault of a record about a lane that does not exist; None if the reader has not seen its beginning."""
    if head.epoch_first == 0 or message.epoch < head.epoch_first:
        return None
    if isinstance(message, INSTITUTION_SAYS) and message.epoch <= head.epoch_last:
        return PeerFault(LATE, f"its {type(message).__name__} is for a drawing that is over", accused=sender)
    return PeerFault("stale", f"no group {message.group} has been drawn for drawing {message.epoch}, or it is over", accused=sender)


def check(head: HeadTranscript, lanes: Mapping[LaneKey, Transcript], message: LaneMessage, *, accused: str) -> None:
    """Before a lane reads a record: PeerFault for what the drawing, or a round of another lane, does not permit.

    "forged_group": an invitation to others than the group drawn, or on other terms. "out_of_phase": a round beside one that must
    be over first; sums of different groupings over the same data would single institutions out.
    """
    key = lane_key(message)
    if isinstance(message, m.EpochAnnounced) and message.group > 0:
        drawing = head.drawing(message.epoch)
        group = drawing.groups[message.group - 1] if drawing is not None else ()
        require_peer(message.invited == group, "forged_group", "not the group that was drawn", accused=accused)
        terms = drawing.invited.parameters if drawing is not None else None
        require_peer(message.parameters == terms, "forged_group", "terms other than the drawing's", accused=accused)
    if not isinstance(message, m.RoundOpened) or lanes[key].round is not None:
        return
    others = [other for other, lane in lanes.items() if lane.round is not None and other[0] != key[0]]
    require_peer(not others, "out_of_phase", "a round of another grouping is open", accused=accused)
    gathering = head.gathering
    if gathering is None:
        return
    joins = (message.epoch, message.round) == (gathering.epoch, gathering.round) and message.group > 0
    require_peer(joins, "out_of_phase", f"round {gathering.round} of the groups is not over", accused=accused)
    # From the first end on it is settled whose sums there will be.
    require_peer(not gathering.ended, "out_of_phase", "a group has ended the round already", accused=accused)


def after(head: HeadTranscript, lane: Transcript, message: LaneMessage) -> HeadTranscript:
    """What a record that `lane`, as it is now, has taken in means for the head."""
    head = head.heard_under(lane.serials)
    match message:
        case m.RoundOpened():
            opened = replace(
                head,
                round_next=message.round + 1,
                opened_at_ms=message.opened_at_ms,
                model_version=message.model_version,
                model_digest=message.model_digest,
                model_known=True,
            )
            return opened if message.group == 0 else _gathered(opened, message)
        case m.ModelPublished():
            return replace(head, model_version=message.version, model_digest=message.model_digest, model_known=True, merged=None)
        case m.SumOpened() | m.RoundAbandoned() if message.group > 0 and head.gathering is not None:
            return replace(head, gathering=_one_ended(head.gathering, message))
        case _:
            return head


def _gathered(head: HeadTranscript, message: m.RoundOpened) -> HeadTranscript:
    gathering = head.gathering
    if gathering is None:
        phase = GATHERING_MOVES[GatheringPhase.IDLE][m.RoundOpened]
        gathering = Gathering(message.epoch, message.round, phase)
    gathering = replace(gathering, opened=gathering.opened | {message.group})
    if head.pending is not None and head.pending.number == message.epoch:
        return replace(head, gathering=gathering, current=head.pending, pending=None)
    return replace(head, gathering=gathering)


def _one_ended(gathering: Gathering, message: m.SumOpened | m.RoundAbandoned) -> Gathering:
    ended = gathering.ended | {message.group}
    phase = GATHERING_MOVES[gathering.phase][type(message)]
    if ended == gathering.opened:
        phase = GATHERING_MOVES[phase][AllEnded]
    sums = {**gathering.sums, message.group: message} if isinstance(message, m.SumOpened) else gathering.sums
    return replace(gathering, ended=ended, sums=sums, phase=phase)


# --- the round's end ------------------------------------------------------------------------------------------------
def merged_sums(gathering: Gathering) -> tuple[m.MergedSum, ...]:
    """What a merged model of this round is made from: every sum that was opened."""
    return tuple(
        m.MergedSum(group=group, contributors=said.contributors, customers=said.customers, sum_digest=said.sum_digest)
        for group, said in sorted(gathering.sums.items())
    )


def _round_ended(head: HeadTranscript, message: m.GroupsMerged | m.MergeAbandoned, received: Received) -> HeadTranscript:
    """A merged model, or none. Fault "bad_model": not made from all the round's sums, from too few, or not from the newest model."""
    sender, gathering, drawing = received.sender, head.gathering, head.current
    if head.ended is not None and (head.ended.epoch, head.ended.round) == (message.epoch, message.round):
        repeated(received, head.ended.digest, "second_decision")
        return head
    phase = gathering.phase if gathering is not None else GatheringPhase.IDLE
    if type(message) not in GATHERING_MOVES[phase] or gathering is None or drawing is None:
        raise refuse_move(phase, message, accused=sender)
    ours = (message.epoch, message.round) == (gathering.epoch, gathering.round)
    require_peer(ours, "stale", f"not about round {gathering.round}", accused=sender)
    ended = Ending(message.epoch, message.round, received.digest, abandoned=isinstance(message, m.MergeAbandoned))
    if isinstance(message, m.MergeAbandoned):
        return replace(head, gathering=None, ended=ended)
    require_peer(message.sums == merged_sums(gathering), "bad_model", "not made from all the sums of this round", accused=sender)
    require_peer(len(message.sums) >= drawing.invited.groups_min, "bad_model", "made from too few groups", accused=sender)
    made_from = (message.version - 1, message.base_digest)
    require_peer(made_from == (head.model_version, head.model_digest), "bad_model", "not made from the newest model", accused=sender)
    return replace(
        head,
        gathering=None,
        ended=ended,
        model_version=message.version,
        model_digest=message.model_digest,
        merged=Merged(message, drawing.invited),
    )
