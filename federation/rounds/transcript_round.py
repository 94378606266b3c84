"""How the messages of a round are read: opening, masked updates, survivors, acks, shares, and the two ways it ends.

Called by `reading.fold`.
Never lets a decision stand beside an earlier one of the same kind: the first in the log's order is the only one."""

from __future__ import annotations

from dataclasses import replace

from federation import messages as m
from federation.limits import COHORT_MIN
from federation.rounds.commitments import TAG_BYTES
from federation.rounds.effects import Received
from federation.rounds.phases import ROUND_MOVES, AckQuorum, EpochPhase, RoundPhase
from federation.rounds.transcript import (
    SEED_BOX_BYTES,
    Ending,
    Epoch,
    Round,
    Transcript,
    epoch_move,
    is_over,
    repeated,
    require_peer,
    round_move,
)


def opened(transcript: Transcript, message: m.RoundOpened, received: Received) -> Transcript:
    """A round begins; the first of a new epoch retires the old one.

    Fault: a round is open, its number was used, the epoch is not ready or has no key for it, deadlines out of order, or a
    model other than the newest ("rollback" for an older one).
    """
    sender = received.sender
    if transcript.round is not None and transcript.round.opened.round == message.round:
        repeated(received, transcript.round.digest, "second_decision")
        return transcript
    phase = round_move(transcript, message, accused=sender)
    require_peer(message.round >= transcript.round_next, "stale", f"round {message.round} was opened before", accused=sender)
    epoch = transcript.find_epoch(message.epoch, accused=sender)
    epoch = replace(epoch, phase=epoch_move(epoch, message, accused=sender))
    require_peer(epoch.announced.first_round <= message.round <= epoch.round_last(), "bad_round", "no key for it", accused=sender)
    require_peer(message.ready_digest == epoch.ready_digest, "wrong_digest", "another ready set", accused=sender)
    in_order = message.opened_at_ms <= message.masked_deadline_ms <= message.unmask_deadline_ms
    require_peer(in_order, "bad_round", "deadlines out of order", accused=sender)
    require_peer(COHORT_MIN <= message.survivors_min <= len(epoch.peers), "bad_round", "an impossible number of survivors", accused=sender)
    _check_model(transcript, message, accused=sender)
    return replace(
        transcript,
        current=epoch,
        pending=None if transcript.pending is not None and transcript.pending.number == epoch.number else transcript.pending,
        round=Round(message, received.digest, phase),
        round_next=message.round + 1,
        opened_at_ms=message.opened_at_ms,
        model_version=message.model_version,
        model_digest=message.model_digest,
        model_known=True,
    )


def _check_model(transcript: Transcript, message: m.RoundOpened, *, accused: str) -> None:
    require_peer(message.model_version >= transcript.model_version, "rollback", f"model {message.model_version} is old", accused=accused)
    if message.model_version == transcript.model_version:
        require_peer(message.model_digest == transcript.model_digest, "wrong_digest", "another model of this version", accused=accused)
    # Only who has not yet seen the log name a model may learn of one here: a reader that starts in the middle of the log.
    require_peer(
        message.model_version == transcript.model_version or not transcript.model_known,
        "wrong_digest", f"model {message.model_version} was never published", accused=accused,
    )  # fmt: skip


def masked(transcript: Transcript, message: m.MaskedUpdate, received: Received) -> Transcript:
    """A member's masked update. Fault: not ready, late, another ready set or model, or the wrong shape."""
    sender = received.sender
    before = transcript.round
    same_round = before is not None and (before.opened.epoch, before.opened.round) == (message.epoch, message.round)
    if before is not None and same_round and repeated(received, before.updates.get(sender), "two_records"):
        return transcript
    phase = round_move(transcript, message, accused=sender)
    epoch, current = transcript.running(), transcript.opened_round()
    require_peer(sender in epoch.peers, "not_entitled", "not a ready member", accused=sender)
    # The sender lies, or the aggregator showed it another opening than us; its signed record is the evidence.
    require_peer(message.ready_digest == epoch.ready_digest, "split_view", "says another ready set than opened", accused=sender)
    require_peer(message.model_digest == current.opened.model_digest, "split_view", "says another model than opened", accused=sender)
    require_peer(len(message.chunk_digests) == epoch.chunks(), "bad_shape", "another number of chunks", accused=sender)
    require_peer(len(message.seed_boxes) == SEED_BOX_BYTES * len(epoch.members), "bad_box", "not one box per member", accused=sender)
    require_peer(len(message.share_tags) == TAG_BYTES * len(epoch.members), "bad_share", "not one tag per share", accused=sender)
    return replace(transcript, round=replace(current, phase=phase, updates={**current.updates, sender: received.digest}))


def survivors_min(epoch: Epoch, opened_message: m.RoundOpened) -> int:
    """The fewest survivors a round may have: the threshold, or more if it was opened so."""
    return max(epoch.threshold, opened_message.survivors_min)


def survivors_named(transcript: Transcript, message: m.SurvivorsNamed, received: Received) -> Transcript:
    """The list of survivors. Fault "bad_survivors": too few, or an update the log does not have; "second_decision": another list."""
    sender = received.sender
    before = transcript.round
    if before is not None and before.survivors and (before.opened.epoch, before.opened.round) == (message.epoch, message.round):
        repeated(received, before.survivors_digest, "second_decision")
        return transcript
    phase = round_move(transcript, message, accused=sender)
    epoch, current = transcript.running(), transcript.opened_round()
    names = tuple(survivor.institution for survivor in message.survivors)
    require_peer(message.ready_digest == epoch.ready_digest, "wrong_digest", "another ready set", accused=sender)
    require_peer(names == tuple(sorted(set(names))), "bad_survivors", "not a sorted set", accused=sender)
    enough = len(names) >= survivors_min(epoch, current.opened)
    require_peer(enough, "bad_survivors", f"{len(names)} survivors are too few to be summed", accused=sender)
    for survivor in message.survivors:
        require_peer(
            current.updates.get(survivor.institution) == survivor.update_digest,
            "bad_survivors", f"{survivor.institution} has not said this update", accused=sender,
        )  # fmt: skip
    return replace(transcript, round=replace(current, phase=phase, survivors=names, survivors_digest=received.digest))


def acked(transcript: Transcript, message: m.SurvivorsAcked, received: Received) -> Transcript:
    """A ready member agrees to the survivors; the threshold's ack opens the unmasking. Fault: not ready, or another list."""
    sender = received.sender
    before = transcript.round
    same_round = before is not None and (before.opened.epoch, before.opened.round) == (message.epoch, message.round)
    if before is not None and same_round and repeated(received, before.acks.get(sender), "two_records"):
        return transcript
    if is_over(transcript, message):
        return transcript  # More than enough had come.
    phase = round_move(transcript, message, accused=sender)
    epoch, current = transcript.running(), transcript.opened_round()
    require_peer(sender in epoch.peers, "not_entitled", "not a ready member", accused=sender)
    require_peer(message.survivors_digest == current.survivors_digest, "split_view", "says another list of survivors", accused=sender)
    acks = {**current.acks, sender: received.digest}
    if phase is RoundPhase.ACKING and len(acks) >= epoch.threshold:
        phase = ROUND_MOVES[phase][AckQuorum]
    return replace(transcript, round=replace(current, phase=phase, acks=acks))


def revealed(transcript: Transcript, message: m.SharesRevealed, received: Received) -> Transcript:
    """A ready member's shares, sealed. Fault: before the quorum of acks, not ready, or for another list."""
    sender = received.sender
    before = transcript.round
    same_round = before is not None and (before.opened.epoch, before.opened.round) == (message.epoch, message.round)
    if before is not None and same_round and repeated(received, before.reveals.get(sender), "two_records"):
        return transcript
    if is_over(transcript, message):
        return transcript  # More than enough had come.
    phase = round_move(transcript, message, accused=sender)
    epoch, current = transcript.running(), transcript.opened_round()
    require_peer(sender in epoch.peers, "not_entitled", "not a ready member", accused=sender)
    require_peer(message.survivors_digest == current.survivors_digest, "split_view", "says another list of survivors", accused=sender)
    return replace(transcript, round=replace(current, phase=phase, reveals={**current.reveals, sender: received.digest}))


def published(transcript: Transcript, message: m.ModelPublished, received: Received) -> Transcript:
    """The round ended in a model. Fault "bad_model": not this round's survivors, base or version, or in a group."""
    sender = received.sender
    if _ended_before(transcript, message, received):
        return transcript
    round_move(transcript, message, accused=sender)
    current = transcript.opened_round()
    require_peer(transcript.lane.group == 0, "bad_model", "a group's sum is merged before there is a model", accused=sender)
    claim = (message.version, message.base_digest, message.contributors, message.survivors_digest)
    due = (current.opened.model_version + 1, current.opened.model_digest, current.survivors, current.survivors_digest)
    require_peer(claim == due, "bad_model", "not made from this round", accused=sender)
    return replace(
        transcript,
        round=None,
        model_version=message.version,
        model_digest=message.model_digest,
        model_known=True,
        ended=Ending(message.epoch, message.round, received.digest, abandoned=False),
    )


def sum_opened(transcript: Transcript, message: m.SumOpened, received: Received) -> Transcript:
    """A group's round ended in a sum. Fault "bad_sum": not this round's survivors, or not in a group."""
    sender = received.sender
    if _ended_before(transcript, message, received):
        return transcript
    round_move(transcript, message, accused=sender)
    current = transcript.opened_round()
    require_peer(transcript.lane.group > 0, "bad_sum", "without groups a sum is said as a model", accused=sender)
    claim = (message.contributors, message.survivors_digest)
    require_peer(claim == (current.survivors, current.survivors_digest), "bad_sum", "not of this round", accused=sender)
    require_peer(message.customers >= 1, "bad_sum", "no customers", accused=sender)
    ended = Ending(message.epoch, message.round, received.digest, abandoned=False)
    return replace(transcript, round=None, ended=ended)


def abandoned(transcript: Transcript, message: m.RoundAbandoned, received: Received) -> Transcript:
    """The round came to nothing; its keys are burned."""
    if _ended_before(transcript, message, received):
        return transcript
    round_move(transcript, message, accused=received.sender)
    return replace(transcript, round=None, ended=Ending(message.epoch, message.round, received.digest, abandoned=True))


def _ended_before(transcript: Transcript, message: m.ModelPublished | m.SumOpened | m.RoundAbandoned, received: Received) -> bool:
    ended = transcript.ended if is_over(transcript, message) else None
    return ended is not None and repeated(received, ended.digest, "second_decision")


def may_switch(transcript: Transcript) -> bool:
    """Whether the pending epoch is ready to take over with the next round."""
    return transcript.pending is not None and transcript.pending.phase is EpochPhase.READY
